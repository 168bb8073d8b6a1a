/* check_sim_scenario_steps.c - the scenario language: faults, work, expectations, and what is not
 * supported yet. */
#include "test/unit/scenario_unit.h"

/* ---- faults ---- */

START_TEST(faults__of_the_network)
{
    WITH("partition 1,2 / 3 / 4,5", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_PARTITION);
        ck_assert_uint_eq(statement->group_count, 3);
        ck_assert_uint_eq(statement->groups[0].numbers, 3);
        ck_assert_uint_eq(statement->groups[1].numbers, 4);
        ck_assert_uint_eq(statement->groups[2].numbers, 0x18);
    }
    WITH("isolate leader", statement)
    ck_assert_uint_eq(statement->who.words, SERVERS_LEADER);
    WITH("cut 1 -> 3", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_CUT);
        ck_assert_uint_eq(statement->links.from.numbers, 1);
        ck_assert_uint_eq(statement->links.to.numbers, 4);
    }
    WITH("join 1 -> all", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_JOIN);
    WITH("bridge 3", statement)
    ck_assert_uint_eq(statement->who.numbers, 4);
    WITH("ring", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_RING);
    WITH("heal", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_HEAL);
    WITH("reset 1 - 3", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_RESET);
        ck_assert_uint_eq(statement->links.from.numbers, 1);
        ck_assert_uint_eq(statement->links.to.numbers, 4);
    }
}
END_TEST

START_TEST(faults__of_links)
{
    WITH("delay all 5ms..20ms", statement)
    {
        ck_assert_uint_eq(statement->delay.min_ns, 5 * NS_PER_MS);
        ck_assert_uint_eq(statement->delay.max_ns, 20 * NS_PER_MS);
        ck_assert(server_list_is_empty(&statement->links.to));
    }
    WITH("delay 1-3 100ms", statement)
    ck_assert_uint_eq(statement->links.from.numbers, 7);
    WITH("loss 2 -> 4 100%", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_LOSS);
        ck_assert_uint_eq(statement->ppm, 1000000);
        ck_assert_uint_eq(statement->links.to.numbers, 8);
    }
    WITH("duplicate all 2%", statement)
    ck_assert_uint_eq(statement->ppm, 20000);
    WITH("reorder all 10%", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_REORDER);
    WITH("corrupt all 0.1%", statement)
    ck_assert_uint_eq(statement->ppm, 1000);
    WITH("hold 1 -> 2 append", statement)
    ck_assert_uint_eq(statement->messages, 1U << MESSAGE_APPEND_ENTRIES);
    WITH("hold 1 -> 2 any", statement)
    ck_assert_uint_eq(statement->messages, MESSAGES_ANY);
    WITH("hold 1 -> 2 pre-vote-reply", statement)
    ck_assert_uint_eq(statement->messages, 1U << MESSAGE_PRE_VOTE_REPLY);
    WITH("release 1 -> 2", statement)
    ck_assert(!statement->on);
    WITH("release 1 -> 2 reverse", statement)
    ck_assert(statement->on);
}
END_TEST

START_TEST(faults__of_servers)
{
    static const struct {
        const char *text;
        enum statement_kind kind;
    } faults[] = {
        {"crash 2", STATEMENT_CRASH},
        {"kill 2", STATEMENT_KILL},
        {"stop 2", STATEMENT_STOP},
        {"restart 2", STATEMENT_RESTART},
        {"pause 2", STATEMENT_PAUSE},
        {"resume 2", STATEMENT_RESUME},
        {"wipe 2", STATEMENT_WIPE},
        {"crash-at-write 2 5", STATEMENT_CRASH_AT_WRITE},
        {"kill-at-write 2 5", STATEMENT_KILL_AT_WRITE},
        {"timeout 2", STATEMENT_TIMEOUT},
        {"exhaust 2 threads off", STATEMENT_EXHAUST},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        struct scenario *scenario;
        const struct statement *statement = first_of(faults[i].text, &scenario);
        ck_assert_int_eq(statement->kind, faults[i].kind);
        ck_assert_uint_eq(statement->who.numbers, 2);
        scenario_destroy(scenario);
    }
    WITH("crash-at-write 2 5", statement)
    ck_assert_uint_eq(statement->count, 5);
    WITH("crash-at-write 2 off", statement)
    ck_assert_uint_eq(statement->count, 0);
    WITH("exhaust 2 memory at 5 once", statement)
    ck_assert(statement->resource == EXHAUST_MEMORY && statement->count == 5 && statement->on);
    WITH("exhaust 2 descriptors at 7", statement)
    ck_assert(statement->resource == EXHAUST_DESCRIPTORS && statement->count == 7 &&
              !statement->on);
    WITH("exhaust 2 threads off", statement)
    ck_assert(statement->resource == EXHAUST_THREADS && statement->count == 0);
    WITH("timers off", statement)
    ck_assert(!statement->on);
    WITH("timers on", statement)
    ck_assert(statement->on);
    WITH("chaos 30s", statement)
    ck_assert_uint_eq(statement->time_ns, 30 * NS_PER_S);
}
END_TEST

