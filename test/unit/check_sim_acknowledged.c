/* check_sim_acknowledged.c - the judge's witness is lied to: answers that are given by hand,
 * entries that are put into machines by hand, and what is taken out of logs and machines. Each lie
 * must be named; what is true is not complained of. */
#include "test/unit/judge_unit.h"

#include "server/machine/kv.h"

static void end_well(void)
{
    cluster_finish(cluster);
    const struct cluster_failure *failure = cluster_failure(cluster);
    ck_assert_msg(failure == NULL, "%s", failure != NULL ? failure->text : "");
    cluster_destroy(cluster);
}

/* ---- answers ---- */

/* A client whose command is in flight, to a server that does not answer it. */
static struct client *waiting_client(enum client_op op, server_id via)
{
    struct client *client = cluster_client(cluster, "waiting");
    struct client_request request = {.op = op, .via = via, .key = "k", .value = "two"};
    client_send(client, &request);
    cluster_run(cluster, 20 * NS_PER_MS);
    ck_assert_ptr_nonnull(client->flights);
    return client;
}

/* The server answers that command, on its own account. */
static void answer_by_hand(server_id id, struct client *client, const char *answer)
{
    struct process *before = process_enter(&cluster->world, nth(id)->process);
    struct command *command = command_create(COMMAND_WRITE, (struct span){0}, &nth(id)->sink);
    command->owner = client;
    command->slot = client->serial;
    command_answer(command, (const u8 *)answer, strlen(answer));
    (void)process_enter(&cluster->world, before);
}

START_TEST(judge__what_is_not_applied_is_not_acknowledged)
{
    begin_well();
    cluster_isolate(cluster, cluster_set_of(1));
    answer_by_hand(1, waiting_client(CLIENT_SET, 1), "+OK\r\n");
    end_violating("acknowledged after it is applied");
}
END_TEST

START_TEST(judge__two_clients_do_not_share_a_write)
{
    begin_well();
    cluster_pause(cluster, 2);
    struct client *waiting = waiting_client(CLIENT_SET, 2);
    set_key("two"); /* the same command, and it succeeds */
    ck_assert_ptr_null(cluster_failure(cluster));
    answer_by_hand(3, waiting, "+OK\r\n");
    end_violating("acknowledged after it is applied");
}
END_TEST

START_TEST(judge__an_answer_is_that_of_its_write)
{
    begin_well();
    set_key("1");
    cluster_hold(cluster, cluster_set_of(1), cluster_set_of(2), CLUSTER_KINDS_ANY);
    struct client *waiting = waiting_client(CLIENT_INCR, 2); /* the reply is held */
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert_int_eq(cluster->checks.acknowledged.line[cluster->checks.acknowledged.last].answer,
                     2);
    answer_by_hand(2, waiting, ":1\r\n");
    end_violating("acknowledged after it is applied");
}
END_TEST

START_TEST(judge__an_answer_in_time_is_not_complained_of)
{
    begin_well();
    set_key("1");
    cluster_hold(cluster, cluster_set_of(1), cluster_set_of(2), CLUSTER_KINDS_ANY);
    struct client *waiting = waiting_client(CLIENT_INCR, 2);
    cluster_run(cluster, 100 * NS_PER_MS);
    u64 before = cluster->checks.acknowledged.count;
    answer_by_hand(2, waiting, ":2\r\n");
    ck_assert_uint_eq(cluster->checks.acknowledged.count, before + 1);
    end_well();
}
END_TEST

/* ---- what machines are given ---- */

/* Gives the machine an entry, through the door or behind the judge's back. */
static void apply_by_hand(server_id id, bool seen, struct entry_id entry, const char *value)
{
    /* As simulated clients encode it. */
    const struct kv_limits limits = {64 * 1024, 1024 * 1024, 1024 * 1024};
    const struct kv_argument arguments[] = {{(const u8 *)"k", 1},
                                            {(const u8 *)value, (u32)strlen(value)}};
    u8 command[64];
    ck_assert_uint_le(kv_command_size(arguments, 2), sizeof(command));
    kv_command_encode(&limits, KV_SET, arguments, 2, command);
    struct machine *machine = nth(id)->server->machine;
    const struct machine_ops *ops = seen ? machine->ops : nth(id)->witness.inner;
    const struct machine_context context = {entry, 0};
    struct process *before = process_enter(&cluster->world, nth(id)->process);
    ops->apply(machine, &context, command, kv_command_size(arguments, 2), NULL);
    (void)process_enter(&cluster->world, before);
}

/* The entry that made "two" of the key. */
static struct entry_id last_applied(void)
{
    const struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    ck_assert(acknowledged->line[acknowledged->last].claimed);
    return (struct entry_id){acknowledged->line[acknowledged->last].term, acknowledged->last};
}

START_TEST(judge__another_entry_is_not_applied_in_its_place)
{
    begin_well();
    apply_by_hand(2, true, last_applied(), "three");
    end_violating("no acknowledged write is lost");
}
END_TEST

