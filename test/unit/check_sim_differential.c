/* check_sim_differential.c - the differential oracle: what it finds, and that it finds it. */
#include "test/unit/unit.h"

#include "test/sim/differential_inside.h"

static struct differ_schedule schedule;
static struct differ_result result;

static const struct differ_options defaults = {
    .servers = 3, .seed = 1, .events = 300, .pile_max = 1};

/* The story of a run. Ownership: the caller. */
static char *story_of(struct differ_options options)
{
    char *text = NULL;
    size_t size = 0;
    options.story = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(options.story);
    differ_run(&options, &schedule, &result);
    fclose(options.story);
    ck_assert_ptr_nonnull(text);
    return text;
}

/* ---- schedules as text ---- */

START_TEST(differ_parse__reads_what_differ_print_writes)
{
    static const char text[] = "timeout 1; deliver 1 2 0, set 3 1 17; settle";
    struct error error = {0};
    char *printed = NULL;
    size_t size = 0;
    ck_assert_int_eq(differ_parse(text, &schedule, &error), ERROR_NONE);
    ck_assert_uint_eq(schedule.count, 4);
    ck_assert(schedule.events[1].joined && !schedule.events[2].joined);
    FILE *to = open_memstream(&printed, &size);
    differ_print(&schedule, to);
    fclose(to);
    ck_assert_str_eq(printed, text);
    free(printed);
}
END_TEST

START_TEST(differ_parse__says_what_is_no_event)
{
    static const char *const wrong[] = {"timeout", "timeout x",   "deliver 1 2",
                                        "dance 1", "timeout 1 2", "timeout -1"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct error error = {0};
        ck_assert_msg(differ_parse(wrong[i], &schedule, &error) == ERROR_CONFIG, "%s", wrong[i]);
        ck_assert_ptr_nonnull(strstr(error.text, wrong[i]));
    }
}
END_TEST

/* ---- the designs ---- */

START_TEST(differ_run__finds_no_difference)
{
    u64 messages = 0;
    u64 answers = 0;
    u64 elections = 0;
    for (u32 pile = 1; pile <= 6; pile += 5) {
        for (u64 seed = 1; seed <= 15; seed++) {
            struct differ_options options = defaults;
            options.seed = seed;
            options.pile_max = pile;
            differ_run(&options, &schedule, &result);
            ck_assert_msg(result.agreed, "seed %d: %s", (int)seed, result.text);
            messages += result.messages;
            answers += result.answers;
            elections += result.elections;
        }
    }
    ck_assert_uint_gt(messages, 1000);
    ck_assert_uint_gt(answers, 1000);
    ck_assert_uint_gt(elections, 50);
}
END_TEST

/* What the oracle has found: each of these once told the designs apart, as they stood or while
 * another one was mended. */
