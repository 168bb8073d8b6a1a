/* identity.c - see identity.h. */
#include "server/replica/identity.h"

#include <inttypes.h>

#include "server/replica/persist.h"
#include "server/replica/replica.h"
#include "server/rules/trust.h"

/* ---- this server itself ---- */

void identity_recover(struct server *server, const struct storage_recovery *recovery)
{
    const struct metadata *metadata = &recovery->metadata;
    struct trust *trust = &server->raft.trust;
    trust->own = (struct identity){.directory_id = metadata->directory_id,
                                   .start_count = metadata->start_count,
                                   .non_voter = metadata->non_voter,
                                   .readmitted = metadata->readmitted,
                                   .incarnation = metadata->incarnation,
                                   .blank = metadata->blank,
                                   .joined_through = metadata->joined_through,
                                   .feature = FEATURE_NEWEST};
    memcpy(trust->own.starts, metadata->starts, sizeof(trust->own.starts));
    memcpy(trust->met, recovery->met, recovery->met_count * sizeof(trust->met[0]));
    trust->count = recovery->met_count;
}

/* The number that follows is the server's that is not recognised. */
#define WHAT_TO_DO                                                                               \
    "It gets entries and serves clients through the leader; to have a voter again, put its own " \
    "newest data directory back, or, when that is gone for good, run: raftctl member readmit "   \
    "%" PRIu32

void identity_log(const struct server *server)
{
    const struct identity *own = &server->raft.trust.own;
    if (own->non_voter)
        REPORT(server->world.report, REPORT_ERROR, "server",
               "this server may not vote: the others did not recognise its data "
               "directory. " WHAT_TO_DO,
               server->raft.self);
    if (own->blank)
        REPORT(server->world.report, REPORT_INFO, "server",
               "the data directory is blank: it joins the cluster of the first member that it "
               "meets. One server must have founded it, with raftd --bootstrap");
}

static void save_own(struct server *server, const char *what)
{
    const struct raft *raft = &server->raft;
    server->identity_changed = true;
    if (storage_save_own(server->storage, &raft->trust.own, raft->current_term, raft->voted_for,
                         &server->failure) != ERROR_NONE)
        (void)server_disk_failed(server, what);
}

void identity_join(struct server *server, const struct identity *through)
{
    struct identity *own = &server->raft.trust.own;
    if (!own->blank)
        return;
    own->blank = false;
    own->incarnation = through->incarnation;
    if (through->incarnation == 0)
        own->joined_through =
            through->joined_through != 0 ? through->joined_through : through->directory_id;
    /* Nobody speaks without a term; and in the first one nobody is ever elected, since a cluster is
     * founded in it. */
    if (server->raft.current_term == 0)
        adopt_term(&server->raft, 1);
    REPORT(server->world.report, REPORT_INFO, "server",
           "this server's directory was blank: it belongs to cluster %016" PRIx64 " from now on",
           own->incarnation);
    save_own(server, "save which cluster this server belongs to");
    if (server->failure.code == ERROR_NONE)
        identity_show(server);
}

void identity_save_non_voter(struct server *server, server_id by, enum distrust why)
{
    REPORT(server->world.report, REPORT_ERROR, "server",
           "server %" PRIu32 " does not recognise this server: %s. It may have forgotten votes and "
           "entries, so from now on it does not vote and does not campaign. " WHAT_TO_DO,
           by, distrust_words(why), server->raft.self);
    save_own(server, "save that this server may not vote");
}

void identity_save_own(struct server *server, enum own_standing standing)
{
    struct report *report = server->world.report;
    switch (standing) {
    case STANDING_SAME:
        return;
    case STANDING_OTHER_DIRECTORY:
        REPORT(report, REPORT_ERROR, "server",
               "the log names another data directory for this server than the one it runs on. It "
               "may have forgotten votes and entries, so from now on it does not vote and does not "
               "campaign. " WHAT_TO_DO,
               server->raft.self);
        break;
    case STANDING_JOINED:
        REPORT(report, REPORT_INFO, "server", "this cluster is %016" PRIx64 " from now on",
               server->raft.trust.own.incarnation);
        break;
    case STANDING_READMITTED:
        REPORT(report, REPORT_WARN, "server",
               "this server was readmitted by entry %" PRIu64 ": it votes and counts again",
               server->raft.trust.own.readmitted);
        break;
    }
    save_own(server, "save what this server is to the others");
}

