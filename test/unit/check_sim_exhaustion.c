/* check_sim_exhaustion.c - a server runs out of memory, threads or descriptors, at every place
 * where it asks for one, in all designs: while it works, takes snapshots, is sent one, catches
 * another up, and starts. It stops clearly or does without, and nothing is lost.
 *
 * An allocation that fails ends the process where it stands. A thread or descriptor that is not to
 * be had is so once, which leaves what was begun half done, or from then on, which meets whoever
 * tries again. All standing checks hold meanwhile, and when there is enough again, all goes on; a
 * server that has stopped is restarted for that. */
#include "test/unit/unit.h"

#include "test/sim/inside.h"

/* Steps of a situation, of a second at most. */
enum { EVENTS_MAX = 2000 };

static struct cluster *cluster;
static u64 began_at; /* how many steps had been taken when the shortage began */

/* One way to run out: in which design, who, of what, and which use finds nothing. */
struct play {
    const char *name;
    enum cluster_design design;
    server_id victim;
    enum cluster_resource resource;
    u64 nth;
    bool lasts;
};

static const char *title(const struct play *play)
{
    static const char *const designs[] = {"per-state", "dispatch", "step", "mixed"};
    static const char *const resources[] = {"memory", "threads", "descriptors"};
    static char text[128];
    (void)snprintf(text, sizeof(text), "%s, %s, server %u, %s at %llu%s", play->name,
                   designs[play->design], play->victim, resources[play->resource],
                   (unsigned long long)play->nth, play->lasts ? "" : " once");
    return text;
}

static void judge(const struct play *play)
{
    const struct cluster_failure *failure = cluster_failure(cluster);
    if (failure == NULL)
        return;
    cluster_print_failure(cluster, stderr, title(play));
    ck_abort_msg("%s: %s", title(play), failure->text);
}

static void begin(const struct play *play)
{
    static const struct cluster_option options[] = {
        {"segment-bytes", "64KiB"},
        {"log-memory-bytes", "1KiB"},
        {"snapshot-log-bytes", "60KiB"},
        {"trailing-entries", "2"},
    };
    struct cluster_config config;
    struct error error = {0};
    cluster_config_init(&config);
    config.design = play->design;
    config.seed = play->nth;
    memcpy(config.options, options, sizeof(options));
    config.option_count = ARRAY_LENGTH(options);
    ck_assert_int_eq(cluster_create(&config, &cluster, &error), ERROR_NONE);
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert(cluster_elect(cluster, 1));
}

static void exhaust(const struct play *play)
{
    cluster_exhaust(cluster, play->victim, play->resource, play->nth, play->lasts);
    began_at = cluster_event_count(cluster);
}

/* Fills some segments, and makes some snapshots due. */
static void work(void)
{
    static char value[9000];
    memset(value, 'x', sizeof(value) - 1);
    for (u32 i = 0; i < 18; i++) {
        struct client_request set = {.op = CLIENT_SET, .key = "k", .value = value};
        struct client_request increment = {.op = CLIENT_INCR, .key = "n"};
        client_send(cluster_client(cluster, i % 2 == 0 ? "A" : "B"),
                    i % 3 == 2 ? &increment : &set);
        cluster_run(cluster, 15 * NS_PER_MS);
    }
}

/* ---- the situations ---- */

static void in_work(const struct play *play)
{
    exhaust(play);
    work();
}

/* With a snapshot and a log to read, and more to be sent. */
static void in_start(const struct play *play)
{
    work();
    cluster_kill(cluster, play->victim);
    work();
    exhaust(play);
    cluster_restart(cluster, play->victim);
    cluster_run(cluster, 500 * NS_PER_MS);
}

/* Server 3 lacks entries that the leader's memory does not hold; when it comes back it is sent them
 * from the disk. */
static void in_catching_up(const struct play *play)
{
    cluster_isolate(cluster, cluster_set_of(3));
    for (u32 i = 0; i < 8; i++) {
        struct client_request set = {.op = CLIENT_SET, .key = "m", .value = title(play)};
        client_send(cluster_client(cluster, "A"), &set);
        cluster_run(cluster, 15 * NS_PER_MS);
    }
    exhaust(play);
    cluster_heal(cluster);
    cluster_run(cluster, 500 * NS_PER_MS);
}

/* Server 3 lacks what the others have only in a snapshot. */
static void in_install(const struct play *play)
{
    cluster_isolate(cluster, cluster_set_of(3));
    for (u32 i = 0; i < 3; i++)
        work();
    cluster_run(cluster, 2500 * NS_PER_MS); /* until nobody waits for it any more */
    work();
    exhaust(play);
    cluster_heal(cluster);
    cluster_run(cluster, 500 * NS_PER_MS);
}

