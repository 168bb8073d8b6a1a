/* identities.c - see identities.h. */
#include "server/rules/identities.h"

#include "server/rules/lineage.h"
#include "server/rules/trust.h"

static u64 append(struct raft *raft, struct leadership *leadership, enum entry_type type,
                  const struct buffer *payload, u64 wall_ns)
{
    struct entry entry = {.id.term = raft->current_term,
                          .type = type,
                          .version = ENTRY_VERSION,
                          .time_ns = wall_ns,
                          .payload = payload->data,
                          .payload_size = (u32)payload->size};
    leadership->uncommitted_bytes += record_size_of(&entry);
    u64 index = log_append(&raft->log, &entry, NULL, 0);
    entry.id.index = index;
    struct error error;
    if (lineage_take(raft, &entry, &error) != ERROR_NONE)
        UNREACHABLE();
    return index;
}

static u64 append_configuration(struct raft *raft, struct leadership *leadership,
                                const struct configuration *configuration, u64 wall_ns)
{
    struct buffer payload;
    buffer_init(&payload);
    configuration_encode(configuration, &payload);
    u64 index = append(raft, leadership, ENTRY_CONFIGURATION, &payload, wall_ns);
    buffer_deinit(&payload);
    return index;
}

/* Whether nothing is in the log that another leader might truncate: only then may a configuration
 * follow on another. */
static bool may_append(const struct raft *raft, const struct leadership *leadership)
{
    return raft->configuration.index != 0 && raft->configuration.index <= raft->commit_index &&
           leadership->first_index <= raft->commit_index;
}

/* ---- what is to be said of its own accord ---- */

static bool all_know(const struct raft *raft, u32 feature)
{
    if (raft->trust.own.feature < feature)
        return false;
    for (u32 p = 0; p < raft->configuration.count; p++) {
        server_id id = raft->configuration.members[p].id;
        const struct known_peer *met = trust_known_peer(raft, id);
        if (id != raft->self && (met == NULL || met->shown.feature < feature))
            return false;
    }
    return true;
}

static u64 append_feature(struct raft *raft, struct leadership *leadership, u64 wall_ns)
{
    struct buffer payload;
    buffer_init(&payload);
    feature_encode(FEATURE_NEWEST, &payload);
    u64 index = append(raft, leadership, ENTRY_FEATURE, &payload, wall_ns);
    buffer_deinit(&payload);
    return index;
}

/* A number that nobody else has: it comes from two random ones, of this directory and this start.
 */
static u64 draw_incarnation(const struct identity *own, u64 term)
{
    u64 x = own->directory_id ^ (own->starts[0] << 1 | own->starts[0] >> 63) ^ term;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    x ^= x >> 31;
    return x != 0 ? x : 1;
}

/* The directory that a member shows, if it is believed; 0: not known. */
static u64 directory_of(const struct raft *raft, server_id id)
{
    if (id == raft->self)
        return raft->trust.own.non_voter ? 0 : raft->trust.own.directory_id;
    const struct known_peer *met = trust_known_peer(raft, id);
    bool believed = met != NULL && met->shown.start_count != 0 && met->distrust == DISTRUST_NONE;
    return believed ? met->shown.directory_id : 0;
}

/* The directory through which the peer belongs to this cluster, as far as this server has ever
 * seen: also of one that is not connected now, or was wiped or set back since. 0: not known. */
static u64 directory_believed(const struct raft *raft, server_id id)
{
    const struct known_peer *met = trust_known_peer(raft, id);
    return met != NULL ? met->directory_id : 0;
}

/* A cluster of before gets its incarnation. From then on directories that were not in it are
 * strangers (kinship_judge); so all that were must be named in that very entry. */
static bool identify(const struct raft *raft, struct configuration *configuration)
{
    for (u32 p = 0; p < configuration->count; p++) {
        struct member *member = &configuration->members[p];
        if (member->directory_id == 0)
            member->directory_id = directory_of(raft, member->id);
        if (member->directory_id == 0)
            member->directory_id = directory_believed(raft, member->id);
        if (member->directory_id == 0)
            return false;
    }
    configuration->incarnation = draw_incarnation(&raft->trust.own, raft->current_term);
    return true;
}

static bool add_what_is_known(const struct raft *raft, struct configuration *configuration)
{
    bool news = false;
    if (configuration->incarnation == 0)
        return identify(raft, configuration);
    for (u32 p = 0; p < configuration->count; p++) {
        struct member *member = &configuration->members[p];
        u64 directory = member->directory_id == 0 ? directory_of(raft, member->id) : 0;
        news = news || directory != 0;
        member->directory_id = member->directory_id != 0 ? member->directory_id : directory;
    }
    return news;
}

u64 identities_settle(struct raft *raft, struct leadership *leadership, u64 wall_ns)
{
    if (raft->configuration_complete || !may_append(raft, leadership))
        return 0;
    if (raft->configuration.feature < FEATURE_NEWEST)
        return all_know(raft, FEATURE_NEWEST) ? append_feature(raft, leadership, wall_ns) : 0;
    struct configuration changed = raft->configuration;
    if (!add_what_is_known(raft, &changed))
        return 0;
    return append_configuration(raft, leadership, &changed, wall_ns);
}

/* ---- a voter again ---- */

static enum transfer_result judge(const struct raft *raft, const struct leadership *leadership,
                                  server_id who)
{
    const struct member *member = configuration_member(&raft->configuration, who);
    const struct known_peer *met = trust_known_peer(raft, who);
    if (member == NULL)
        return READMIT_NO_MEMBER;
    if (who == raft->self)
        return READMIT_RECOGNISED;
    if (raft->configuration.feature < FEATURE_IDENTITY)
        return READMIT_TOO_OLD;
    if (!may_append(raft, leadership))
        return READMIT_WAIT;
    if (met == NULL || met->shown.start_count == 0)
        return READMIT_NOT_MET;
    if (met->distrust == DISTRUST_NONE)
        return READMIT_RECOGNISED;
    if (met->distrust == DISTRUST_READMITTED)
        return READMIT_AGAIN;
    /* A copy goes on from where it was made. Only a start behind all that were seen tells the two
     * apart. */
    if (met->shown.directory_id == met->directory_id && met->shown.start_count < met->start_count)
        return READMIT_EARLIER_START;
    return TRANSFER_BEGUN;
}

enum transfer_result identities_readmit(struct raft *raft, struct leadership *leadership,
                                        server_id who, u64 *index)
{
    enum transfer_result result = judge(raft, leadership, who);
    if (result != TRANSFER_BEGUN)
        return result;
    const struct identity *shown = &trust_known_peer(raft, who)->shown;
    struct configuration changed = raft->configuration;
    struct member *member = &changed.members[configuration_position(&changed, who)];
    member->directory_id = shown->directory_id;
    member->readmission = (struct readmission){
        .entry = {.term = raft->current_term, .index = raft->log.last_index + 1},
        .start_count = shown->start_count,
        .start_id = shown->starts[0],
    };
    *index = append_configuration(raft, leadership, &changed, 0); /* the time of the one before */
    return TRANSFER_BEGUN;
}
