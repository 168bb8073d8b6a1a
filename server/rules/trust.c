/* trust.c - see trust.h. */
#include "server/rules/trust.h"

/* ---- the judgement ---- */

enum distrust trust_judge(const struct known_peer *met, const struct identity *shown)
{
    if (shown->directory_id != met->directory_id)
        return DISTRUST_OTHER_DIRECTORY;
    if (shown->start_count < met->start_count)
        return DISTRUST_SET_BACK;
    /* A copy that was put back counts its starts on from where it was made. So it comes to a start
     * of the same number as one that was seen, and that was another one. */
    u64 since = shown->start_count - met->start_count;
    if (since < IDENTITY_STARTS && met->start_id != 0 && shown->starts[since] != met->start_id)
        return DISTRUST_SET_BACK;
    if (met->lost_entries)
        return DISTRUST_LOST_ENTRIES;
    return shown->non_voter ? DISTRUST_TOLD : DISTRUST_NONE;
}

/* ---- known_peers ---- */

static struct known_peer *find(struct raft *raft, server_id peer)
{
    struct trust *trust = &raft->trust;
    for (u32 i = 0; i < trust->count; i++) {
        if (trust->met[i].id == peer)
            return &trust->met[i];
    }
    return NULL;
}

const struct known_peer *trust_known_peer(const struct raft *raft, server_id peer)
{
    return find((struct raft *)(uintptr_t)raft, peer);
}

/* A place for a new one: the table is larger than any configuration, so when it is full there is
 * one in it that is a member no more. */
static struct known_peer *make_room(struct raft *raft)
{
    struct trust *trust = &raft->trust;
    if (trust->count < KNOWN_PEERS_MAX)
        return &trust->met[trust->count++];
    for (u32 place = 0; place < trust->count; place++) {
        if (configuration_position(&raft->configuration, trust->met[place].id) < 0)
            return &trust->met[place];
    }
    UNREACHABLE();
}

static void count_distrusted(struct trust *trust)
{
    trust->distrusted = 0;
    trust->changed = 0;
    for (u32 i = 0; i < trust->count; i++) {
        trust->distrusted += trust->met[i].distrust != DISTRUST_NONE;
        trust->changed += trust->met[i].changed || trust->met[i].save;
    }
}

/* The newest of it that is believed. Returns whether that is news. */
static bool remember(struct known_peer *met, const struct identity *shown)
{
    if (met->directory_id == shown->directory_id && met->start_count == shown->start_count &&
        met->start_id == shown->starts[0])
        return false;
    met->directory_id = shown->directory_id;
    met->start_count = shown->start_count;
    met->start_id = shown->starts[0];
    return true;
}

/* What the log believes of it, in place of what was seen before. */
static void believe(struct known_peer *met, const struct member *member)
{
    met->directory_id = member->directory_id;
    met->start_count = member->readmission.start_count;
    met->start_id = member->readmission.start_id;
    met->lost_entries = false;
    met->readmitted = member->readmission.entry.index;
}

/* Whether the log says more of it than what was seen: it was readmitted since. */
static bool is_superseded(const struct known_peer *met, const struct member *member)
{
    return member != NULL && member->readmission.entry.index > met->readmitted;
}

/* Whether the configuration in force is older than a readmission that is known of: a log that the
 * disk has damaged may hold only what was so before. Then it says nothing about who is on which
 * directory.
 */
static bool is_outdated(const struct member *member, u64 readmitted)
{
    return member->readmission.entry.index < readmitted;
}

/* What was shown last, against what was seen and against what the log says. */
static enum distrust judge(const struct raft *raft, const struct known_peer *met)
{
    const struct member *member = configuration_member(&raft->configuration, met->id);
    struct known_peer known = *met;
    if (is_superseded(met, member))
        believe(&known, member);
    else if (member != NULL && member->directory_id != 0 && !is_outdated(member, met->readmitted) &&
             member->directory_id != met->shown.directory_id)
        return DISTRUST_OTHER_DIRECTORY;
    enum distrust distrust = trust_judge(&known, &met->shown);
    if (distrust != DISTRUST_NONE)
        return distrust;
    return member != NULL && member->readmission.entry.index > met->shown.readmitted
               ? DISTRUST_READMITTED
               : DISTRUST_NONE;
}

