/* clusters.h - whether the servers that answer belong to one cluster: several may be called alike,
 * and each is known by its incarnation (server/rules/configuration.h). */
#ifndef MAILRAFT_TOOLS_RAFTCTL_CLUSTERS_H
#define MAILRAFT_TOOLS_RAFTCTL_CLUSTERS_H

#include "tools/raftctl/ask.h"

/* Whether both say to which cluster they belong, and it is not the same. */
bool clusters_differ(const struct target *a, const struct target *b);

/* To how many clusters the servers that answered belong. */
u32 clusters_count(const struct raftctl *raftctl);

/* Prints which servers belong to which, and who leads there. For people. */
void clusters_print(const struct raftctl *raftctl);

#endif