START_TEST(faults__of_disks_and_clocks)
{
    static const struct {
        const char *text;
        enum disk_action action;
        enum cluster_damage damage;
        enum cluster_place place;
    } disks[] = {
        {"disk 2 sync=EIO", DISK_SYNC_EIO, 0, 0},
        {"disk 2 write=ENOSPC", DISK_WRITE_ENOSPC, 0, 0},
        {"disk 2 write=EIO", DISK_WRITE_EIO, 0, 0},
        {"disk 2 slow=200ms", DISK_SLOW, 0, 0},
        {"disk 2 read=200ms", DISK_READ, 0, 0},
        {"disk 2 stall", DISK_STALL, 0, 0},
        {"disk 2 heal", DISK_HEAL, 0, 0},
        {"disk 2 flip log 17", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_LOG},
        {"disk 2 flip replaced 17", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_REPLACED},
        {"disk 2 flip spare", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_SPARE},
        {"disk 2 flip metadata", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_METADATA},
        {"disk 2 flip slot", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_SLOT},
        {"disk 2 flip snapshot", DISK_DAMAGE, CLUSTER_FLIP, CLUSTER_SNAPSHOT},
        {"disk 2 unreadable log 17", DISK_DAMAGE, CLUSTER_UNREADABLE, CLUSTER_LOG},
        {"disk 2 unreadable spare", DISK_DAMAGE, CLUSTER_UNREADABLE, CLUSTER_SPARE},
        {"disk 2 unreadable metadata", DISK_DAMAGE, CLUSTER_UNREADABLE, CLUSTER_METADATA},
        {"disk 2 unreadable slot", DISK_DAMAGE, CLUSTER_UNREADABLE, CLUSTER_SLOT},
        {"disk 2 unreadable snapshot", DISK_DAMAGE, CLUSTER_UNREADABLE, CLUSTER_SNAPSHOT},
        {"disk 2 tear snapshot", DISK_DAMAGE, CLUSTER_TEAR, CLUSTER_SNAPSHOT},
        {"disk 2 remove snapshot", DISK_DAMAGE, CLUSTER_REMOVE, CLUSTER_SNAPSHOT},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(disks); i++) {
        struct scenario *scenario;
        const struct statement *statement = first_of(disks[i].text, &scenario);
        ck_assert_int_eq(statement->kind, STATEMENT_DISK);
        ck_assert_int_eq(statement->disk, disks[i].action);
        if (statement->disk == DISK_DAMAGE) {
            ck_assert_int_eq(statement->damage, disks[i].damage);
            ck_assert_int_eq(statement->place, disks[i].place);
            ck_assert_uint_eq(statement->count, statement->place <= CLUSTER_REPLACED ? 17 : 0);
        }
        scenario_destroy(scenario);
    }
    WITH("disk 2 read=1.5s", statement)
    ck_assert_uint_eq(statement->time_ns, 1500 * NS_PER_MS);
    WITH("disk 2 slow=200ms", statement)
    ck_assert_uint_eq(statement->time_ns, 200 * NS_PER_MS);
    WITH("disk 2 flip log 17", statement)
    ck_assert_uint_eq(statement->count, 17);
    WITH("clock 2 rate 1.2", statement)
    {
        ck_assert_uint_eq(statement->ppm, 1200000);
        ck_assert_int_eq(statement->jump_ns, 0);
    }
    WITH("clock 2 jump 10s", statement)
    ck_assert_int_eq(statement->jump_ns, 10 * (i64)NS_PER_S);
    WITH("clock 2 jump -1.5s", statement)
    ck_assert_int_eq(statement->jump_ns, -1500 * (i64)NS_PER_MS);
}
END_TEST

