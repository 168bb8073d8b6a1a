/* message.c - the few things that all kinds of message have in common. */
#include "server/rules/message.h"

const char *message_kind_word(enum message_kind kind)
{
    switch (kind) {
#define X(name, word)    \
    case MESSAGE_##name: \
        return word;
        MESSAGE_KINDS(X)
#undef X
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    return "unknown";
}

bool message_is_reply(enum message_kind kind)
{
    switch (kind) {
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
    case MESSAGE_APPEND_ENTRIES_REPLY:
    case MESSAGE_FORWARD_REPLY:
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        return true;
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
    case MESSAGE_APPEND_ENTRIES:
    case MESSAGE_FORWARD:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_UNRECOGNISED:
    case MESSAGE_INSTALL_SNAPSHOT:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    return false;
}

u64 message_payload_size(const struct message *message)
{
    u64 size = 0;
    for (u32 i = 0; i < message->span_count; i++)
        size += message->spans[i].size;
    return size;
}

void message_release(struct message *message)
{
    ASSERT(message->span_count <= MESSAGE_SPANS_MAX);
    for (u32 i = 0; i < message->span_count; i++)
        span_release(&message->spans[i]);
    message->span_count = 0;
}
