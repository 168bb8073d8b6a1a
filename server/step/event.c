/* event.c - the names of events. */
#include "server/step/event.h"

static const char *const words[] = {
#define X(name, word, what) [name] = (word),
    STEP_EVENTS(X)
#undef X
};

static const char *const meanings[] = {
#define X(name, word, what) [name] = (what),
    STEP_EVENTS(X)
#undef X
};

const char *step_event_word(enum step_event_kind kind)
{
    return words[kind];
}

const char *step_event_meaning(enum step_event_kind kind)
{
    return meanings[kind];
}

/* By kind of message; the others stay 0, which is ON_APPEND and thus no message. */
static const enum step_event_kind events_of_messages[MESSAGE_KIND_END] = {
    [MESSAGE_PRE_VOTE] = ON_PRE_VOTE_REQ,
    [MESSAGE_PRE_VOTE_REPLY] = ON_PRE_VOTE_RESP,
    [MESSAGE_REQUEST_VOTE] = ON_VOTE_REQ,
    [MESSAGE_REQUEST_VOTE_REPLY] = ON_VOTE_RESP,
    [MESSAGE_APPEND_ENTRIES] = ON_APPEND_ENTRIES_REQ,
    [MESSAGE_APPEND_ENTRIES_REPLY] = ON_APPEND_ENTRIES_RESP,
    [MESSAGE_FORWARD] = ON_FORWARD_REQ,
    [MESSAGE_FORWARD_REPLY] = ON_FORWARD_RESP,
    [MESSAGE_TIMEOUT_NOW] = ON_TIMEOUT_NOW,
    [MESSAGE_UNRECOGNISED] = ON_UNRECOGNISED,
    [MESSAGE_INSTALL_SNAPSHOT] = ON_INSTALL_SNAPSHOT_REQ,
    [MESSAGE_INSTALL_SNAPSHOT_REPLY] = ON_INSTALL_SNAPSHOT_RESP,
};

enum step_event_kind step_event_of_message(enum message_kind kind)
{
    ASSERT(kind > MESSAGE_NONE && kind < MESSAGE_KIND_END);
    return events_of_messages[kind];
}

bool step_event_is_message(enum step_event_kind kind)
{
    return kind >= ON_APPEND_ENTRIES_REQ && kind <= ON_TIMEOUT_NOW;
}
