/* scenario_play.c - the order of things in a play: set-up, time, statements, end. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "test/sim/scenario_player.h"

enum { READ_AGAIN_MS = 10 };

/* ---- failing ---- */

void player_fail(struct player *player, const struct statement *statement, const char *property,
                 cluster_set servers, const char *format, ...)
{
    char text[FAILURE_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cluster_fail(player->cluster, property, servers, "%s:%u: %s: %s", player->scenario->file,
                 statement->line, statement->text, text);
}

bool player_goes_on(const struct player *player)
{
    return player->error->code == ERROR_NONE && cluster_failure(player->cluster) == NULL;
}

/* ---- servers ---- */

/* Adds `count` servers that are not in the set yet, as far as there are any. */
static void add_random(struct player *player, u32 count, cluster_set *set)
{
    cluster_set all = cluster_all(player->cluster);
    for (; count > 0 && (all & ~*set) != 0; count--) {
        u64 nth = cluster_random(player->cluster, 1, cluster_set_count(all & ~*set));
        for (server_id id = 1;; id++) {
            if (cluster_set_has(all & ~*set, id) && --nth == 0) {
                *set |= cluster_set_of(id);
                break;
            }
        }
    }
}

bool player_servers(struct player *player, const struct server_list *list, cluster_set *set,
                    const char **why)
{
    struct cluster *cluster = player->cluster;
    cluster_set all = cluster_all(cluster);
    server_id leader = cluster_leader(cluster);
    *set = (cluster_set)list->numbers << 1;
    bool needs_leader = (list->words & (SERVERS_LEADER | SERVERS_MAJORITY | SERVERS_MINORITY)) != 0;
    if (needs_leader && leader == SERVER_NONE) {
        *why = "there is no leader";
        return false;
    }
    if ((list->words & SERVERS_ALL) != 0)
        *set |= all;
    if ((list->words & SERVERS_LEADER) != 0)
        *set |= cluster_set_of(leader);
    if ((list->words & SERVERS_MAJORITY) != 0)
        *set |= cluster_majority(cluster);
    if ((list->words & SERVERS_MINORITY) != 0)
        *set |= all & ~cluster_majority(cluster);
    for (server_id id = 1; id <= cluster_server_count(cluster); id++)
        if ((list->words & SERVERS_FOLLOWERS) != 0 && id != leader && cluster_is_live(cluster, id))
            *set |= cluster_set_of(id);
    add_random(player, list->randoms, set);
    return true;
}

bool player_resolve(struct player *player, const struct statement *statement,
                    const struct server_list *list, cluster_set *set)
{
    const char *why;
    if (player_servers(player, list, set, &why))
        return true;
    player_fail(player, statement, "action", 0, "%s", why);
    return false;
}

/* ---- expectations in time ---- */

static void judge_now(struct player *player, const struct statement *statement)
{
    const struct expectation *expectation = &statement->expectation;
    struct buffer why;
    buffer_init(&why);
    bool held = player_must_read(expectation) ? player_reads(player, expectation, UINT64_MAX, &why)
                                              : player_holds(player, expectation, &why);
    if (held)
        player_mark(player);
    else if (player_goes_on(player))
        player_fail(player, statement, "expectation", 0, "%.*s", (int)why.size,
                    (const char *)why.data);
    buffer_deinit(&why);
}

struct waiting {
    struct player *player;
    const struct expectation *expectation;
    struct buffer why;
};

static bool waiting_holds(void *context)
{
    struct waiting *waiting = context;
    buffer_clear(&waiting->why);
    return player_holds(waiting->player, waiting->expectation, &waiting->why);
}

/* Reads again and again. */
static bool wait_reading(struct waiting *waiting, u64 deadline_ns)
{
    struct player *player = waiting->player;
    while (player_goes_on(player)) {
        buffer_clear(&waiting->why);
        if (player_reads(player, waiting->expectation, deadline_ns, &waiting->why))
            return true;
        u64 now_ns = cluster_now_ns(player->cluster);
        if (now_ns >= deadline_ns)
            return false;
        cluster_run(player->cluster, u64_min(READ_AGAIN_MS * NS_PER_MS, deadline_ns - now_ns));
    }
    return false;
}

static void judge_until(struct player *player, const struct statement *statement)
{
    struct waiting waiting = {.player = player, .expectation = &statement->inner->expectation};
    u64 deadline_ns = cluster_now_ns(player->cluster) + statement->time_ns;
    buffer_init(&waiting.why);
    bool held = player_must_read(waiting.expectation)
                    ? wait_reading(&waiting, deadline_ns)
                    : cluster_run_until(player->cluster, waiting_holds, &waiting, deadline_ns);
    if (held)
        player_mark(player);
    else if (player_goes_on(player))
        player_fail(player, statement, "expectation", 0, "did not come in time: %.*s",
                    (int)waiting.why.size, (const char *)waiting.why.data);
    buffer_deinit(&waiting.why);
}

/* ---- time ---- */

struct timed {
    struct player *player;
    const struct statement *statement;
};

static void act_timed(void *context)
{
    struct timed *timed = context;
    const struct statement *statement = timed->statement;
    struct player *player = timed->player;
    free(timed);
    if (!player_goes_on(player))
        return;
    cluster_say(player->cluster, statement->text);
    if (statement->kind == STATEMENT_EXPECT)
        judge_now(player, statement);
    else
        player_act(player, statement, false);
}

static void plan(struct player *player, const struct statement *statement, u64 time_ns)
{
    u64 now_ns = cluster_now_ns(player->cluster);
    if (time_ns < now_ns) {
        error_set(player->error, ERROR_FORMAT,
                  "%s:%u: %s: that time is past, expected one after %" PRIu64 "us",
                  player->scenario->file, statement->line, statement->text,
                  (u64)(now_ns / NS_PER_US));
        return;
    }
    struct timed *timed = malloc(sizeof(*timed));
    ASSERT(timed != NULL);
    *timed = (struct timed){.player = player, .statement = statement->inner};
    player->last_action_ns = u64_max(player->last_action_ns, time_ns);
    cluster_at(player->cluster, time_ns, act_timed, timed);
}

static void play_list(struct player *player, const struct statement *statement);

static void play_statement(struct player *player, const struct statement *statement)
{
    u64 now_ns = cluster_now_ns(player->cluster);
    if (statement->kind == STATEMENT_REPEAT) {
        for (u64 i = 0; i < statement->count && player_goes_on(player); i++)
            play_list(player, statement->inner);
        return;
    }
    if (statement->kind == STATEMENT_AT) {
        plan(player, statement, statement->time_ns);
        return;
    }
    if (statement->kind == STATEMENT_AFTER) {
        plan(player, statement, now_ns + statement->time_ns);
        return;
    }
    cluster_say(player->cluster, statement->text);
    if (statement->kind == STATEMENT_RUN)
        cluster_run(player->cluster, statement->time_ns);
    else if (statement->kind == STATEMENT_UNTIL)
        judge_until(player, statement);
    else if (statement->kind == STATEMENT_EXPECT)
        judge_now(player, statement);
    else
        player_act(player, statement, true);
}

static void play_list(struct player *player, const struct statement *statement)
{
    for (; statement != NULL && player_goes_on(player); statement = statement->next)
        play_statement(player, statement);
}

/* ---- set-up and end ---- */

static enum error_code set_up(const struct scenario *scenario, const struct play_options *options,
                              struct cluster_config *config, struct error *error)
{
    cluster_config_init(config);
    config->servers = scenario->servers;
    config->spares = scenario->spares;
    config->design = options->design;
    config->seed = options->seed;
    config->election_timeout = (struct cluster_range){scenario->election_timeout.min_ns,
                                                      scenario->election_timeout.max_ns};
    config->heartbeat_ns = scenario->heartbeat_ns;
    config->founding = scenario->founding;
    config->latency = (struct cluster_range){scenario->latency.min_ns, scenario->latency.max_ns};
    config->disk_sync =
        (struct cluster_range){scenario->disk_sync.min_ns, scenario->disk_sync.max_ns};
    config->trace = options->trace;
    config->trace_context = options->trace_context;
    config->story = options->story;
    config->story_context = options->story_context;
    for (const struct scenario_option *option = scenario->options; option != NULL;
         option = option->next) {
        enum error_code code = cluster_option_check(option->key, option->value, error);
        if (code == ERROR_NONE && config->option_count == CLUSTER_OPTIONS_MAX)
            code = error_set(error, ERROR_FORMAT, "too many options, expected at most %d",
                             CLUSTER_OPTIONS_MAX);
        if (code != ERROR_NONE) {
            error_add(error, "%s:%u", scenario->file, option->line);
            return error->code = ERROR_FORMAT;
        }
        config->options[config->option_count++] =
            (struct cluster_option){.key = option->key, .value = option->value};
    }
    for (u32 i = 0; i < SERVERS_MAX; i++)
        config->initial[i + 1] = (struct cluster_initial){
            .log_terms = scenario->starts[i].terms,
            .log_count = scenario->starts[i].term_count,
            .term = scenario->starts[i].current_term,
        };
    return ERROR_NONE;
}

enum error_code scenario_play(const struct scenario *scenario, const struct play_options *options,
                              struct play_result *result, struct error *error)
{
    struct cluster_config config;
    *result = (struct play_result){0};
    error_clear(error);
    if (scenario_supported(scenario, error) != ERROR_NONE ||
        set_up(scenario, options, &config, error) != ERROR_NONE)
        return error->code;
    struct player *player = calloc(1, sizeof(*player));
    ASSERT(player != NULL);
    player->scenario = scenario;
    player->error = error;
    if (cluster_create(&config, &player->cluster, error) != ERROR_NONE) {
        error_add(error, "%s:1", scenario->file);
        free(player);
        return error->code;
    }
    struct cluster *cluster = player->cluster;
    player->waiter = cluster_client(cluster, "main");
    player->reader = cluster_client(cluster, "reader");
    player_mark(player);
    play_list(player, scenario->first);
    if (player_goes_on(player) && player->last_action_ns > cluster_now_ns(cluster))
        cluster_run(cluster, player->last_action_ns - cluster_now_ns(cluster));
    if (player_goes_on(player))
        cluster_finish(cluster);
    const struct cluster_failure *failure = cluster_failure(cluster);
    result->held = failure == NULL;
    if (failure != NULL)
        result->failure = *failure;
    if (failure != NULL && options->complaints != NULL && error->code == ERROR_NONE)
        cluster_print_failure(cluster, options->complaints, options->replay);
    result->events = cluster_event_count(cluster);
    result->virtual_ns = cluster_now_ns(cluster);
    cluster_destroy(cluster);
    free(player);
    return error->code;
}
