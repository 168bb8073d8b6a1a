/* judge.c - see judge.h. */
#include "tools/raftctl/judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/raftctl/clusters.h"

/* ---- one server ---- */

/* Whether this server's list of members calls that one a voter. */
static bool is_voter(const struct target *by, server_id id)
{
    char key[32];
    char value[WORD_SIZE];
    u64 voter = 0;
    (void)snprintf(key, sizeof(key), "raft_member_%u", id);
    return field_number(info_value(by, key, value), "voter", &voter) && voter != 0;
}

static u32 count_voters(const struct target *by)
{
    u32 count = 0;
    for (const char *at = by->info; (at = strstr(at, ",voter=1")) != NULL; at++)
        count++;
    return count;
}

static bool recognises(const struct target *by, server_id id)
{
    char key[40];
    char value[WORD_SIZE];
    (void)snprintf(key, sizeof(key), "raft_unrecognised_%u", id);
    return info_value(by, key, value)[0] == '\0';
}

bool is_recognised(const struct raftctl *raftctl, const struct verdict *verdict,
                   const struct target *target)
{
    char value[WORD_SIZE];
    if (verdict->leader != NULL)
        return recognises(verdict->leader, target->answered_id);
    if (strcmp(info_value(target, "raft_may_vote", value), "0") == 0)
        return false;
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *by = &raftctl->targets[i];
        if (target_is_valid(by) && !recognises(by, target->answered_id))
            return false;
    }
    return true;
}

u64 stalled_ms(const struct target *target)
{
    return info_number(target, "raft_stalled_ms");
}

bool is_full(const struct target *target)
{
    return info_number(target, "raft_full") != 0;
}

static bool follows(const struct target *target, const struct target *leader)
{
    return target_is_valid(target) && stalled_ms(target) == 0 && target->term == leader->term &&
           target->leader == leader->answered_id && !clusters_differ(target, leader);
}

static bool server_follows(const struct raftctl *raftctl, server_id id, const struct target *leader)
{
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (target_known_id(target) == id && follows(target, leader))
            return true;
    }
    return false;
}

bool progress_of(const struct verdict *verdict, const struct target *target, u64 *trails,
                 u64 *contact_ms)
{
    if (verdict->leader == NULL)
        return false;
    char key[32];
    char value[WORD_SIZE];
    (void)snprintf(key, sizeof(key), "raft_peer_%u", target_known_id(target));
    info_value(verdict->leader, key, value);
    return field_number(value, "trails", trails) && field_number(value, "contact_ms", contact_ms);
}

/* ---- all of them ---- */

static void count(const struct raftctl *raftctl, struct verdict *verdict,
                  const struct target *members)
{
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (!target_is_valid(target) || !is_voter(members, target->answered_id) ||
            !is_recognised(raftctl, verdict, target) || stalled_ms(target) != 0)
            continue;
        verdict->counted++;
        if (verdict->leader == NULL || !follows(target, verdict->leader))
            continue;
        verdict->following++;
        verdict->full += is_full(target);
    }
}

struct verdict judge(const struct raftctl *raftctl)
{
    struct verdict verdict = {.leader = ask_leader(raftctl), .clusters = clusters_count(raftctl)};
    const struct target *members = verdict.leader;
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (members == NULL && target_is_valid(target))
            members = target;
        if (target_is_valid(target) && stalled_ms(target) != 0)
            verdict.stalled = target;
    }
    if (members == NULL)
        return verdict;
    verdict.voters = count_voters(members);
    count(raftctl, &verdict, members);
    if (verdict.leader == NULL)
        return verdict;
    for (u32 i = 0; i < raftctl->with_count; i++) {
        if (!server_follows(raftctl, raftctl->with[i], verdict.leader))
            verdict.missing = raftctl->with[i];
    }
    verdict.agreed = verdict.following * 2 > verdict.voters;
    verdict.writable =
        !is_full(verdict.leader) && (verdict.following - verdict.full) * 2 > verdict.voters;
    return verdict;
}

bool verdict_is_good(const struct verdict *verdict)
{
    return verdict->agreed && verdict->clusters <= 1 && verdict->writable &&
           verdict->missing == 0 && verdict->stalled == NULL;
}

enum error_code verdict_complain(const struct verdict *verdict, struct error *error)
{
    if (verdict->clusters > 1)
        return error_set(error, ERROR_UNAVAILABLE,
                         "%u clusters answer under one name, and only one of them can be yours",
                         verdict->clusters);
    if (verdict->leader == NULL)
        return error_set(error, ERROR_UNAVAILABLE, "there is no leader");
    if (!verdict->agreed)
        return error_set(error, ERROR_UNAVAILABLE, "a majority does not follow the leader");
    if (verdict->stalled != NULL)
        return error_set(error, ERROR_UNAVAILABLE, "server %u has stalled",
                         verdict->stalled->answered_id);
    if (!verdict->writable)
        return error_set(error, ERROR_UNAVAILABLE,
                         "writes are refused: the disks of %u servers are full", verdict->full);
    return error_set(error, ERROR_UNAVAILABLE, "server %u does not follow the leader",
                     verdict->missing);
}
