/* scenario_player.h - what the player's files share: one play under way.
 *
 * Private to scenario_play.c (time, order), scenario_act.c (faults and work) and scenario_judge.c
 * (expectations). */
#ifndef MAILRAFT_SIM_SCENARIO_PLAYER_H
#define MAILRAFT_SIM_SCENARIO_PLAYER_H

#include "test/sim/scenario_play.h"

/* Where things stood when an expectation last held. */
struct player_mark {
    u64 term; /* the highest of the live servers' */
    u64 messages[SERVERS_MAX + 1][SERVERS_MAX + 1][MESSAGE_KIND_END]; /* from, to, kind */
    u64 bytes[SERVERS_MAX + 1][SERVERS_MAX + 1][MESSAGE_KIND_END];
};

struct player {
    const struct scenario *scenario;
    struct cluster *cluster;
    struct client *waiter; /* of the commands that are waited for */
    struct client *reader; /* of `expect value` */
    struct player_mark mark;
    u64 last_action_ns;  /* of the latest `at` or `after` */
    struct error *error; /* set: the scenario cannot be played on */
};

/* The servers that a list means now. Returns false when a word in it means nobody (there is no
 * leader); `why` is then given a clause. */
WARN_UNUSED bool player_servers(struct player *player, const struct server_list *list,
                                cluster_set *set, const char **why);
/* As player_servers; fails the run when a word means nobody. */
WARN_UNUSED bool player_resolve(struct player *player, const struct statement *statement,
                                const struct server_list *list, cluster_set *set);
/* Fails the run because of this statement. */
void player_fail(struct player *player, const struct statement *statement, const char *property,
                 cluster_set servers, const char *format, ...) PRINTF_LIKE(5, 6);
/* Whether nothing has failed yet. */
bool player_goes_on(const struct player *player);

/* Carries out a fault or work. With `wait` false no time passes. */
void player_act(struct player *player, const struct statement *statement, bool wait);

/* Judges an expectation as things stand, but for `value` through the leader: whether it holds. When
 * not, `why` is given a sentence that says how things are. */
bool player_holds(struct player *player, const struct expectation *expectation, struct buffer *why);
/* Whether judging it needs a command, so that time passes. */
bool player_must_read(const struct expectation *expectation);
/* Judges `value` through the leader; time passes, at most until `deadline_ns`. */
bool player_reads(struct player *player, const struct expectation *expectation, u64 deadline_ns,
                  struct buffer *why);
/* An expectation held: what is counted since the last one is counted from now. */
void player_mark(struct player *player);

#endif
