/* lineage.h - which configuration a server goes by, and which ones it would go back to.
 *
 * §6: a server uses the newest configuration in its log, whether its entry is committed or not. So
 * when that entry is truncated, or a snapshot takes the log's place, another one is in force. The
 * newest stands in raft->configuration; the ones that it replaced are kept for as long as the
 * entry that did it may be truncated.
 *
 * Whatever changes here, trust_reconsider() follows: whose word counts depends on it (trust.h).
 *
 * Thread: as raft.h. */
#ifndef MAILRAFT_RULES_LINEAGE_H
#define MAILRAFT_RULES_LINEAGE_H

#include "common/error.h"
#include "server/rules/configuration.h"
#include "server/rules/entry.h"
#include "server/rules/raft.h"

/* Whether entries of this type make another configuration. */
bool lineage_minds(enum entry_type type);

/* Whether the server can take this entry, of a type that lineage_minds, behind those it has taken:
 * it can be decoded, is of this cluster, and has the members that there are. Changes nothing.
 * Errors: ERROR_FORMAT, ERROR_MISMATCH. */
WARN_UNUSED enum error_code lineage_check(const struct raft *raft, const struct entry *entry,
                                          struct error *error);
/* The entry is in the log now: what it says is in force. The same errors, and then nothing has
 * changed. */
WARN_UNUSED enum error_code lineage_take(struct raft *raft, const struct entry *entry,
                                         struct error *error);

/* The entries from `index` on are gone from the log. */
void lineage_truncate(struct raft *raft, u64 index);

/* A snapshot that ends with `last` has taken the place of what lies before: with the whole log if
 * `resets`, and else a newer configuration behind it stays in force. */
void lineage_replace(struct raft *raft, const struct configuration *configuration, bool resets);

#endif
