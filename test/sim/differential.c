/* differential.c - one schedule through all worlds: see differential.h. */
#include "test/sim/differential.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "test/sim/differential_inside.h"

static const enum cluster_design designs[DIFFER_WORLDS] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH,
                                                           CLUSTER_STEP};

void differ_complain(struct differ *differ, const char *format, ...)
{
    struct differ_result *result = differ->result;
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(result->text + differ->text_used, sizeof(result->text) - differ->text_used,
                         format, arguments);
    va_end(arguments);
    result->agreed = false;
    differ->text_used += (size_t)more;
    if (differ->text_used >= sizeof(result->text)) /* enough is said */
        differ->text_used = sizeof(result->text) - 1;
}

/* ---- the story ---- */

struct telling {
    FILE *to; /* NULL: nobody listens */
    char servers[CLUSTER_SERVERS_MAX + 1][128];
};

static void tell_event(const struct telling *telling, const struct differ *differ,
                       const struct differ_event *event, u32 at)
{
    char words[64];
    char message[256] = "";
    if (telling->to == NULL)
        return;
    differ_event_words(event, words, sizeof(words));
    bool of_message =
        event->kind == DIFFER_DELIVER || event->kind == DIFFER_COPY || event->kind == DIFFER_DROP;
    const struct cluster *cluster = differ->worlds[0].cluster;
    if (of_message && event->numbers[0] <= cluster->count && event->numbers[1] <= cluster->count) {
        const struct frame *frame = differ_frame(&differ->worlds[0], event->numbers[0],
                                                 event->numbers[1], event->numbers[2]);
        if (frame != NULL)
            differ_message_words(frame, message, sizeof(message));
    }
    (void)fprintf(telling->to, "  %4u  %-16s %s%s\n", at, words, message,
                  event->joined ? " ..." : "");
}

static void tell_rest(struct telling *telling, struct differ *differ)
{
    const struct cluster *cluster = differ->worlds[0].cluster;
    if (telling->to == NULL)
        return;
    differ_tell(differ, telling->to);
    for (server_id id = 1; id <= cluster->count; id++) {
        char words[128];
        differ_server_words(&cluster->servers[id], words, sizeof(words));
        if (strcmp(words, telling->servers[id]) != 0)
            (void)fprintf(telling->to, "          server %u: %s\n", id, words);
        memcpy(telling->servers[id], words, sizeof(words));
    }
}

/* ---- one event ---- */

/* In the first world; the others' numbers are the same, as long as all agree. */
static void count(struct differ *differ, u64 *leader_terms)
{
    const struct cluster *cluster = differ->worlds[0].cluster;
    cluster_set all = cluster_all(cluster);
    differ->result->messages = cluster_messages(cluster, all, all, CLUSTER_KINDS_ANY);
    differ->result->committed = cluster->checks.committed_count;
    server_id leader = cluster_leader(cluster);
    if (leader == SERVER_NONE || cluster_term(cluster, leader) <= *leader_terms)
        return;
    *leader_terms = cluster_term(cluster, leader);
    differ->result->elections++;
}

static void carry_out(struct differ *differ, const struct differ_event *event, u32 at)
{
    for (u32 world = 0; world < DIFFER_WORLDS; world++) {
        struct differ_world *w = &differ->worlds[world];
        differ_act(w, event);
        if (event->joined)
            continue;
        differ_rest(w);
        if (differ->options->meddle != NULL)
            differ->options->meddle(differ->options->context, w, world, at);
    }
}

static void compare(struct differ *differ, const struct differ_event *event)
{
    if (event->joined)
        return;
    if (differ->options->pile_max <= 1)
        differ_compare(differ);
    else if (event->kind == DIFFER_SETTLE)
        differ_compare_settled(differ);
}

/* ---- all of it ---- */

static bool next_event(struct differ_draw *draw, const struct differ *differ,
                       struct differ_schedule *schedule, u32 at)
{
    if (differ->options->events == 0)
        return at < schedule->count;
    /* The last pile is drawn to its end, so that it is settled and compared. */
    if (at == DIFFER_EVENTS_MAX || (at >= differ->options->events && draw->queue_count == 0))
        return false;
    schedule->events[at] = differ_draw_next(draw, &differ->worlds[0]);
    schedule->count = at + 1;
    return true;
}

void differ_run(const struct differ_options *options, struct differ_schedule *schedule,
                struct differ_result *result)
{
    struct differ *differ = sim_alloc_zero(1, sizeof(*differ));
    struct telling *telling = sim_alloc_zero(1, sizeof(*telling));
    struct differ_draw draw;
    u64 leader_terms = 0;
    *result = (struct differ_result){.agreed = true};
    differ->options = options;
    differ->result = result;
    telling->to = options->story;
    for (u32 world = 0; world < DIFFER_WORLDS; world++)
        differ_world_init(&differ->worlds[world], options, designs[world]);
    differ_draw_init(&draw, options);
    tell_rest(telling, differ);
    compare(differ, &(const struct differ_event){.kind = DIFFER_WAIT});
    for (u32 at = 0; result->agreed && next_event(&draw, differ, schedule, at); at++) {
        const struct differ_event *event = &schedule->events[at];
        tell_event(telling, differ, event, at + 1);
        carry_out(differ, event, at);
        result->events = at + 1;
        count(differ, &leader_terms);
        if (!event->joined)
            tell_rest(telling, differ);
        compare(differ, event);
    }
    if (telling->to != NULL)
        (void)fputs(result->text, telling->to);
    for (u32 world = 0; world < DIFFER_WORLDS; world++)
        differ_world_deinit(&differ->worlds[world]);
    sim_free(telling);
    sim_free(differ);
    result->ended = true;
}