START_TEST(faults__mistakes)
{
    refuses("crsh 1", "t.scn:1: \"crsh\" is no statement that can stand here, expected an action "
                      "such as crash, partition or set, or an expectation");
    refuses("partition 1,2", "t.scn:1: one part is no partition, expected \"/\" and another part");
    refuses("partition 1 / ", "t.scn:1: the line ends too early, expected servers");
    refuses("cut 1 3", "t.scn:1: \"3\" is out of place, expected \"->\"");
    refuses("bridge 1,2",
            "t.scn:1: \"1,2\" is no single server, expected a number, leader or random");
    refuses("delay all", "t.scn:1: the line ends too early, expected one like 5ms..20ms, or a "
                         "single time");
    refuses("loss all 101%",
            "t.scn:1: \"101%\" is no percentage, expected one from 0% to 100%, such as 5% or 0.1%");
    refuses("loss all 5",
            "t.scn:1: \"5\" is no percentage, expected one from 0% to 100%, such as 5% or 0.1%");
    refuses("hold 1 -> 2 mail", "t.scn:1: \"mail\" is no kind of message, expected vote, pre-vote, "
                                "append or snapshot, each also with -reply, or any");
    refuses("release 1 -> 2 backwards",
            "t.scn:1: \"backwards\" is too much, expected the end of the line");
    refuses("reset 1-3", "t.scn:1: the line ends too early, expected \"-\"");
    refuses("timers maybe", "t.scn:1: timers are \"maybe\", expected on or off");
    refuses("disk 2 sync=EPERM",
            "t.scn:1: a disk does not do \"sync=EPERM\", expected sync=EIO, "
            "write=EIO, write=ENOSPC, slow=TIME, read=TIME, stall, heal, flip, unreadable, tear, "
            "remove, copy, set-back, stray or own");
    refuses(
        "disk 2 flip lid",
        "t.scn:1: \"lid\" cannot be damaged, expected log N, replaced N, spare, metadata, slot or "
        "snapshot");
    refuses("disk 2 tear log", "t.scn:1: \"log\" is out of place, expected \"snapshot\"");
    refuses("disk 2 flip log", "t.scn:1: the line ends too early, expected the index of an entry, "
                               "1 or more");
    refuses("disk 2 slow=x", "t.scn:1: \"x\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("crash-at-write 2 0",
            "t.scn:1: 0 is out of range, expected which write from now, 1 or more, or off");
    refuses("exhaust 2 patience at 1",
            "t.scn:1: a server does not run out of \"patience\", expected "
            "memory, threads or descriptors");
    refuses("exhaust 2 memory 1", "t.scn:1: \"1\" is out of place, expected \"at\"");
    refuses("exhaust 2 memory at 0",
            "t.scn:1: 0 is out of range, expected which use from now, 1 or more");
    refuses("clock 2 stop", "t.scn:1: a clock does not do \"stop\", expected rate or jump");
    refuses("clock 2 rate 0",
            "t.scn:1: \"0\" is no rate, expected one from 0.01 to 100, such as 1.2");
    refuses("clock 2 jump 0s",
            "t.scn:1: \"0s\" is no jump of a clock, expected one like 10s or -1.5s");
}
END_TEST

/* ---- work ---- */

