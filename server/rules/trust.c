/* trust.c - see trust.h. */
#include "server/rules/trust.h"

#include "server/rules/raft.h"

const char *distrust_words(enum distrust distrust)
{
    switch (distrust) {
#define X(name, words) \
    case name:         \
        return words;
        DISTRUSTS(X)
#undef X
    case DISTRUST_END:
        break;
    }
    return "it is not recognised";
}

/* ---- the judgement ---- */

enum distrust trust_judge(const struct acquaintance *met, const struct identity *shown)
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

/* ---- acquaintances ---- */

static struct acquaintance *find(struct raft *raft, server_id peer)
{
    struct trust *trust = &raft->trust;
    for (u32 i = 0; i < trust->count; i++) {
        if (trust->met[i].id == peer)
            return &trust->met[i];
    }
    return NULL;
}

const struct acquaintance *trust_acquaintance(const struct raft *raft, server_id peer)
{
    return find((struct raft *)(uintptr_t)raft, peer);
}

/* A place for a new one: the table is larger than any configuration, so when it is full there is
 * one in it that is a member no more. */
static struct acquaintance *make_room(struct raft *raft)
{
    struct trust *trust = &raft->trust;
    if (trust->count < ACQUAINTANCES_MAX)
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
    for (u32 i = 0; i < trust->count; i++)
        trust->distrusted += trust->met[i].distrust != DISTRUST_NONE;
}

/* The newest of it that is believed. Returns whether that is news. */
static bool remember(struct acquaintance *met, const struct identity *shown)
{
    if (met->directory_id == shown->directory_id && met->start_count == shown->start_count &&
        met->start_id == shown->starts[0])
        return false;
    met->directory_id = shown->directory_id;
    met->start_count = shown->start_count;
    met->start_id = shown->starts[0];
    return true;
}

struct meeting trust_meet(struct raft *raft, server_id peer, const struct identity *shown)
{
    struct meeting meeting = {.distrust = DISTRUST_NONE};
    struct acquaintance *met = find(raft, peer);
    if (met == NULL) {
        met = make_room(raft);
        *met = (struct acquaintance){.id = peer, .directory_id = shown->directory_id};
    }
    enum distrust before = met->distrust;
    u64 directory_before = met->shown.directory_id;
    bool first = met->shown.start_count == 0;
    bool same_start =
        directory_before == shown->directory_id && met->shown.start_count == shown->start_count;
    meeting.distrust = trust_judge(met, shown);
    /* Of a directory that lost entries the starts are believed all the same: it is told from one
     * that is put back in its place. */
    if (meeting.distrust != DISTRUST_OTHER_DIRECTORY && meeting.distrust != DISTRUST_SET_BACK)
        meeting.remember = remember(met, shown);
    met->distrust = meeting.distrust;
    met->shown.directory_id = shown->directory_id;
    met->shown.start_count = shown->start_count;
    met->knows = shown->non_voter;
    met->told_ns = 0;
    meeting.changed = meeting.distrust != before || (before != DISTRUST_NONE && !same_start);
    meeting.anew = before != DISTRUST_NONE || meeting.distrust != DISTRUST_NONE ||
                   (!first && directory_before != shown->directory_id);
    count_distrusted(&raft->trust);
    return meeting;
}

struct meeting trust_lost(struct raft *raft, server_id peer, enum distrust distrust)
{
    struct acquaintance *met = find(raft, peer);
    if (met == NULL) { /* it has spoken without showing who it is: only tests do */
        met = make_room(raft);
        *met = (struct acquaintance){.id = peer};
    }
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

bool trust_counts(const struct raft *raft, server_id peer)
{
    if (raft->trust.distrusted == 0)
        return true;
    const struct acquaintance *met = trust_acquaintance(raft, peer);
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
    struct acquaintance *met = find(raft, peer);
    if (met == NULL || met->distrust == DISTRUST_NONE || met->knows ||
        (met->told_ns != 0 && now_ns < met->told_ns + raft->heartbeat_ns))
        return false;
    met->told_ns = now_ns;
    raft_message(raft, MESSAGE_UNRECOGNISED, peer, NULL, message);
    message->as.unrecognised = (struct unrecognised){
        .directory_id = met->shown.directory_id,
        .start_count = met->shown.start_count,
        .why = met->distrust,
    };
    return true;
}

void trust_tell_again(struct raft *raft, server_id peer)
{
    struct acquaintance *met = find(raft, peer);
    if (met != NULL)
        met->told_ns = 0;
}

bool trust_unrecognised(struct raft *raft, const struct message *message)
{
    const struct unrecognised *told = &message->as.unrecognised;
    struct identity *own = &raft->trust.own;
    /* One that was on its way for long is about an earlier start, perhaps of another directory. */
    if (own->non_voter || told->directory_id != own->directory_id ||
        told->start_count != own->start_count)
        return false;
    own->non_voter = true;
    return true;
}
