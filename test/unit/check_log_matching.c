/* check_log_matching.c - both ends of AppendEntries together: whatever the network does, a
 * follower's log becomes the leader's, and nobody ever believes that it is when it is not. */
#include "test/unit/rules_unit.h"

#include "common/rng.h"

static struct raft leader;
static struct raft follower;
static struct leadership leadership;
static struct progress *progress;

static bool equal_through(u64 index)
{
    for (u64 i = 1; i <= index; i++) {
        if (!log_holds(&follower.log, (struct entry_id){log_term_at(&leader.log, i), i}))
            return false;
    }
    return true;
}

static void add_entries_of(struct log *log, u64 term, u64 count)
{
    struct entry entry = command_entry(term, "x");
    for (u64 i = 0; i < count; i++)
        log_append(log, &entry, NULL, 0);
}

static void begin_leading(u64 term)
{
    log_saved(&leader.log, leader.log.last_index);
    log_saved(&follower.log, follower.log.last_index);
    leader.current_term = log_last(&leader.log).term;
    follower.current_term = log_last(&follower.log).term;
    adopt_term(&leader, term);
    adopt_term(&follower, term);
    leadership_begin(&leader, &leadership, T_MS, 0);
    progress = leadership_peer(&leadership, 2);
}

/* ---- conflict hints: §5.3, last paragraphs ---- */

static u32 messages_to_find(u64 terms, u64 entries_a_term)
{
    raft_of(&leader, 2, 1, "1");
    raft_of(&follower, 2, 2, "1");
    /* From the second entry on no term is in both logs. */
    for (u64 i = 1; i <= terms; i++) {
        add_entries_of(&leader.log, 2 * i + 1, entries_a_term);
        add_entries_of(&follower.log, 2 * i, entries_a_term);
    }
    begin_leading(2 * terms + 2);
    u32 messages = 0;
    while (progress->mode == PROGRESS_PROBE) {
        struct message message;
        ck_assert_int_eq(replicate(&leader, &leadership, progress, T_MS, &message), REPLICATE_SEND);
        struct message reply = {
            .kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .call = message.call};
        reply.as.append_reply = append_to(&follower, message);
        replicate_reply(&leader, progress, &reply, T_MS);
        messages++;
    }
    ck_assert_uint_ge(progress->match_index, 1);
    ck_assert(!progress->lost_acked);
    raft_deinit(&leader);
    raft_deinit(&follower);
    return messages;
}

/* [Leaders 3, §5.3] [AppendEntries 2, §5.3] */
START_TEST(conflict__is_found_in_as_many_messages_as_terms)
{
    ck_assert_uint_le(messages_to_find(1, 500), 1 + 2);
    ck_assert_uint_le(messages_to_find(5, 500), 5 + 2);
    ck_assert_uint_le(messages_to_find(40, 50), 40 + 2);
    /* However long the terms are, it takes no more. */
    ck_assert_uint_eq(messages_to_find(5, 1000), messages_to_find(5, 10));
}
END_TEST

/* ---- a bad network ---- */

enum { IN_NETWORK_MAX = 40, SEEDS = 150, STEPS_BAD = 500, STEPS_GOOD = 3000 };

struct network {
    struct message messages[IN_NETWORK_MAX];
    u32 count;
};

static struct network to_follower;
static struct network to_leader;
static struct rng rng;
static bool bad; /* the network still loses, repeats and reorders */
static u64 now_ns;
static struct log disk;   /* all the leader's records, as its storage has them */
static bool read_ordered; /* entries were asked for, and have not come yet */
static u64 read_first;
static u64 read_order;

static bool one_in(u64 chances)
{
    return bad && rng_range(&rng, 1, chances) == 1;
}

static void put_into(struct network *network, const struct message *message)
{
    ck_assert_uint_lt(network->count, IN_NETWORK_MAX);
    network->messages[network->count++] = *message;
}

static struct message copy_of(const struct message *message)
{
    struct message copy = *message;
    for (u32 i = 0; i < copy.span_count; i++)
        block_hold(copy.spans[i].block);
    return copy;
}

/* Takes over the message's spans. */
static void send_over(struct network *network, struct message *message)
{
    if (one_in(6) || network->count + 2 > IN_NETWORK_MAX) {
        message_release(message);
        return;
    }
    if (one_in(6)) {
        struct message again = copy_of(message);
        put_into(network, &again);
    }
    put_into(network, message);
}

/* The oldest message, or any while the network is bad. */
static bool take_from(struct network *network, struct message *message)
{
    if (network->count == 0 || one_in(3))
        return false;
    u32 place = one_in(2) ? (u32)rng_range(&rng, 0, network->count - 1) : 0;
    *message = network->messages[place];
    memmove(&network->messages[place], &network->messages[place + 1],
            (network->count - place - 1) * sizeof(network->messages[0]));
    network->count--;
    return true;
}

static void drop_all(struct network *network)
{
    for (u32 i = 0; i < network->count; i++)
        message_release(&network->messages[i]);
    network->count = 0;
}

/* ---- the two servers ---- */

static void follower_handles(void)
{
    struct message message;
    if (!take_from(&to_follower, &message))
        return;
    struct message reply;
    const char *why = "";
    u64 room = one_in(10) ? 0 : UINT64_MAX;
    ck_assert_msg(append_entries(&follower, &message, room, now_ns, &reply, &why), "%s", why);
    const struct append_request *append = &message.as.append_request;
    const struct append_reply *answer = &reply.as.append_reply;
    if (answer->result == APPEND_ACCEPTED) {
        /* What it covered, and no more, and all of that is there. */
        ck_assert_uint_eq(answer->match_index, append->prev.index + append->count);
        ck_assert(equal_through(answer->match_index));
    } else {
        ck_assert_uint_eq(answer->match_index, 0);
    }
    ck_assert(equal_through(follower.commit_index));
    ck_assert_uint_le(follower.commit_index, leader.commit_index);
    message_release(&message);
    log_saved(&follower.log, follower.log.last_index);
    send_over(&to_leader, &reply);
}