/* ---- what must come of it ---- */

/* Nobody tries again as fast as it can. */
static void judge_calm(const struct play *play)
{
    u64 events = cluster_event_count(cluster) - began_at;
    ck_assert_msg(events < EVENTS_MAX, "%s: %llu steps", title(play), (unsigned long long)events);
}

/* A server that has stopped says of what it ran out. */
static void judge_end(const struct play *play)
{
    static const char *const texts[] = {"out of memory", "no more threads", "too many open files"};
    enum cluster_process process = cluster_process(cluster, play->victim);
    if (play->resource == CLUSTER_MEMORY &&
        cluster_is_exhausted(cluster, play->victim, play->resource))
        ck_assert_msg(process == PROCESS_STOPPED, "%s: it goes on", title(play));
    if (process == PROCESS_RUNNING)
        return;
    const struct error *reason = cluster_stop_reason(cluster, play->victim);
    ck_assert_msg(process == PROCESS_STOPPED && strstr(reason->text, texts[play->resource]) != NULL,
                  "%s: it ended for this reason: %s", title(play), reason->text);
}

static void judge_recovery(const struct play *play)
{
    cluster_exhaust(cluster, play->victim, play->resource, 0, false);
    if (cluster_process(cluster, play->victim) != PROCESS_RUNNING)
        cluster_restart(cluster, play->victim);
    cluster_run(cluster, 3 * NS_PER_S);
    struct client *client = cluster_client(cluster, "after");
    struct client_request set = {.op = CLIENT_SET, .key = "k", .value = "after"};
    client_send(client, &set);
    cluster_client_wait(cluster, client);
    judge(play);
    ck_assert_msg(client_answer(client)->kind == ANSWER_OK, "%s: %s", title(play),
                  client_answer(client)->text);
    cluster_run(cluster, NS_PER_S);
    struct buffer why;
    buffer_init(&why);
    bool agree = cluster_agrees(cluster, &why);
    ck_assert_msg(agree, "%s: %.*s", title(play), (int)why.size, (char *)why.data);
    buffer_deinit(&why);
    cluster_finish(cluster);
    judge(play);
}

/* Plays it for each use until there are no more. Returns how many there are. */
static u64 play_each(struct play play, void (*situation)(const struct play *play))
{
    bool came = true;
    for (play.nth = 1; came; play.nth++) {
        begin(&play);
        situation(&play);
        judge(&play);
        judge_calm(&play);
        came = cluster_is_exhausted(cluster, play.victim, play.resource);
        judge_end(&play);
        judge_recovery(&play);
        cluster_destroy(cluster);
    }
    return play.nth - 2;
}

static void play_all(enum cluster_resource resource, bool lasts)
{
    static const struct {
        const char *name;
        void (*situation)(const struct play *play);
        server_id victims[2];
    } situations[] = {
        {"in work", in_work, {1, 2}},
        {"in a start", in_start, {3, 1}},
        {"while entries are caught up with", in_catching_up, {1, 3}},
        {"while a snapshot is installed", in_install, {1, 3}},
    };
    static const enum cluster_design designs[] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH,
                                                  CLUSTER_STEP};
    for (size_t s = 0; s < ARRAY_LENGTH(situations); s++) {
        u64 uses = 0;
        for (size_t i = 0; i < ARRAY_LENGTH(designs) * ARRAY_LENGTH(situations[s].victims); i++) {
            struct play play = {.name = situations[s].name,
                                .design = designs[i % ARRAY_LENGTH(designs)],
                                .victim = situations[s].victims[i / ARRAY_LENGTH(designs)],
                                .resource = resource,
                                .lasts = lasts};
            uses += play_each(play, situations[s].situation);
        }
        ck_assert_msg(uses > 0, "%s nothing is used", situations[s].name);
    }
}

START_TEST(memory__each_allocation)
{
    play_all(CLUSTER_MEMORY, false);
}
END_TEST

START_TEST(threads__each_once)
{
    play_all(CLUSTER_THREADS, false);
}
END_TEST

START_TEST(threads__no_more)
{
    play_all(CLUSTER_THREADS, true);
}
END_TEST

START_TEST(descriptors__each_once)
{
    play_all(CLUSTER_DESCRIPTORS, false);
}
END_TEST

START_TEST(descriptors__no_more)
{
    play_all(CLUSTER_DESCRIPTORS, true);
}
END_TEST

UNIT_MAIN("sim_exhaustion", memory__each_allocation, threads__each_once, threads__no_more,
          descriptors__each_once, descriptors__no_more)
