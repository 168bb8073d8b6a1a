/* votes.h - from a rule's verdict about votes to the outbox, and to those who follow the log with
 * -v.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REPLICA_VOTES_H
#define MAILRAFT_REPLICA_VOTES_H

#include "server/replica/replica.h"

/* Says it in the log, for those who follow it with -v. */
void votes_tell(struct server *server, const struct election_news *news);
/* The election timer was set. */
void votes_tell_timeout(struct server *server, u64 now_ns, u64 deadline_ns);
/* To be called with every pile: if the settings have changed the timer is drawn anew from them, and
 * the earlier of the two deadlines holds. */
void votes_mind_settings(struct server *server, u64 *deadline_ns, u64 now_ns);
/* Whether the election timer has gone off, and this server is to campaign: all mail until
 * `heard_ns` has been read, and the deadline has passed by then. Where this server may not campaign
 * the timer is set again. */
bool votes_time_is_up(struct server *server, bool may_campaign, u64 *deadline_ns, u64 heard_ns,
                      u64 now_ns);
/* election_count, and says so. */
void votes_count(struct server *server, struct election *election, const struct message *reply);

/* Answers a PRE_VOTE or a REQUEST_VOTE of the current term. Returns whether a vote was given away
 * (a pre-vote gives none). */
bool votes_answer(struct server *server, const struct message *request, bool hears_leader);

/* Begins to campaign: with a pre-vote, or at once when leadership was handed over. */
void votes_begin_campaign(struct server *server, struct election *election, bool skip_pre_vote,
                          u64 now_ns);

/* The pre-vote was won: term + 1, own vote, and the requests for the others'. */
void votes_begin_election(struct server *server, struct election *election, bool skip_pre_vote);

/* A peer can be reached now: it gets the request that went nowhere before, unless it has answered,
 * or is not asked at all. */
void votes_request_again(struct server *server, const struct election *election, server_id peer);

#endif