START_TEST(work__commands)
{
    WITH("set k v", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_COMMAND);
        ck_assert_int_eq(statement->command.operation, OPERATION_SET);
        ck_assert_str_eq(statement->command.key, "k");
        ck_assert_str_eq(statement->command.value, "v");
        ck_assert(server_list_is_empty(&statement->command.via));
    }
    WITH("set k v via 2", statement)
    ck_assert_uint_eq(statement->command.via.numbers, 2);
    WITH("get k via 3", statement)
    ck_assert_int_eq(statement->command.operation, OPERATION_GET);
    WITH("incr n", statement)
    ck_assert_int_eq(statement->command.operation, OPERATION_INCR);
    WITH("cas k a b", statement)
    {
        ck_assert_int_eq(statement->command.operation, OPERATION_CAS);
        ck_assert_str_eq(statement->command.old, "a");
        ck_assert_str_eq(statement->command.value, "b");
    }
    WITH("del k", statement)
    ck_assert_int_eq(statement->command.operation, OPERATION_DEL);
    WITH("async A set k v", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_ASYNC);
        ck_assert_str_eq(statement->client, "A");
        ck_assert_int_eq(statement->command.operation, OPERATION_SET);
    }
    WITH("pipe A del k via 2", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_PIPE);
        ck_assert_str_eq(statement->client, "A");
        ck_assert_int_eq(statement->command.operation, OPERATION_DEL);
    }
    WITH("once S 7 incr n", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_ONCE);
        ck_assert_str_eq(statement->client, "S");
        ck_assert_uint_eq(statement->count, 7);
        ck_assert_int_eq(statement->command.operation, OPERATION_INCR);
    }
    WITH("load 50/s for 10s", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_LOAD);
        ck_assert_uint_eq(statement->per_second, 50);
        ck_assert_uint_eq(statement->time_ns, 10 * NS_PER_S);
    }
}
END_TEST

START_TEST(work__leadership_members_and_snapshots)
{
    WITH("elect 1", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_ELECT);
    WITH("transfer 2", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_TRANSFER);
    WITH("member add 4", statement)
    ck_assert_int_eq(statement->member, MEMBER_ADD);
    WITH("member remove 3", statement)
    ck_assert_int_eq(statement->member, MEMBER_REMOVE);
    WITH("member promote 4", statement)
    ck_assert_int_eq(statement->member, MEMBER_PROMOTE);
    WITH("member set 1,2,4", statement)
    {
        ck_assert_int_eq(statement->member, MEMBER_SET);
        ck_assert_uint_eq(statement->who.numbers, 0xb);
    }
    WITH("snapshot 2", statement)
    ck_assert_int_eq(statement->kind, STATEMENT_SNAPSHOT);
}
END_TEST

START_TEST(work__mistakes)
{
    refuses("set k", "t.scn:1: the line ends too early, expected a value");
    refuses("set", "t.scn:1: the line ends too early, expected a key");
    refuses("cas k a", "t.scn:1: the line ends too early, expected the new value");
    refuses("set k v over 2", "t.scn:1: \"over\" is too much, expected the end of the line");
    refuses("set k v via all",
            "t.scn:1: \"all\" is no single server, expected a number, leader or random");
    refuses("async A crash 1", "t.scn:1: \"crash\" is no command of a client, expected set, get, "
                               "incr, cas or del");
    refuses("once S x incr n", "t.scn:1: \"x\" is no number, expected a serial, 1 or more");
    refuses("load 50 for 10s", "t.scn:1: \"50\" is no rate, expected one like 50/s");
    refuses("load 50/s 10s", "t.scn:1: \"10s\" is out of place, expected \"for\"");
    refuses("load", "t.scn:1: the line ends too early, expected a rate like 50/s");
    refuses("member invite 3", "t.scn:1: \"invite\" is no change of members, expected add, remove, "
                               "promote or set");
    refuses("elect 1-2",
            "t.scn:1: \"1-2\" is no single server, expected a number, leader or random");
}
END_TEST

/* ---- expectations ---- */

