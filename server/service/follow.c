/* follow.c - see follow.h. */
#include "server/service/follow.h"

#include "server/replica/identity.h"

enum { ELECTION_NEWS_SIZE = 256 };

/* ---- votes ---- */

void act_tell_election(struct server *server, const struct election_news *news)
{
    char text[ELECTION_NEWS_SIZE];
    if (atomic_load_explicit(&server->world.report->level, memory_order_relaxed) < REPORT_DEBUG)
        return;
    election_tell(news, text, sizeof(text));
    REPORT(server->world.report, REPORT_DEBUG, "server", "%s", text);
}

void act_tell_timeout(struct server *server, u64 now_ns, u64 deadline_ns)
{
    struct election_news news = {.kind = NEWS_TIMEOUT, .timeout_ns = deadline_ns - now_ns};
    act_tell_election(server, &news);
}

void act_count_vote(struct server *server, struct election *election, const struct message *reply)
{
    member_set before = election_heard(&server->raft, election, reply);
    election_count(&server->raft, election, reply);
    if (election_heard(&server->raft, election, reply) == before)
        return; /* nobody waits for it any more */
    struct election_news news = election_counted(&server->raft, election, reply);
    act_tell_election(server, &news);
}

bool act_answer_vote(struct server *server, const struct message *request, bool hears_leader)
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
    act_tell_election(server, &news);
    server_put(server, &reply);
    return granted && !pre_vote;
}

static void request_votes(struct server *server, const struct election *election)
{
    const struct configuration *configuration = &server->raft.configuration;
    for (u32 position = 0; position < configuration->count; position++)
        act_request_vote_again(server, election, configuration->members[position].id);
}

void act_begin_election(struct server *server, struct election *election, bool handed_over)
{
    election_begin(&server->raft, election, handed_over);
    server->elections++;
    request_votes(server, election);
}

void act_begin_campaign(struct server *server, struct election *election, u64 now_ns)
{
    bool handed_over = server->handed_over;
    server->handed_over = false;
    server->raft.leader = SERVER_NONE;
    server->raft.leader_heard_ns = 0;
    if (handed_over) {
        act_begin_election(server, election, true);
        return;
    }
    election_begin_pre_vote(&server->raft, election, now_ns);
    request_votes(server, election);
}

void act_request_vote_again(struct server *server, const struct election *election, server_id peer)
{
    if (!election_asks(&server->raft, election, peer))
        return;
    struct message request;
    election_request(&server->raft, election, peer, &request);
    server_put(server, &request);
}

/* ---- the follower ---- */

bool act_take_entries(struct server *server, const struct message *request, u64 now_ns,
                      const char **why)
{
    struct message reply;
    if (!append_entries(&server->raft, request, server_room(server), now_ns, &reply, why))
        return false;
    server_put(server, &reply);
    return true;
}

static void outcome_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    server_answer(context, command, answer, size);
}

static void outcome_fail(void *context, struct command *command, enum command_failure failure)
{
    server_fail(context, command, failure);
}

static struct forwarding_outcome outcome_of(struct server *server)
{
    return (struct forwarding_outcome){outcome_answer, outcome_fail, server, &server->parked};
}

void act_follow_command(struct server *server, struct forwarding *forwarding,
                        struct command *command)
{
    if (command_is_local(command))
        server_answer_local(server, NULL, command);
    else if (command->class == COMMAND_TRANSFER)
        server_conclude_order(server, command);
    else if (server->raft.leader == SERVER_NONE)
        server_park(server, command);
    else if (command->may_redirect)
        server_redirect(server, command);
    else
        forwarding_put(forwarding, command);
}

void act_take_forward_reply(struct server *server, struct forwarding *forwarding,
                            const struct message *reply)
{
    const struct forward_reply *answers = &reply->as.forward_reply;
    struct forwarding_outcome outcome = outcome_of(server);
    if (!forwarding_replied(forwarding, reply, &outcome))
        return;
    if (answers->result == FORWARD_NOT_LEADER && !answers->leads &&
        reply->from == server->raft.leader)
        server->raft.leader = SERVER_NONE;
}