START_TEST(differ_run__schedules_that_once_differed)
{
    static const struct {
        u64 seed;
        u32 servers;
        const char *what;
        const char *text;
    } found[] = {
        {3, 3, "the leader's commit travels with the entries that go out for the reply behind it",
         "campaign 2; deliver 2 1 0; deliver 1 2 0; set 2 3 20; deliver 2 1 0; deliver 1 2 0"},
        {3, 3, "a leader that is told to stop says no more",
         "campaign 3; deliver 3 1 0; deliver 1 3 0; deliver 3 1 0; incr 1 1; drop 1 3 0; "
         "deliver 1 3 0; stop 3"},
        {4, 3, "a leader without a quorum tells those who wait before it waits as a follower",
         "campaign 3; deliver 3 2 0; set 2 1 4; deliver 2 3 0; deliver 3 2 0; deliver 2 3 0; "
         "deliver 2 3 0; wait 151"},
        {1, 3, "a command that has waited too long for a leader is answered at once",
         "get-here 2 3; wait 1100"},
        {17, 3, "of those who wait the one that came first is given up first",
         "get 1 4; wait 828; campaign 2; set 1 2 5; deliver 2 1 0; disconnect 1 2; deliver 1 2 0; "
         "deliver 2 1 0; wait 182"},
        {16108, 3, "and those that wait are forwarded before those that come",
         "campaign 1; deliver 1 2 0; deliver 2 1 0; deliver 1 2 0; kill 1; set 2 4 2; wait 84; "
         "set 2 2 5; wait 293; incr 2 1; wait 50; set 2 1 7; wait 26; timeout 2; wait 634"},
        {36, 3, "of what one message forwarded a part may be given back, and a part answered",
         "get-after 2 3; incr 2 4; campaign 1; get 2 1; deliver 1 2 0; deliver 2 1 0; "
         "deliver 1 2 0; set 1 2 21; transfer 1 3; deliver 1 3 0; deliver 1 3 0; deliver 3 1 1; "
         "deliver 2 1 0; deliver 2 1 0; deliver 2 1 0; deliver 1 3 0; deliver 1 3 0; "
         "deliver 3 1 1; deliver 3 1 1; settle"},
        {12, 3, "a candidate's log is compacted, too",
         "timeout 3; deliver 3 2 0; deliver 2 3 0; deliver 3 2 0; deliver 2 3 0; deliver 3 2 0; "
         "copy 2 3 0; wait 204; timeout 3; snapshot 3"},
        {12, 3, "what cannot be forwarded is given up in time",
         "campaign 3; deliver 3 1 0; deliver 3 2 0; deliver 2 3 0; kill 3; append 1 3 3; "
         "deliver 3 1 0; wait 1671"},
        {729, 3, "a read that comes back from a leader that is gone goes to the next one",
         "campaign 1; deliver 1 2 0; deliver 2 1 0; deliver 1 2 0; deliver 1 3 0; deliver 1 3 0; "
         "get 2 3; wait 1100; campaign 3; deliver 3 1 2; deliver 1 3 2; deliver 3 2 1; wait 1"},
        {238, 3, "what comes back late goes to the leader that is known, before it is given up",
         "get-after 3 1; wait 449; timeout 1; copy 1 2 0; wait 37; deliver 1 3 0; wait 37; "
         "deliver 2 1 0; drop 3 1 0; deliver 1 3 0; wait 125; copy 3 1 0; deliver 1 3 0; wait 359; "
         "disconnect 3 1; connect 3 1"},
        {501429, 3, "what is given back gets the same error, whatever else is answered first",
         "timeout 2; kill-at 1 11; deliver 2 3 0; deliver 2 1 0; snapshot 1; deliver 1 2 0; "
         "drop 3 2 0; deliver 2 3 0; copy 2 1 0; deliver 3 2 0; deliver 2 1 0; deliver 2 3 "
         "0; deliver 3 2 0; campaign 3; drop 3 2 0; wait 120; set 3 3 4; drop 2 3 0; deliver "
         "2 3 0; deliver 3 2 0; get 3 3; deliver 2 3 0; deliver 3 2 0; get-after 3 2; "
         "timeout 2; deliver 2 3 0; deliver 3 2 0; deliver 2 3 0; deliver 3 2 0; deliver 2 3 "
         "0; transfer 2 1; deliver 3 2 0; deliver 3 2 0; start 1; get 2 2; deliver 3 2 0; "
         "wait 87; deliver 2 1 1; deliver 1 2 0; deliver 2 1 0; deliver 2 1 0; deliver 1 2 "
         "0; deliver 2 1 0; deliver 1 2 0; deliver 1 2 0"},
        {1, 5, "a target that becomes ready is told, though its leader steps down just then",
         "campaign 5; deliver 5 1 0; deliver 5 2 0; deliver 2 5 0; deliver 1 5 0; deliver 5 1 0; "
         "transfer 5 0; deliver 5 2 0; deliver 2 5 0; wait 206; deliver 1 5 0"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(found); i++) {
        struct differ_options options = defaults;
        struct error error = {0};
        options.seed = found[i].seed;
        options.events = 0;
        options.servers = found[i].servers;
        ck_assert_msg(differ_parse(found[i].text, &schedule, &error) == ERROR_NONE, "%s",
                      error.text);
        differ_run(&options, &schedule, &result);
        ck_assert_msg(result.agreed, "%s: %s", found[i].what, result.text);
        ck_assert_uint_eq(result.events, schedule.count);
    }
}
END_TEST

START_TEST(differ_run__same_seed_same_story)
{
    struct differ_options options = defaults;
    char *first = story_of(options);
    char *again = story_of(options);
    options.seed = 2;
    char *other = story_of(options);
    ck_assert_str_eq(first, again);
    ck_assert_str_ne(first, other);
    free(first);
    free(again);
    free(other);
}
END_TEST

START_TEST(differ_run__plays_what_it_has_drawn)
{
    struct differ_options options = defaults;
    char *drawn = story_of(options);
    options.events = 0;
    char *played = story_of(options);
    ck_assert_str_eq(drawn, played);
    free(drawn);
    free(played);
}
END_TEST

/* ---- planted differences ---- */

enum { SPOILT_AT = 100 };

/* The first server that is alive. */
static struct raft *some_raft(struct differ_world *world)
{
    for (server_id id = 1; id <= world->cluster->count; id++) {
        if (cluster_is_live(world->cluster, id))
            return &world->cluster->servers[id].server->raft;
    }
    ck_abort_msg("nobody is alive");
}

static void spoil_term(struct differ_world *world)
{
    some_raft(world)->current_term++;
}

static void spoil_vote(struct differ_world *world)
{
    some_raft(world)->voted_for++;
}

static void spoil_commit(struct differ_world *world)
{
    some_raft(world)->commit_index++;
}

static void spoil_log(struct differ_world *world)
{
    some_raft(world)->log.runs[0].term += 7;
}

static struct link *link_with_messages(struct differ_world *world, u32 count)
{
    struct cluster *cluster = world->cluster;
    for (u32 at = 0; at < (cluster->count + 1) * (cluster->count + 1); at++) {
        struct link *link = &cluster->links[at];
        if (link->held.count - world->known[at] >= count)
            return link;
    }
    return NULL;
}

static void spoil_messages(struct differ_world *world)
{
    struct link *link = link_with_messages(world, 1);
    if (link == NULL)
        return;
    struct frame_list kept = {0};
    while (link->held.count > 1)
        frames_put(&kept, frames_take(&link->held));
    frames_clear(&link->held);
    link->held = kept;
}

static void spoil_answers(struct differ_world *world)
{
    for (u32 i = 0; i < world->answer_count; i++)
        world->answers[i].crc++;
}

struct spoiling {
    u32 world;
    u32 from; /* the first event to spoil after */
    void (*spoil)(struct differ_world *world);
};

static void meddle(void *context, struct differ_world *world, u32 number, u32 at)
{
    const struct spoiling *spoiling = context;
    if (number == spoiling->world && at >= spoiling->from)
        spoiling->spoil(world);
}

START_TEST(differ_run__sees_what_differs)
{
    static const struct {
        void (*spoil)(struct differ_world *world);
        const char *said;
    } cases[] = {
        {spoil_term, "term"},   {spoil_vote, "vote"},          {spoil_commit, "commit index"},
        {spoil_log, "entry 1"}, {spoil_messages, "step sent"}, {spoil_answers, "is answered"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct spoiling spoiling = {2, SPOILT_AT, cases[i].spoil};
        struct differ_options options = defaults;
        options.meddle = meddle;
        options.context = &spoiling;
        differ_run(&options, &schedule, &result);
        ck_assert_msg(!result.agreed, "%s was not seen", cases[i].said);
        ck_assert_uint_gt(result.events, SPOILT_AT);
        ck_assert_msg(strstr(result.text, cases[i].said) != NULL, "%s: %s", cases[i].said,
                      result.text);
    }
}
END_TEST

/* Turns the new messages of one link around. */
static void turn_around(struct differ_world *world)
{
    struct link *link = link_with_messages(world, 2);
    if (link == NULL)
        return;
    u32 old = world->known[link->from * (world->cluster->count + 1) + link->to];
    struct frame **first = &link->held.first;
    for (u32 i = 0; i < old; i++)
        first = &(*first)->next;
    struct frame *moved = *first;
    *first = moved->next;
    moved->next = NULL;
    link->held.last->next = moved;
    link->held.last = moved;
}

START_TEST(differ_run__order_within_a_rest_is_no_difference)
{
    struct spoiling spoiling = {1, 0, turn_around};
    struct differ_options options = defaults;
    options.meddle = meddle;
    options.context = &spoiling;
    differ_run(&options, &schedule, &result);
    ck_assert_msg(result.agreed, "%s", result.text);
    ck_assert_uint_gt(result.reordered, 0);
}
END_TEST

/* ---- many seeds ---- */

/* As if the step design never campaigned when it should. */
static void forget_campaign(struct differ_world *world)
{
    for (server_id id = 1; id <= world->cluster->count; id++) {
        struct sim_server *server = &world->cluster->servers[id];
        if (cluster_is_live(world->cluster, id) && server->server->state == RAFT_LEADER)
            server->server->raft.leader = SERVER_NONE;
    }
}

START_TEST(differ_sweep__tells_a_short_schedule)
{
    struct spoiling spoiling = {2, 0, forget_campaign};
    struct differ_sweep sweep = {.options = defaults, .seed_first = 1, .seed_last = 20};
    char *told = NULL;
    size_t size = 0;
    sweep.shrink = true;
    sweep.options.meddle = meddle;
    sweep.options.context = &spoiling;
    sweep.to = open_memstream(&told, &size);
    /* The children write into copies of the stream: what they tell is not in ours. */
    ck_assert_int_eq(differ_sweep(&sweep), 1);
    fclose(sweep.to);
    ck_assert_ptr_nonnull(strstr(told, "seed 1 DIVERGED"));
    const char *replay = strstr(told, "replay: raftsim differ --servers 3 --pile 1 --seed 1");
    ck_assert_ptr_nonnull(replay);
    u32 events = 1;
    for (const char *at = replay; (at = strchr(at, ';')) != NULL; at++)
        events++;
    ck_assert_uint_le(events, 6); /* an election takes three */
    free(told);
}
END_TEST

START_TEST(differ_sweep__refuses_what_is_no_schedule)
{
    struct differ_sweep sweep = {.options = defaults, .schedule = "dance 1", .to = stdout};
    ck_assert_int_eq(differ_sweep(&sweep), 64);
}
END_TEST

UNIT_MAIN("sim_differential", differ_parse__reads_what_differ_print_writes,
          differ_parse__says_what_is_no_event, differ_run__finds_no_difference,
          differ_run__schedules_that_once_differed, differ_run__same_seed_same_story,
          differ_run__plays_what_it_has_drawn, differ_run__sees_what_differs,
          differ_run__order_within_a_rest_is_no_difference, differ_sweep__tells_a_short_schedule,
          differ_sweep__refuses_what_is_no_schedule)