START_TEST(judge__another_entry_is_not_applied_even_if_nobody_was_told)
{
    begin_well();
    struct entry_id entry = last_applied();
    cluster->checks.acknowledged.line[entry.index].claimed = false;
    entry.term++;
    apply_by_hand(2, true, entry, "two");
    end_violating("state machine safety");
}
END_TEST

START_TEST(judge__no_entry_is_applied_twice)
{
    begin_well();
    apply_by_hand(2, true, last_applied(), "two");
    end_violating("applied in order");
}
END_TEST

START_TEST(judge__no_command_is_applied_more_often_than_it_was_sent)
{
    begin_well();
    set_key("two"); /* sent twice, applied twice */
    ck_assert_ptr_null(cluster_failure(cluster));
    struct entry_id next = {last_applied().term, last_applied().index + 1};
    apply_by_hand(1, true, next, "two");
    end_violating("applied once");
}
END_TEST

START_TEST(judge__what_nobody_sent_is_not_applied)
{
    begin_well();
    struct entry_id next = {last_applied().term, last_applied().index + 1};
    apply_by_hand(1, true, next, "nine");
    end_violating("applied once");
}
END_TEST

/* Commands of one connection, one behind the other, at a server that can do nothing with them. */
static struct client *piping_client(enum client_op second)
{
    struct client *client = cluster_client(cluster, "piping");
    struct client_request request = {.op = CLIENT_SET, .via = 2, .key = "k", .value = "first"};
    cluster_isolate(cluster, cluster_set_of(2));
    client_pipeline(client, 8);
    client_send(client, &request);
    request.op = second;
    request.value = "second";
    client_send(client, &request);
    cluster_run(cluster, 20 * NS_PER_MS);
    ck_assert_uint_eq(client->flight_count, 2);
    return client;
}

START_TEST(judge__the_writes_of_a_connection_are_applied_in_order)
{
    begin_well();
    (void)piping_client(CLIENT_SET);
    struct entry_id next = {last_applied().term, last_applied().index + 1};
    apply_by_hand(1, true, next, "second");
    ck_assert_ptr_null(cluster_failure(cluster));
    next.index++;
    apply_by_hand(1, true, next, "first");
    end_violating("a connection's writes in order");
}
END_TEST

START_TEST(judge__writes_in_order_are_not_complained_of)
{
    begin_well();
    (void)piping_client(CLIENT_SET);
    struct entry_id next = {last_applied().term, last_applied().index + 1};
    apply_by_hand(1, true, next, "first");
    next.index++;
    apply_by_hand(1, true, next, "second");
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__a_read_is_not_answered_before_the_write_that_it_follows)
{
    begin_well();
    struct client *client = piping_client(CLIENT_GET);
    struct entry_id next = {last_applied().term, last_applied().index + 1};
    answer_by_hand(2, client, "$3\r\ntwo\r\n");
    ck_assert_ptr_null(cluster_failure(cluster));
    apply_by_hand(1, true, next, "first");
    end_violating("a connection's writes in order");
}
END_TEST

/* What a SCAN, a GETDEL, a FLUSHALL was told, as the history judges it; "k1" holds a value. */
static bool is_believed(enum client_op op, const char *answer)
{
    begin_well();
    struct buffer why;
    struct client *client = cluster_client(cluster, "main");
    struct client_request set = {.op = CLIENT_MSET, .key = "k1", .old = "k2", .value = "there"};
    client_send(client, &set);
    cluster_client_wait(cluster, client);
    ck_assert_int_eq(client_answer(client)->kind, ANSWER_OK);
    cluster_isolate(cluster, cluster_set_of(2));
    struct client_request request = {.op = op, .via = 2, .key = "k1", .keys = 3};
    struct client *liar = cluster_client(cluster, "liar");
    client_send(liar, &request);
    cluster_run(cluster, 20 * NS_PER_MS);
    /* Not by way of the witness: that it is applied nowhere is another matter. */
    flight_take_answer(liar->flights, (const u8 *)answer, strlen(answer));
    flight_record_answer(liar->flights, liar->flights->incoming.kind);
    cluster_heal(cluster);
    set = (struct client_request){.op = CLIENT_GET, .via = 1, .key = "k1"};
    client_send(client, &set);
    cluster_client_wait(cluster, client);
    ck_assert_int_eq(client_answer(client)->kind, ANSWER_OK);
    buffer_init(&why);
    bool believed = cluster_is_linearizable(cluster, &why);
    buffer_deinit(&why);
    cluster_destroy(cluster);
    return believed;
}