void identity_show(struct server *server)
{
    const struct raft *raft = &server->raft;
    bool news = server->identity_changed || server->shown_configuration != raft->trust.settled;
    if (!news || server->transport == NULL)
        return;
    server->identity_changed = false;
    server->shown_configuration = raft->trust.settled;
    if (server->transport->ops->identify != NULL)
        server->transport->ops->identify(server->transport, &raft->trust.own, &raft->configuration);
}

static void forget_its_log(struct server *server, struct leader_pending *lead, server_id peer)
{
    struct progress *progress = lead != NULL ? leadership_peer(&lead->leadership, peer) : NULL;
    if (progress != NULL)
        replicate_anew(&server->raft, progress);
}

void identity_settle(struct server *server, struct leader_pending *lead)
{
    struct raft *raft = &server->raft;
    if (!trust_is_settled(&raft->trust, &raft->configuration, raft->commit_index)) {
        enum own_standing standing;
        server_id peer;
        struct meeting meeting;
        while ((standing = trust_settle(raft)) != STANDING_SAME)
            identity_save_own(server, standing);
        while (trust_next_change(raft, &peer, &meeting)) {
            if (meeting.anew)
                forget_its_log(server, lead, peer);
            identity_carry_out(server, peer, &meeting);
        }
    }
    if (server->failure.code == ERROR_NONE)
        identity_show(server);
}

bool identity_handle_unrecognised(struct server *server, const struct message *message)
{
    if (!trust_unrecognised(&server->raft, message))
        return false;
    identity_save_non_voter(server, message->from, message->as.unrecognised.why);
    return true;
}

/* ---- the others ---- */

static void say(const struct server *server, server_id peer, enum distrust distrust)
{
    struct report *report = server->world.report;
    if (distrust == DISTRUST_NONE)
        REPORT(report, REPORT_INFO, "server", "server %" PRIu32 " is recognised again", peer);
    else if (distrust == DISTRUST_READMITTED)
        REPORT(report, REPORT_WARN, "server",
               "server %" PRIu32 " is being readmitted: it counts again when its log has come as "
               "far as the entry that says so",
               peer);
    else
        REPORT(report, REPORT_ERROR, "server",
               "server %" PRIu32 " is not recognised: %s. It may have forgotten votes and entries, "
               "so its votes and acknowledgements do not count. " WHAT_TO_DO,
               peer, distrust_words(distrust), peer);
}

void identity_carry_out(struct server *server, server_id peer, const struct meeting *meeting)
{
    if (meeting->changed)
        say(server, peer, meeting->distrust);
    const struct trust *trust = &server->raft.trust;
    if (meeting->remember && storage_save_known_peers(server->storage, trust->met, trust->count,
                                                      &server->failure) != ERROR_NONE)
        (void)server_disk_failed(server, "save what was seen of other servers");
}

void identity_handle_hello(struct server *server, struct leader_pending *lead,
                           const struct met *met, u64 now_ns)
{
    struct meeting meeting = trust_meet(&server->raft, met->peer, &met->identity);
    if (meeting.anew) {
        forget_its_log(server, lead, met->peer);
        streams_forget(&server->raft.streams, met->peer);
    }
    identity_remind(server, met->peer, now_ns);
    identity_carry_out(server, met->peer, &meeting);
}

void identity_handle_reply(struct server *server, struct progress *progress,
                           const struct append_reply *reply)
{
    struct meeting meeting;
    if (progress->lost_acked || reply->non_voter)
        meeting = trust_lost(&server->raft, progress->id,
                             progress->lost_acked ? DISTRUST_LOST_ENTRIES : DISTRUST_TOLD);
    else if (!trust_counts(&server->raft, progress->id))
        meeting = trust_heard(&server->raft, progress->id, reply->readmitted);
    else
        return;
    if (meeting.anew)
        replicate_anew(&server->raft, progress);
    identity_carry_out(server, progress->id, &meeting);
}

void identity_handle_vote(struct server *server, const struct message *reply)
{
    if (trust_counts(&server->raft, reply->from))
        return;
    struct meeting meeting =
        trust_heard(&server->raft, reply->from, reply->as.vote_reply.readmitted);
    identity_carry_out(server, reply->from, &meeting);
}

void identity_remind(struct server *server, server_id peer, u64 now_ns)
{
    struct message message;
    if (trust_tell(&server->raft, peer, now_ns, &message))
        server_put(server, &message);
}

void identity_connected(struct server *server, server_id peer, u64 now_ns)
{
    trust_tell_again(&server->raft, peer);
    identity_remind(server, peer, now_ns);
}
