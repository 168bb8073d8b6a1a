/* recognition.c - see recognition.h. */
#include "server/recognition.h"

#include <inttypes.h>

#include "server/server.h"

/* ---- this server itself ---- */

void recognition_recover(struct server *server, const struct storage_recovery *recovery)
{
    const struct metadata *metadata = &recovery->metadata;
    struct trust *trust = &server->raft.trust;
    trust->own = (struct identity){.directory_id = metadata->directory_id,
                                   .start_count = metadata->start_count,
                                   .non_voter = metadata->non_voter};
    memcpy(trust->own.starts, metadata->starts, sizeof(trust->own.starts));
    memcpy(trust->met, recovery->met, recovery->met_count * sizeof(trust->met[0]));
    trust->count = recovery->met_count;
}

static const char what_to_do[] =
    "It gets entries and serves clients through the leader; to have a voter again, put its own "
    "newest data directory back, or replace it by a server with a new id";

void recognition_say(const struct server *server)
{
    if (server->raft.trust.own.non_voter)
        REPORT(server->world.report, REPORT_ERROR, "server",
               "this server may not vote: the others did not recognise its data directory. %s",
               what_to_do);
}

void recognition_save_non_voter(struct server *server, server_id by, enum distrust why)
{
    REPORT(server->world.report, REPORT_ERROR, "server",
           "server %" PRIu32 " does not recognise this server: %s. It may have forgotten votes and "
           "entries, so from now on it does not vote and does not campaign. %s",
           by, distrust_words(why), what_to_do);
    if (storage_save_non_voter(server->storage, &server->failure) != ERROR_NONE)
        (void)server_disk_failed(server, "save that this server may not vote");
}

bool recognition_told(struct server *server, const struct message *message)
{
    if (!trust_unrecognised(&server->raft, message))
        return false;
    recognition_save_non_voter(server, message->from, message->as.unrecognised.why);
    return true;
}

/* ---- the others ---- */

static void say(const struct server *server, server_id peer, enum distrust distrust)
{
    struct report *report = server->world.report;
    if (distrust == DISTRUST_NONE)
        REPORT(report, REPORT_INFO, "server", "server %" PRIu32 " is recognised again", peer);
    else
        REPORT(report, REPORT_ERROR, "server",
               "server %" PRIu32 " is not recognised: %s. It may have forgotten votes and entries, "
               "so its votes and acknowledgements do not count. %s",
               peer, distrust_words(distrust), what_to_do);
}

void recognition_carry_out(struct server *server, server_id peer, const struct meeting *meeting)
{
    if (meeting->changed)
        say(server, peer, meeting->distrust);
    const struct trust *trust = &server->raft.trust;
    if (meeting->remember && storage_save_acquaintances(server->storage, trust->met, trust->count,
                                                        &server->failure) != ERROR_NONE)
        (void)server_disk_failed(server, "save what was seen of other servers");
}

void recognition_meet(struct server *server, struct lead *lead, const struct met *met, u64 now_ns)
{
    struct meeting meeting = trust_meet(&server->raft, met->peer, &met->identity);
    struct progress *progress = lead != NULL ? leadership_peer(&lead->leadership, met->peer) : NULL;
    if (progress != NULL && meeting.anew) {
        replicate_anew(&server->raft, progress);
        leading_forget_forwarder(&server->raft, lead, met->peer);
    }
    recognition_remind(server, met->peer, now_ns);
    recognition_carry_out(server, met->peer, &meeting);
}

void recognition_mind_reply(struct server *server, struct progress *progress,
                            const struct append_reply *reply)
{
    if (!progress->set_back && !reply->non_voter)
        return;
    struct meeting meeting = trust_lost(&server->raft, progress->id,
                                        progress->set_back ? DISTRUST_LOST_ENTRIES : DISTRUST_TOLD);
    if (meeting.anew)
        replicate_anew(&server->raft, progress);
    recognition_carry_out(server, progress->id, &meeting);
}

void recognition_remind(struct server *server, server_id peer, u64 now_ns)
{
    struct message message;
    if (trust_tell(&server->raft, peer, now_ns, &message))
        server_put(server, &message);
}

void recognition_connected(struct server *server, server_id peer, u64 now_ns)
{
    trust_tell_again(&server->raft, peer);
    recognition_remind(server, peer, now_ns);
}