/* Who is met for the first time is believed, unless the log knows better. */
static struct known_peer *get_acquainted(struct raft *raft, server_id peer, u64 directory_id)
{
    struct known_peer *met = find(raft, peer);
    if (met != NULL)
        return met;
    const struct member *member = configuration_member(&raft->configuration, peer);
    met = make_room(raft);
    *met = (struct known_peer){.id = peer, .directory_id = directory_id};
    if (member != NULL && member->directory_id != 0)
        met->directory_id = member->directory_id;
    return met;
}

struct meeting trust_meet(struct raft *raft, server_id peer, const struct identity *shown)
{
    struct meeting meeting = {.distrust = DISTRUST_NONE};
    struct known_peer *met = get_acquainted(raft, peer, shown->directory_id);
    enum distrust before = met->distrust;
    u64 directory_before = met->shown.directory_id;
    bool first = met->shown.start_count == 0;
    bool same_start =
        directory_before == shown->directory_id && met->shown.start_count == shown->start_count;
    met->shown = *shown;
    meeting.distrust = met->distrust = judge(raft, met);
    /* Of a directory that lost entries the starts are believed all the same: it is told from one
     * that is put back in its place. */
    if (meeting.distrust != DISTRUST_OTHER_DIRECTORY && meeting.distrust != DISTRUST_SET_BACK &&
        !is_superseded(met, configuration_member(&raft->configuration, peer)))
        meeting.remember = remember(met, shown);
    met->knows = shown->non_voter;
    met->told_ns = 0;
    met->changed = false;
    meeting.changed = meeting.distrust != before || (before != DISTRUST_NONE && !same_start);
    meeting.anew = before != DISTRUST_NONE || meeting.distrust != DISTRUST_NONE ||
                   (!first && directory_before != shown->directory_id);
    count_distrusted(&raft->trust);
    return meeting;
}

/* ---- what the log says ---- */

static void judge_again(struct raft *raft, struct known_peer *met)
{
    if (met->shown.start_count == 0)
        return;
    enum distrust before = met->distrust;
    met->distrust = judge(raft, met);
    met->changed = met->changed || met->distrust != before;
    if (met->distrust == DISTRUST_OTHER_DIRECTORY && before != met->distrust)
        met->knows = false;
}

void trust_reconsider(struct raft *raft)
{
    struct trust *trust = &raft->trust;
    for (u32 i = 0; i < trust->count; i++)
        judge_again(raft, &trust->met[i]);
    count_distrusted(trust);
}

bool trust_next_change(struct raft *raft, server_id *peer, struct meeting *meeting)
{
    struct trust *trust = &raft->trust;
    for (u32 i = 0; i < trust->count; i++) {
        struct known_peer *met = &trust->met[i];
        if (!met->changed && !met->save)
            continue;
        *peer = met->id;
        *meeting = (struct meeting){.distrust = met->distrust,
                                    .remember = met->save,
                                    .changed = met->changed,
                                    .anew = met->changed};
        met->changed = met->save = false;
        count_distrusted(trust);
        return true;
    }
    return false;
}

struct meeting trust_heard(struct raft *raft, server_id peer, u64 readmitted)
{
    struct known_peer *met = find(raft, peer);
    if (met == NULL || readmitted <= met->shown.readmitted)
        return (struct meeting){.distrust = met == NULL ? DISTRUST_NONE : met->distrust};
    met->shown.readmitted = readmitted;
    met->shown.non_voter = false; /* whatever it was told before is over */
    enum distrust before = met->distrust;
    met->distrust = judge(raft, met);
    count_distrusted(&raft->trust);
    bool changed = met->distrust != before;
    return (struct meeting){.distrust = met->distrust, .changed = changed, .anew = changed};
}

/* What a committed entry says of the others needs no memory of one's own any more. */
static void believe_all(struct raft *raft)
{
    struct trust *trust = &raft->trust;
    for (u32 i = 0; i < trust->count; i++) {
        struct known_peer *met = &trust->met[i];
        const struct member *member = configuration_member(&raft->configuration, met->id);
        if (!is_superseded(met, member))
            continue;
        believe(met, member);
        met->save = true;
        judge_again(raft, met);
        if (met->shown.start_count != 0 && met->distrust != DISTRUST_OTHER_DIRECTORY &&
            met->distrust != DISTRUST_SET_BACK)
            (void)remember(met, &met->shown);
    }
    count_distrusted(trust);
}