void act_forward(struct server *server, struct forwarding *forwarding, u64 now_ns)
{
    if (server->raft.leader != SERVER_NONE && server->parked.first != NULL) {
        struct command_list waiting = server->parked;
        server->parked = (struct command_list){0};
        forwarding_take_back(forwarding, &waiting); /* they came later, and go later */
        struct command *command;
        while ((command = command_list_take(&waiting)) != NULL)
            act_follow_command(server, forwarding, command);
    }
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_expire(forwarding, now_ns, &outcome);
    if (server->raft.leader == SERVER_NONE) {
        /* It was known when they came, and later mail of the same pile has said otherwise. */
        forwarding_take_back(forwarding, &server->parked);
        return;
    }
    struct message message;
    while (forwarding_next(forwarding, &server->raft, server->options.message_bytes_max,
                           now_ns + server->options.forward_timeout_ns, &message))
        outbox_put(&server->outbox, &message);
}

void act_forwarding_lost(struct server *server, struct forwarding *forwarding)
{
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_lost(forwarding, &outcome);
}

void act_forward_unsent(struct server *server, struct forwarding *forwarding, u64 call)
{
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_unsent(forwarding, call, &outcome);
}

bool act_take_piece(struct server *server, const struct message *request, u64 now_ns,
                    const char **why)
{
    struct raft *raft = &server->raft;
    struct snapshots *snapshots = &server->snapshotting.snapshots;
    struct message reply;
    enum install_verdict verdict;
    if (!install_snapshot(raft, request, snapshots_receive_room(snapshots),
                          snapshots_no_space(snapshots), now_ns, &reply, &verdict, why))
        return false;
    if (verdict == INSTALL_TAKE && !snapshotting_take_piece(server, request))
        install_failed(raft, raft->incoming.order);
    server_put(server, &reply);
    return true;
}

static void install_received(struct server *server)
{
    struct snapshot_point point;
    struct machine *machine = snapshotting_received(server, &point);
    if (machine == NULL)
        return;
    /* A leader knows every entry that is committed: it needs nobody's snapshot. */
    enum installed installed =
        server->state == RAFT_LEADER ? INSTALLED_OLD : snapshot_install(&server->raft, &point);
    if (!snapshotting_install(server, installed, &point, machine))
        return;
    if (installed != INSTALLED_OLD)
        events_installed(&server->events);
}

void act_take_news(struct server *server, const struct snapshot_result *result)
{
    struct snapshot_point point;
    switch (result->news) {
    case SNAPSHOT_PROGRESS: /* this pile's end hands over the next slice */
        return;
    case SNAPSHOT_TAKEN:
        point = snapshots_taken(&server->snapshotting.snapshots);
        snapshot_taken(&server->raft, &point);
        snapshotting_taken(server, result->order, true);
        return;
    case SNAPSHOT_NOT_TAKEN:
        snapshotting_taken(server, result->order, false);
        return;
    case SNAPSHOT_RECEIVED:
        install_received(server);
        return;
    case SNAPSHOT_NOT_RECEIVED:
        install_failed(&server->raft, result->order);
        return;
    }
}

/* ---- the candidate ---- */

void act_hold_command(struct server *server, struct command *command)
{
    if (command_is_local(command))
        server_answer_local(server, NULL, command);
    else if (command->class == COMMAND_TRANSFER)
        server_conclude_order(server, command);
    else
        server_park(server, command);
}

/* ---- the leader ---- */

void act_take_append_reply(struct server *server, struct lead *lead, const struct message *reply,
                           u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, reply->from);
    if (progress == NULL)
        return;
    replicate_reply(&server->raft, progress, reply,
                    leadership_heard_ns(&lead->leadership, reply, now_ns));
    recognition_mind_reply(server, progress, &reply->as.append_reply);
}

void act_take_install_reply(struct server *server, struct lead *lead, const struct message *reply,
                            u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, reply->from);
    if (progress != NULL)
        install_reply(&server->raft, progress, reply,
                      leadership_heard_ns(&lead->leadership, reply, now_ns));
}

void act_peer_disconnected(struct lead *lead, server_id peer)
{
    struct progress *progress = leadership_peer(&lead->leadership, peer);
    if (progress != NULL)
        replicate_disconnected(progress);
}

void act_peer_connected(struct server *server, struct lead *lead, server_id peer)
{
    struct progress *progress = leadership_peer(&lead->leadership, peer);
    if (progress != NULL)
        replicate_connected(&server->raft, progress);
}

void act_stop_leading(struct server *server, struct lead *lead)
{
    server->raft.leader = SERVER_NONE;
    server->raft.leader_heard_ns = 0;
    lead_end(server, lead);
}