START_TEST(expectations__of_servers)
{
    WITH("expect leader 2", statement)
    {
        ck_assert_int_eq(statement->expectation.leader, LEADER_IS);
        ck_assert_uint_eq(statement->expectation.who.numbers, 2);
    }
    WITH("expect leader one", statement)
    ck_assert_int_eq(statement->expectation.leader, LEADER_ONE);
    WITH("expect leader none", statement)
    ck_assert_int_eq(statement->expectation.leader, LEADER_NONE);
    WITH("expect leader not 1", statement)
    {
        ck_assert_int_eq(statement->expectation.leader, LEADER_NOT);
        ck_assert(!statement->expectation.contrary);
    }
    WITH("expect state 3 follower", statement)
    ck_assert_int_eq(statement->expectation.state, RAFT_FOLLOWER);
    WITH("expect state 3 candidate", statement)
    ck_assert_int_eq(statement->expectation.state, RAFT_CANDIDATE);
    WITH("expect state 3 leader", statement)
    ck_assert_int_eq(statement->expectation.state, RAFT_LEADER);
    WITH("expect term 4", statement)
    ck_assert_uint_eq(statement->expectation.number, 4);
    WITH("expect term same", statement)
    ck_assert(statement->expectation.same);
    WITH("expect members 1,2,4", statement)
    ck_assert_uint_eq(statement->expectation.who.numbers, 0xb);
    WITH("expect snapshot 2", statement)
    {
        ck_assert_int_eq(statement->expectation.kind, EXPECT_SNAPSHOT);
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_MORE);
        ck_assert_uint_eq(statement->expectation.number, 0);
    }
    WITH("until expect snapshot 2 within 1s", statement)
    ck_assert_uint_eq(statement->time_ns, NS_PER_S);
    WITH("expect snapshot 2 = 14", statement)
    {
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_EQUAL);
        ck_assert_uint_eq(statement->expectation.number, 14);
    }
    WITH("expect log-bytes on 1-3 <= 4096", statement)
    {
        ck_assert_int_eq(statement->expectation.kind, EXPECT_LOG_BYTES);
        ck_assert_uint_eq(statement->expectation.who.numbers, 7);
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_AT_MOST);
        ck_assert_uint_eq(statement->expectation.number, 4096);
    }
    WITH("expect said 1,2 \"the disk is slow\"", statement)
    {
        ck_assert_int_eq(statement->expectation.kind, EXPECT_SAID);
        ck_assert_str_eq(statement->expectation.text, "the disk is slow");
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_MORE);
        ck_assert_uint_eq(statement->expectation.number, 0);
    }
    WITH("expect said 1 \"the disk is slow\" = 2", statement)
    ck_assert_uint_eq(statement->expectation.number, 2);
    WITH("expect stopped 2", statement)
    ck_assert_ptr_null(statement->expectation.text);
    WITH("expect stopped 2 \"checksum\"", statement)
    ck_assert_str_eq(statement->expectation.text, "checksum");
    WITH("expect unrecognised 2", statement)
    ck_assert(server_list_is_empty(&statement->expectation.on));
    WITH("expect unrecognised 2 on 1,3", statement)
    ck_assert(!server_list_is_empty(&statement->expectation.on));
}
END_TEST

START_TEST(expectations__of_answers_and_values)
{
    static const struct {
        const char *text;
        enum expect_answer answer;
        const char *client;
    } answers[] = {
        {"expect answer OK", SAYS_OK, NULL},       {"expect answer error", SAYS_ERROR, NULL},
        {"expect answer moved", SAYS_MOVED, NULL}, {"expect answer timeout", SAYS_TIMEOUT, NULL},
        {"expect answer \"7\"", SAYS_TEXT, NULL},  {"expect answer A OK", SAYS_OK, "A"},
        {"expect answer A \"7\"", SAYS_TEXT, "A"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        struct scenario *scenario;
        const struct statement *statement = first_of(answers[i].text, &scenario);
        ck_assert_int_eq(statement->expectation.kind, EXPECT_ANSWER);
        ck_assert_int_eq(statement->expectation.answer, answers[i].answer);
        if (answers[i].client == NULL)
            ck_assert_ptr_null(statement->expectation.client);
        else
            ck_assert_str_eq(statement->expectation.client, answers[i].client);
        scenario_destroy(scenario);
    }
    WITH("expect value k v", statement)
    {
        ck_assert_str_eq(statement->expectation.text, "v");
        ck_assert(server_list_is_empty(&statement->expectation.who));
    }
    WITH("expect value k nil on 3", statement)
    {
        ck_assert_ptr_null(statement->expectation.text);
        ck_assert_uint_eq(statement->expectation.who.numbers, 4);
    }
    WITH("expect value k \"nil\"", statement)
    ck_assert_str_eq(statement->expectation.text, "nil");
}
END_TEST

START_TEST(expectations__of_logs_and_messages)
{
    WITH("expect committed 7", statement)
    ck_assert_uint_eq(statement->expectation.number, 7);
    WITH("expect log 2 \"1 1 2 3\"", statement)
    {
        ck_assert_uint_eq(statement->expectation.term_count, 4);
        ck_assert_uint_eq(statement->expectation.terms[3], 3);
    }
    WITH("expect commit on 3 >= 12", statement)
    {
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_AT_LEAST);
        ck_assert_uint_eq(statement->expectation.number, 12);
    }
    WITH("not expect commit on all = 12", statement)
    {
        ck_assert(statement->expectation.contrary);
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_EQUAL);
    }
    WITH("expect messages 1 -> 2 append <= 20", statement)
    {
        ck_assert_uint_eq(statement->expectation.links.to.numbers, 2);
        ck_assert_uint_eq(statement->expectation.messages, 1U << MESSAGE_APPEND_ENTRIES);
        ck_assert_int_eq(statement->expectation.comparison, COMPARE_AT_MOST);
    }
    WITH("expect bytes all -> all any < 7", statement)
    ck_assert_int_eq(statement->expectation.comparison, COMPARE_LESS);
    WITH("expect messages all -> all vote > 0", statement)
    ck_assert_int_eq(statement->expectation.comparison, COMPARE_MORE);
    WITH("expect agree", statement)
    ck_assert_int_eq(statement->expectation.kind, EXPECT_AGREE);
    WITH("expect linearizable", statement)
    ck_assert_int_eq(statement->expectation.kind, EXPECT_LINEARIZABLE);
}
END_TEST