/* Whether a committed entry has readmitted this very start of this directory, or one before it. */
static bool is_readmitted(const struct identity *own, const struct member *member)
{
    const struct readmission *readmission = &member->readmission;
    const struct known_peer named = {.directory_id = member->directory_id,
                                     .start_count = readmission->start_count,
                                     .start_id = readmission->start_id};
    struct identity shown = *own;
    shown.non_voter = false;
    return readmission->entry.index > own->readmitted &&
           trust_judge(&named, &shown) == DISTRUST_NONE;
}

static enum own_standing take_readmission(struct raft *raft, const struct readmission *readmission)
{
    struct identity *own = &raft->trust.own;
    ASSERT(raft->current_term >= readmission->entry.term); /* the log holds it */
    if (raft->current_term == readmission->entry.term && raft->voted_for == SERVER_NONE) {
        raft->voted_for = raft->leader != SERVER_NONE ? raft->leader : raft->self;
        raft->metadata_unsaved = true;
    }
    own->readmitted = readmission->entry.index;
    own->non_voter = false;
    return STANDING_READMITTED;
}

enum own_standing trust_settle(struct raft *raft)
{
    struct trust *trust = &raft->trust;
    struct identity *own = &trust->own;
    const struct configuration *configuration = &raft->configuration;
    if (configuration->index > raft->commit_index || configuration->index <= trust->settled)
        return STANDING_SAME;
    if (configuration->incarnation != 0 && own->incarnation == 0) {
        own->incarnation = configuration->incarnation;
        return STANDING_JOINED;
    }
    const struct member *member = configuration_member(configuration, raft->self);
    if (member != NULL && own->directory_id != 0 && member->directory_id != 0) {
        if (is_readmitted(own, member))
            return take_readmission(raft, &member->readmission);
        if (member->directory_id != own->directory_id && !own->non_voter &&
            !is_outdated(member, own->readmitted)) {
            own->non_voter = true;
            return STANDING_OTHER_DIRECTORY;
        }
    }
    believe_all(raft);
    trust->settled = configuration->index;
    return STANDING_SAME;
}

struct meeting trust_lost(struct raft *raft, server_id peer, enum distrust distrust)
{
    struct known_peer *met = get_acquainted(raft, peer, 0);
    const struct member *member = configuration_member(&raft->configuration, peer);
    if (distrust == DISTRUST_LOST_ENTRIES && is_superseded(met, member))
        believe(met, member); /* what it lost, it lost after that */
    if (distrust == DISTRUST_TOLD)
        met->shown.non_voter = true;
    struct meeting meeting = {.distrust = met->distrust};
    meeting.anew = distrust == DISTRUST_LOST_ENTRIES;
    met->knows = met->knows || distrust == DISTRUST_TOLD;
    if (met->distrust != DISTRUST_NONE)
        return meeting;
    meeting.distrust = met->distrust = distrust;
    meeting.changed = meeting.anew = true;
    if (distrust == DISTRUST_LOST_ENTRIES)
        meeting.remember = met->lost_entries = true;
    count_distrusted(&raft->trust);
    return meeting;
}

/* ---- what counts ---- */

bool trust_may_vote(const struct raft *raft)
{
    const struct identity *own = &raft->trust.own;
    if (own->non_voter)
        return false;
    const struct member *member = configuration_member(&raft->configuration, raft->self);
    if (member == NULL || member->directory_id == 0 || own->directory_id == 0 ||
        is_outdated(member, own->readmitted))
        return true;
    return member->directory_id == own->directory_id &&
           member->readmission.entry.index <= own->readmitted;
}

bool trust_counts(const struct raft *raft, server_id peer)
{
    if (raft->trust.distrusted == 0)
        return true;
    const struct known_peer *met = trust_known_peer(raft, peer);
    return met == NULL || met->distrust == DISTRUST_NONE;
}