START_TEST(history__what_concerns_many_keys_is_judged_for_each)
{
    static const char both[] = "*2\r\n$1\r\n0\r\n*2\r\n$2\r\nk1\r\n$2\r\nk2\r\n";
    static const char one[] = "*2\r\n$1\r\n0\r\n*1\r\n$2\r\nk2\r\n";
    static const char three[] = "*2\r\n$1\r\n0\r\n*3\r\n$2\r\nk1\r\n$2\r\nk2\r\n$2\r\nk3\r\n";
    ck_assert(is_believed(CLIENT_SCAN, both));
    ck_assert(!is_believed(CLIENT_SCAN, one));
    ck_assert(!is_believed(CLIENT_SCAN, three));
    ck_assert(!is_believed(CLIENT_GETDEL, "_\r\n"));     /* it found a value */
    ck_assert(!is_believed(CLIENT_FLUSHALL, "+OK\r\n")); /* it is still there afterwards */
}
END_TEST

START_TEST(judge__no_entry_is_left_out)
{
    begin_well();
    cluster_isolate(cluster, cluster_set_of(3));
    set_key("three");
    set_key("four");
    apply_by_hand(3, true, last_applied(), "four");
    end_violating("applied in order");
}
END_TEST

/* ---- whether it is still there ---- */

START_TEST(judge__a_leader_holds_what_was_acknowledged)
{
    begin_well();
    cluster->checks.acknowledged.line[last_applied().index].term--;
    cluster->checks.servers[1].settled_term = 0;
    checks_ran(cluster, nth(1));
    end_violating("no acknowledged write is lost");
}
END_TEST

/* One that slept, and finds its own term settled when a later one is under way. */
START_TEST(judge__an_old_leader_is_not_asked_for_later_terms)
{
    begin_well();
    cluster->checks.acknowledged.line[last_applied().index].term++;
    cluster->checks.servers[1].settled_term = 0;
    checks_ran(cluster, nth(1));
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__a_leader_s_log_ends_behind_what_was_acknowledged)
{
    begin_well();
    struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    u64 index = acknowledged->last + 1;
    acknowledged->line = checks_grown(acknowledged->line, &acknowledged->capacity, index,
                                      sizeof(struct applied_entry));
    acknowledged->line[index] = (struct applied_entry){.term = 1, .claimed = true};
    acknowledged->claimed_last = index;
    acknowledged_leader(cluster, nth(1));
    end_violating("no acknowledged write is lost");
}
END_TEST

START_TEST(judge__at_the_end_machines_hold_what_was_acknowledged)
{
    begin_well();
    apply_by_hand(2, false, last_applied(), "three");
    cluster_finish(cluster);
    end_violating("no acknowledged write is lost");
}
END_TEST

START_TEST(judge__at_the_end_machines_hold_nothing_else)
{
    begin_well();
    cluster->checks.acknowledged.model.present++;
    cluster_finish(cluster);
    end_violating("no acknowledged write is lost");
}
END_TEST

/* Behind a snapshot it is not known which command came last, and what machines hold still is. */
START_TEST(judge__what_came_in_a_snapshot_counts)
{
    begin_well();
    for (u32 i = 0; i < 50; i++)
        set_key(i % 2 == 0 ? "three" : "four");
    cluster_take_snapshot(cluster, 1);
    cluster_run(cluster, 300 * NS_PER_MS);
    ck_assert_uint_gt(cluster_snapshot_index(cluster, 1), 50);
    cluster_restart(cluster, 1);
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert(!nth(1)->witness.known || nth(1)->witness.last > 50);
    ck_assert(cluster_elect(cluster, 1));
    set_key("five");
    cluster_run(cluster, 1000 * NS_PER_MS);
    ck_assert_uint_eq(cluster->checks.acknowledged.count, 53);
    ck_assert_uint_eq(cluster_applied_index(cluster, 1), cluster->checks.acknowledged.last);
    end_well();
}
END_TEST

UNIT_MAIN("sim_acknowledged", judge__what_is_not_applied_is_not_acknowledged,
          judge__two_clients_do_not_share_a_write, judge__an_answer_is_that_of_its_write,
          judge__an_answer_in_time_is_not_complained_of,
          judge__another_entry_is_not_applied_in_its_place,
          judge__another_entry_is_not_applied_even_if_nobody_was_told,
          judge__no_entry_is_applied_twice,
          judge__no_command_is_applied_more_often_than_it_was_sent,
          history__what_concerns_many_keys_is_judged_for_each,
          judge__the_writes_of_a_connection_are_applied_in_order,
          judge__writes_in_order_are_not_complained_of,
          judge__a_read_is_not_answered_before_the_write_that_it_follows,
          judge__what_nobody_sent_is_not_applied, judge__no_entry_is_left_out,
          judge__a_leader_holds_what_was_acknowledged,
          judge__an_old_leader_is_not_asked_for_later_terms,
          judge__a_leader_s_log_ends_behind_what_was_acknowledged,
          judge__at_the_end_machines_hold_what_was_acknowledged,
          judge__at_the_end_machines_hold_nothing_else, judge__what_came_in_a_snapshot_counts)
