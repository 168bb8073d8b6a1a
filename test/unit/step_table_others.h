/* step_table_others.h - rows of step_table.c about other servers: commands that are forwarded, and
 * who is recognised. Included in the middle of it, behind the fixture `f`. */
#ifndef MAILRAFT_TEST_UNIT_STEP_TABLE_OTHERS_H
#define MAILRAFT_TEST_UNIT_STEP_TABLE_OTHERS_H

static const char *forward(u32 count, u64 serial)
{
    struct block *block = block_create(9);
    memset(block->data, 0, 9);
    block->data[0] = 1;
    store_u32(block->data + 4, 1);
    struct message request = message_of(MESSAGE_FORWARD, 3, 0);
    request.as.forward_request =
        (struct forward_request){.start = 1, .serial = serial, .count = count};
    request.spans[request.span_count++] = (struct span){block, block->data, 9};
    return tell_message(&f, request);
}
static const char *forward_new(void)
{
    return forward(1, 1);
}
static const char *forward_twice(void)
{
    watching = false;
    (void)forward(1, 1);
    watching = true;
    return forward(1, 1);
}
static const char *forward_malformed(void)
{
    return forward(2, 1);
}

/* The call of a FORWARD under way, where there is a leader to send one to. */
static u64 forwarded_call(void)
{
    watching = false;
    append(MIB, false, ON_APPEND);
    tell_kind(&f, ON_BATCH_END);
    watching = true;
    return f.has_forwarded ? f.last_call : 0;
}
static const char *forward_reply(enum forward_result result)
{
    u64 call = forwarded_call();
    struct message reply = message_of(MESSAGE_FORWARD_REPLY, 2, 0);
    reply.call = call;
    reply.as.forward_reply.result = result;
    if (result == FORWARD_DONE) {
        struct block *block = block_create(5);
        store_u32(block->data, 1);
        block->data[4] = 'y';
        reply.as.forward_reply.count = 1;
        reply.spans[reply.span_count++] = (struct span){block, block->data, 5};
    }
    return tell_message(&f, reply);
}
static const char *forward_done(void)
{
    return forward_reply(FORWARD_DONE);
}
static const char *forward_elsewhere(void)
{
    return forward_reply(FORWARD_NOT_LEADER);
}
static const char *unsent(void)
{
    return tell(&f, (struct step_event){.kind = ON_UNSENT, .as.call = forwarded_call()});
}

static const char *unrecognised(void)
{
    struct message message = message_of(MESSAGE_UNRECOGNISED, 2, 0);
    message.as.unrecognised = (struct unrecognised){
        f.raft.trust.own.directory_id, f.raft.trust.own.start_count, DISTRUST_OTHER_DIRECTORY, 0};
    return tell_message(&f, message);
}
static const char *met(u64 directory_id)
{
    struct met met = {2, {.directory_id = directory_id, .start_count = 1, .starts = {9}}};
    return tell(&f, (struct step_event){.kind = ON_MET, .as.met = &met});
}
static const char *met_new(void)
{
    return met(5);
}
static const char *met_wiped(void)
{
    watching = false;
    (void)met(5);
    watching = true;
    return met(6);
}

#endif