/* The members that count, by position. */
static member_set counting(const struct raft *raft)
{
    if (raft->trust.distrusted == 0)
        return ~(member_set)0;
    member_set set = 0;
    for (u32 position = 0; position < raft->configuration.count; position++) {
        if (trust_counts(raft, raft->configuration.members[position].id))
            set |= (member_set)1 << position;
    }
    return set;
}

bool trust_quorum(const struct raft *raft, member_set set)
{
    return quorum(&raft->configuration, set & counting(raft));
}

u64 trust_quorum_value(const struct raft *raft, const u64 *values)
{
    if (raft->trust.distrusted == 0)
        return quorum_value(&raft->configuration, values);
    member_set set = counting(raft);
    u64 counted[SERVERS_MAX];
    for (u32 position = 0; position < raft->configuration.count; position++)
        counted[position] = (set >> position & 1) != 0 ? values[position] : 0;
    return quorum_value(&raft->configuration, counted);
}

/* ---- telling ---- */

bool trust_tell(struct raft *raft, server_id peer, u64 now_ns, struct message *message)
{
    if (raft->trust.distrusted == 0)
        return false;
    struct known_peer *met = find(raft, peer);
    if (met == NULL || met->distrust == DISTRUST_NONE || met->distrust == DISTRUST_READMITTED ||
        met->knows || (met->told_ns != 0 && now_ns < met->told_ns + raft->heartbeat_ns))
        return false;
    met->told_ns = now_ns;
    raft_message(raft, MESSAGE_UNRECOGNISED, peer, NULL, message);
    message->as.unrecognised = (struct unrecognised){
        .directory_id = met->shown.directory_id,
        .start_count = met->shown.start_count,
        .why = met->distrust,
        .readmitted = met->readmitted,
    };
    return true;
}

void trust_tell_again(struct raft *raft, server_id peer)
{
    struct known_peer *met = find(raft, peer);
    if (met != NULL)
        met->told_ns = 0;
}

bool trust_unrecognised(struct raft *raft, const struct message *message)
{
    const struct unrecognised *told = &message->as.unrecognised;
    struct identity *own = &raft->trust.own;
    /* Who is a stranger here has met strangers only; and who was readmitted since is another. */
    if (!trust_counts(raft, message->from) || told->readmitted < own->readmitted)
        return false;
    /* One that was on its way for long is about an earlier start, perhaps of another directory. */
    if (own->non_voter || told->directory_id != own->directory_id ||
        told->start_count != own->start_count)
        return false;
    own->non_voter = true;
    return true;
}

/* ---- clusters ---- */

void kin_take(struct kin *kin, const struct configuration *configuration)
{
    kin->feature = configuration->feature;
    kin->count = configuration->count;
    for (u32 p = 0; p < configuration->count; p++) {
        kin->members[p].id = configuration->members[p].id;
        kin->members[p].directory_id = configuration->members[p].directory_id;
    }
}

/* Whether a directory without an incarnation was in this cluster before that had one: the
 * configuration names it, or the one through which it joined. It may have come back empty, and have
 * joined again, while the entry that says which cluster this is was on its way. */
static bool was_in(const struct kin *kin, server_id peer, const struct identity *shown)
{
    for (u32 p = 0; p < kin->count; p++) {
        u64 named = kin->members[p].directory_id;
        if (named != 0 && (named == shown->joined_through ||
                           (kin->members[p].id == peer && named == shown->directory_id)))
            return true;
    }
    return false;
}

enum kinship kinship_judge(const struct identity *own, const struct kin *kin, server_id peer,
                           const struct identity *shown)
{
    if (shown->feature < kin->feature)
        return KIN_TOO_OLD;
    if (own->blank || shown->blank)
        return own->blank && shown->blank ? KIN_BOTH_BLANK
               : own->blank               ? KIN_WE_JOIN
                                          : KIN_IT_JOINS;
    if (own->incarnation == shown->incarnation)
        return KIN;
    if (own->incarnation != 0 && shown->incarnation != 0)
        return KIN_OTHER_CLUSTER;
    /* One of them has not heard yet that its cluster has an incarnation. The other one knows which
     * directories were in it then. */
    return shown->incarnation != 0 || was_in(kin, peer, shown) ? KIN : KIN_NOT_MET;
}
