/* lineage.c - see lineage.h. */
#include "server/rules/lineage.h"

#include "common/memory.h"
#include "server/rules/raft.h"
#include "server/rules/trust.h"

bool lineage_minds(enum entry_type type)
{
    return type == ENTRY_CONFIGURATION || type == ENTRY_FEATURE;
}

/* ---- what an entry makes ---- */

static enum error_code decode(const struct raft *raft, const struct entry *entry,
                              struct configuration *made, struct error *error)
{
    if (entry->type == ENTRY_CONFIGURATION)
        return configuration_decode(entry->payload, entry->payload_size, entry->id.index, made,
                                    error);
    *made = raft->configuration;
    return feature_decode(entry->payload, entry->payload_size, entry->id.index, made, error);
}

static bool has_same_members(const struct configuration *a, const struct configuration *b)
{
    if (a->count != b->count || a->voters != b->voters || a->voters_old != b->voters_old)
        return false;
    for (u32 p = 0; p < a->count; p++) {
        if (a->members[p].id != b->members[p].id)
            return false;
    }
    return true;
}

static enum error_code make(const struct raft *raft, const struct entry *entry,
                            struct configuration *made, struct error *error)
{
    const struct configuration *now = &raft->configuration;
    enum error_code code = decode(raft, entry, made, error);
    if (code != ERROR_NONE)
        return code;
    /* Of the one in the newest configuration nothing follows before it is committed: another leader
     * may have drawn another. */
    u64 own = raft->trust.own.incarnation;
    if (made->incarnation != own && made->incarnation != 0 && own != 0)
        return error_set(error, ERROR_MISMATCH,
                         "a configuration entry is of incarnation %016llx of the cluster, and this "
                         "server belongs to %016llx",
                         (unsigned long long)made->incarnation, (unsigned long long)own);
    if (now->index != 0 && !has_same_members(made, now))
        return error_set(error, ERROR_MISMATCH,
                         "the members change, which this version does not know: upgrade this "
                         "server");
    return ERROR_NONE;
}

/* ---- what is kept ---- */

/* Behind what is committed nothing is ever truncated: of the configurations there only the last can
 * come into force again. */
static void forget(struct raft *raft)
{
    struct lineage *lineage = &raft->lineage;
    u32 useless = 0;
    while (useless + 1 < lineage->count &&
           lineage->earlier[useless + 1].index <= raft->commit_index)
        useless++;
    if (lineage->count > 0 && raft->configuration.index <= raft->commit_index)
        useless = lineage->count;
    lineage->count -= useless;
    if (lineage->count > 0) /* else there may be no memory at all */
        memmove(lineage->earlier, lineage->earlier + useless,
                lineage->count * sizeof(lineage->earlier[0]));
}

static void keep(struct raft *raft)
{
    struct lineage *lineage = &raft->lineage;
    forget(raft);
    if (lineage->count == lineage->capacity) {
        lineage->capacity = lineage->capacity * 2 + 1;
        lineage->earlier =
            memory_resize(lineage->earlier, lineage->capacity * sizeof(lineage->earlier[0]));
    }
    lineage->earlier[lineage->count++] = raft->configuration;
}

static void put(struct raft *raft, const struct configuration *configuration)
{
    raft->configuration = *configuration;
    raft->configuration_complete = configuration_is_complete(configuration);
    trust_reconsider(raft);
}

/* ---- the log changes ---- */

enum error_code lineage_check(const struct raft *raft, const struct entry *entry,
                              struct error *error)
{
    struct configuration made;
    return make(raft, entry, &made, error);
}

enum error_code lineage_take(struct raft *raft, const struct entry *entry, struct error *error)
{
    struct configuration made;
    enum error_code code = make(raft, entry, &made, error);
    if (code != ERROR_NONE)
        return code;
    keep(raft);
    put(raft, &made);
    return ERROR_NONE;
}

void lineage_truncate(struct raft *raft, u64 index)
{
    struct lineage *lineage = &raft->lineage;
    const struct configuration none = {0};
    while (raft->configuration.index >= index && raft->configuration.index != 0)
        put(raft, lineage->count > 0 ? &lineage->earlier[--lineage->count] : &none);
}

void lineage_replace(struct raft *raft, const struct configuration *configuration, bool resets)
{
    struct lineage *lineage = &raft->lineage;
    if (resets || raft->configuration.index <= configuration->index) {
        lineage->count = 0;
        put(raft, configuration);
    }
}