static void leader_handles(void)
{
    struct message reply;
    if (!take_from(&to_leader, &reply))
        return;
    u64 match_before = progress->match_index;
    replicate_reply(&leader, progress, &reply, now_ns);
    ck_assert_uint_ge(progress->match_index, match_before);
    ck_assert_uint_gt(progress->next_index, progress->match_index);
    ck_assert_uint_le(progress->next_index, leader.log.last_index + 1);
    ck_assert(equal_through(progress->match_index));
    /* It never lost what it had acknowledged. */
    ck_assert(!progress->lost_acked);
    u64 commit_before = leader.commit_index;
    if (commit_advance(&leader, &leadership))
        ck_assert_uint_gt(leader.commit_index, commit_before);
    ck_assert(equal_through(leader.commit_index));
}

/* Mirrors what the leader appended to its disk. */
static void leader_saves(void)
{
    while (disk.last_index < leader.log.last_index) {
        u64 index = disk.last_index + 1;
        struct span span;
        u32 span_count;
        ck_assert_uint_eq(log_slice(&leader.log, index, 1, &span, 1, &span_count), 1);
        log_append_record(&disk, span.block, span.data, span.size);
        span_release(&span);
    }
    log_saved(&leader.log, leader.log.last_index);
}

static void disk_answers(void)
{
    if (!read_ordered || one_in(3))
        return;
    read_ordered = false;
    struct span records = {0};
    u32 span_count = 0;
    u32 count = 0;
    if (!one_in(4))
        count = log_slice(&disk, read_first, 600, &records, 1, &span_count);
    struct message message;
    if (replicate_read_done(&leader, &leadership, progress, read_order, read_first, count, &records,
                            now_ns, &message))
        send_over(&to_follower, &message);
    if (span_count > 0)
        span_release(&records);
}

static void leader_sends(void)
{
    if (one_in(8))
        (void)reads_begin(&leadership);
    leadership_begin_round(&leader, &leadership);
    struct message message;
    enum replicate_verdict verdict;
    while ((verdict = replicate(&leader, &leadership, progress, now_ns, &message)) ==
           REPLICATE_SEND)
        send_over(&to_follower, &message);
    if (verdict == REPLICATE_READ) {
        if (read_ordered) {
            progress->reading = 0; /* one at a time */
        } else {
            read_ordered = true;
            read_first = progress->next_index;
            read_order = progress->reading;
        }
    }
}

static void make_logs(void)
{
    raft_of(&leader, 2, 1, "1");
    raft_of(&follower, 2, 2, "1");
    add_entries_of(&leader.log, 1, rng_range(&rng, 0, 5));
    add_entries_of(&follower.log, 1, leader.log.last_index - 1);
    u64 common = leader.log.last_index;
    u64 term = 2;
    for (u64 runs = rng_range(&rng, 0, 12); runs > 0; runs--, term++)
        add_entries_of(rng_range(&rng, 0, 1) == 0 ? &leader.log : &follower.log, term,
                       rng_range(&rng, 1, 6));
    begin_leading(term);
    leader.commit_index = rng_range(&rng, 0, common);
    follower.commit_index = rng_range(&rng, 0, leader.commit_index);
    leadership.uncommitted_bytes =
        log_bytes(&leader.log, leader.commit_index + 1, leader.log.last_index);
    leader.message_bytes_max = rng_range(&rng, 1, 400);
    leader.window_bytes_max = rng_range(&rng, 1, 2000);
    leader.log.memory_bytes_max = rng_range(&rng, 0, 500);
}

static bool in_line(void)
{
    return progress->match_index == leader.log.last_index &&
           leader.commit_index == leader.log.last_index &&
           follower.commit_index == leader.commit_index &&
           follower.log.last_index == leader.log.last_index;
}

static void step(void)
{
    now_ns += rng_range(&rng, 0, 20) * T_MS;
    if (one_in(4))
        leadership_append(&leader, &leadership, (const u8 *)"x", 1, now_ns);
    leader_saves();
    if (one_in(60)) {
        if (one_in(2)) {
            drop_all(&to_follower);
            drop_all(&to_leader);
        }
        replicate_connected(&leader, progress);
    }
    disk_answers();
    leader_sends();
    follower_handles();
    leader_handles();
    log_evict(&leader.log, leader.commit_index);
}

static void play(u64 seed)
{
    rng_init(&rng, seed);
    now_ns = T_MS;
    read_ordered = false;
    make_logs();
    log_init(&disk, MIB);
    bad = true;
    for (u32 i = 0; i < STEPS_BAD; i++)
        step();
    bad = false;
    u32 steps = 0;
    while (!in_line()) {
        step();
        ck_assert_msg(++steps < STEPS_GOOD, "seed %llu: never in line", (unsigned long long)seed);
    }
    ck_assert(equal_through(leader.log.last_index));
    drop_all(&to_follower);
    drop_all(&to_leader);
    log_deinit(&disk);
    raft_deinit(&leader);
    raft_deinit(&follower);
}

/* [AppendEntries 3, §5.3] [AppendEntries 4, §5.3] [AppendEntries 5, §5.3] [Leaders 3, §5.3] */
START_TEST(log_matching__whatever_the_network_does)
{
    for (u64 seed = 1; seed <= SEEDS; seed++)
        play(seed);
}
END_TEST

UNIT_MAIN("log_matching", conflict__is_found_in_as_many_messages_as_terms,
          log_matching__whatever_the_network_does)
