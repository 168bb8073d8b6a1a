/* pulse.c - see pulse.h. */
#include "server/peers/pulse.h"

#include <string.h>

void pulse_note(struct pulse *pulse, const struct message *message)
{
    if (message->kind == MESSAGE_APPEND_ENTRIES) {
        pulse->as.append_request = message->as.append_request;
        pulse->as.append_request.count = 0;
    } else if (message->kind == MESSAGE_APPEND_ENTRIES_REPLY) {
        pulse->as.append_reply = message->as.append_reply;
    } else {
        return;
    }
    pulse->any = true;
    pulse->kind = message->kind;
    pulse->from = message->from;
    pulse->to = message->to;
    pulse->term = message->term;
    pulse->call = message->call;
}

bool pulse_beat(struct pulse *pulse, u64 interval_ns, u64 now_ns, struct message *message)
{
    if (!pulse->any || now_ns - pulse->last_ns < interval_ns)
        return false;
    pulse->last_ns = now_ns;
    memset(message, 0, sizeof(*message));
    message->kind = pulse->kind;
    message->from = pulse->from;
    message->to = pulse->to;
    message->term = pulse->term;
    message->call = pulse->call;
    if (pulse->kind == MESSAGE_APPEND_ENTRIES)
        message->as.append_request = pulse->as.append_request;
    else
        message->as.append_reply = pulse->as.append_reply;
    return true;
}
