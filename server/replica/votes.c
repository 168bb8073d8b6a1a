/* votes.c - see votes.h. */
#include "server/replica/votes.h"

enum { ELECTION_NEWS_SIZE = 256 };

void votes_tell(struct server *server, const struct election_news *news)
{
    char text[ELECTION_NEWS_SIZE];
    if (atomic_load_explicit(&server->world.report->level, memory_order_relaxed) < REPORT_DEBUG)
        return;
    election_tell(news, text, sizeof(text));
    REPORT(server->world.report, REPORT_DEBUG, "server", "%s", text);
}

void votes_tell_timeout(struct server *server, u64 now_ns, u64 deadline_ns)
{
    struct election_news news = {.kind = NEWS_TIMEOUT, .timeout_ns = deadline_ns - now_ns};
    votes_tell(server, &news);
}

void votes_mind_settings(struct server *server, u64 *deadline_ns, u64 now_ns)
{
    if (server_take_change(server))
        *deadline_ns =
            u64_min(*deadline_ns, election_timeout_ns(&server->raft, &server->rng, now_ns));
}

bool votes_time_is_up(struct server *server, bool may_campaign, u64 *deadline_ns, u64 heard_ns,
                      u64 now_ns)
{
    if (heard_ns < *deadline_ns)
        return false;
    if (may_campaign && !server->timers_held)
        return true;
    *deadline_ns = election_timeout_ns(&server->raft, &server->rng, now_ns);
    return false;
}

void votes_count(struct server *server, struct election *election, const struct message *reply)
{
    member_set before = election_heard(&server->raft, election, reply);
    election_count(&server->raft, election, reply);
    if (election_heard(&server->raft, election, reply) == before)
        return; /* nobody waits for it any more */
    struct election_news news = election_counted(&server->raft, election, reply);
    votes_tell(server, &news);
}

bool votes_answer(struct server *server, const struct message *request, bool hears_leader)
{
    struct message reply;
    const char *why;
    bool pre_vote = request->kind == MESSAGE_PRE_VOTE;
    if (pre_vote)
        election_answer_pre_vote(&server->raft, request, hears_leader, &reply, &why);
    else
        election_answer_vote(&server->raft, request, &reply, &why);
    bool granted = reply.as.vote_reply.granted;
    struct election_news news = {.kind = NEWS_VOTE_GIVEN,
                                 .pre_vote = pre_vote,
                                 .granted = granted,
                                 .peer = request->from,
                                 .term = request->term,
                                 .why = why};
    votes_tell(server, &news);
    server_put(server, &reply);
    return granted && !pre_vote;
}

static void request_votes(struct server *server, const struct election *election)
{
    const struct configuration *configuration = &server->raft.configuration;
    for (u32 position = 0; position < configuration->count; position++)
        votes_request_again(server, election, configuration->members[position].id);
}

void votes_begin_election(struct server *server, struct election *election, bool skip_pre_vote)
{
    election_begin(&server->raft, election, skip_pre_vote);
    server->elections++;
    request_votes(server, election);
}

void votes_begin_campaign(struct server *server, struct election *election, bool skip_pre_vote,
                          u64 now_ns)
{
    server->raft.leader = SERVER_NONE;
    server->raft.leader_heard_ns = 0;
    if (skip_pre_vote) {
        votes_begin_election(server, election, true);
        return;
    }
    election_begin_pre_vote(&server->raft, election, now_ns);
    request_votes(server, election);
}

void votes_request_again(struct server *server, const struct election *election, server_id peer)
{
    if (!election_asks(&server->raft, election, peer))
        return;
    struct message request;
    election_request(&server->raft, election, peer, &request);
    server_put(server, &request);
}
