/* state.c - see state.h. */
#include "tools/raftpipe/state.h"

#include "server/peers/codec.h"

enum {
    VERSION = 1,
    AT_VERSION = 4,
    AT_START_COUNT = 8,
    AT_CURRENT_TERM = 16,
    AT_VOTED_FOR = 24,
    AT_BASE_TERM = 28,
    AT_BASE_INDEX = 36,
    AT_COUNT = 44,
    START_COUNT_MAX = (1 << 23) - 1 /* it stands in the upper bits of calls */
};

void pipe_state_write_head(const struct pipe_state *state, u8 head[PIPE_STATE_HEAD_SIZE])
{
    memcpy(head, "mrPS", AT_VERSION);
    store_u32(head + AT_VERSION, VERSION);
    store_u64(head + AT_START_COUNT, state->start_count);
    store_u64(head + AT_CURRENT_TERM, state->current_term);
    store_u32(head + AT_VOTED_FOR, state->voted_for);
    store_u64(head + AT_BASE_TERM, state->base.term);
    store_u64(head + AT_BASE_INDEX, state->base.index);
    store_u32(head + AT_COUNT, state->count);
}

bool pipe_commands_are_tagged(const u8 *records, u32 size)
{
    for (u32 at = 0; at < size;) {
        struct entry entry;
        at += record_peek(records + at, &entry);
        if (entry.type == ENTRY_COMMAND && entry.payload_size < PIPE_TAG_SIZE)
            return false;
    }
    return true;
}

/* NULL when all is well. */
static const char *fault_of_head(const struct pipe_state *state, u32 servers)
{
    if (state->start_count > START_COUNT_MAX)
        return "no server has started that often";
    if (state->current_term == 0 || state->current_term > MESSAGE_NUMBER_MAX)
        return "its term is out of bounds";
    if (state->voted_for > servers)
        return "its vote is for no server";
    if ((state->base.index == 0) != (state->base.term == 0))
        return "a snapshot of an index without a term, or the contrary";
    if (state->base.index > MESSAGE_NUMBER_MAX || state->base.term > state->current_term)
        return "its snapshot is out of bounds";
    return NULL;
}

static const char *fault_of_records(const struct pipe_state *state, bool no_noop)
{
    const char *why = NULL;
    if (state->count == 0 && state->records_size > 0)
        return "bytes behind its end";
    if (state->count > 0 && !records_check(state->records, state->records_size,
                                           state->base.index + 1, state->count, &why))
        return why;
    if (!pipe_commands_are_tagged(state->records, state->records_size))
        return "a command that no raftpipe has proposed";
    u64 term = state->base.term;
    for (u32 at = 0; at < state->records_size;) {
        struct entry entry;
        at += record_peek(state->records + at, &entry);
        if (entry.id.term < term || entry.id.term > state->current_term)
            return "a term that is below the one before, or above its own";
        if (no_noop && entry.type != ENTRY_COMMAND)
            return "an entry that is no command: it was not started with --no-noop";
        if (!no_noop && entry.id.index == 1 && entry.type != ENTRY_CONFIGURATION)
            return "its first entry is no configuration: it was started with --no-noop";
        term = entry.id.term;
    }
    if (!no_noop && state->base.index == 0 && state->count == 0)
        return "it lacks its first entry: it was started with --no-noop";
    return NULL;
}

enum error_code pipe_state_read(const u8 *data, u32 size, u32 servers, bool no_noop,
                                struct pipe_state *state, struct error *error)
{
    const char *fault = NULL;
    if (size < PIPE_STATE_HEAD_SIZE || memcmp(data, "mrPS", AT_VERSION) != 0)
        fault = "it is not one of raftpipe's";
    else if (load_u32(data + AT_VERSION) != VERSION)
        fault = "a version that this raftpipe does not know";
    if (fault == NULL) {
        *state = (struct pipe_state){
            .start_count = load_u64(data + AT_START_COUNT),
            .current_term = load_u64(data + AT_CURRENT_TERM),
            .voted_for = load_u32(data + AT_VOTED_FOR),
            .base = {load_u64(data + AT_BASE_TERM), load_u64(data + AT_BASE_INDEX)},
            .count = load_u32(data + AT_COUNT),
            .records = data + PIPE_STATE_HEAD_SIZE,
            .records_size = size - PIPE_STATE_HEAD_SIZE};
        fault = fault_of_head(state, servers);
    }
    if (fault == NULL)
        fault = fault_of_records(state, no_noop);
    return fault == NULL ? ERROR_NONE
                         : error_set(error, ERROR_FORMAT, "the state in the I frame: %s", fault);
}