START_TEST(expectations__mistakes)
{
    refuses("expect rain",
            "t.scn:1: \"rain\" cannot be expected, expected leader, state, term, "
            "answer, value, committed, commit, log, log-bytes, members, snapshot, said, stopped, "
            "unrecognised, agree, linearizable, messages or bytes");
    refuses("not crash 1", "t.scn:1: \"crash\" is out of place, expected \"expect\"");
    refuses("expect leader", "t.scn:1: the line ends too early, expected servers");
    refuses("expect state 1 king",
            "t.scn:1: \"king\" is no state, expected follower, candidate or leader");
    refuses("expect term", "t.scn:1: the line ends too early, expected a term, or \"same\"");
    refuses("expect answer", "t.scn:1: the line ends too early, expected OK, error, moved, "
                             "timeout, a \"text\", or a client");
    refuses("expect answer A B",
            "t.scn:1: \"B\" is no answer, expected OK, error, moved, timeout or a \"text\"");
    refuses("expect value k", "t.scn:1: the line ends too early, expected a value, or nil");
    refuses("expect committed x", "t.scn:1: \"x\" is no number, expected an index");
    refuses("expect commit 3 >= 1", "t.scn:1: \"3\" is out of place, expected \"on\"");
    refuses("expect commit on 3 == 1",
            "t.scn:1: \"==\" is no comparison, expected >=, <=, =, < or >");
    refuses("expect messages 1 append <= 1",
            "t.scn:1: \"append\" is out of place, expected \"->\"");
    refuses("expect said 2", "t.scn:1: the line ends too early, expected a \"text\" that it said");
    refuses("expect stopped 2 checksum",
            "t.scn:1: \"checksum\" is too much, expected the end of the line");
}
END_TEST

/* ---- what is not there yet ---- */

START_TEST(supported__names_what_is_missing)
{
    static const struct {
        const char *text;
        const char *complaint;
    } missing[] = {
        {"member add 2", "t.scn:1: member is not supported yet, expected a scenario without it"},
        {"once S 1 incr n", "t.scn:1: once is not supported yet, expected a scenario without it"},
        {"expect members 1",
         "t.scn:1: expect members is not supported yet, expected a scenario without it"},
        {"after 1s member add 2",
         "t.scn:1: member is not supported yet, expected a scenario without it"},
        {"spares 2", "t.scn:1: spares is not supported yet, expected a scenario without it"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(missing); i++) {
        struct scenario *scenario = scenario_of(missing[i].text);
        struct error error = {0};
        ck_assert_int_eq(scenario_supported(scenario, &error), ERROR_FORMAT);
        ck_assert_str_eq(error.text, missing[i].complaint);
        scenario_destroy(scenario);
    }
    struct scenario *scenario = scenario_of("hold 1 -> 2 any\nrun 1s\nexpect leader one\n");
    struct error error = {0};
    ck_assert_int_eq(scenario_supported(scenario, &error), ERROR_NONE);
    scenario_destroy(scenario);
}
END_TEST

UNIT_MAIN("sim_scenario_steps", faults__of_the_network, faults__of_links, faults__of_servers,
          faults__of_disks_and_clocks, faults__mistakes, work__commands,
          work__leadership_members_and_snapshots, work__mistakes, expectations__of_servers,
          expectations__of_answers_and_values, expectations__of_logs_and_messages,
          expectations__mistakes, supported__names_what_is_missing)
