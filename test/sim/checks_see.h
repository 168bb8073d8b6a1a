/* checks_see.h - the judge's eyes and memory, for checks.c alone. */
#ifndef MAILRAFT_TEST_SIM_CHECKS_SEE_H
#define MAILRAFT_TEST_SIM_CHECKS_SEE_H

#include <inttypes.h>

#include "test/sim/inside.h"

#define U64 "%" PRIu64

/* Makes room for `index` in a table, with zeros behind what was there. */
void *checks_grown(void *table, u64 *capacity, u64 index, size_t size);

/* Tables that grow as needed; the pointers hold until the next call for the same table. */
server_id *checks_leader_of(struct checks *checks, u64 term);
struct committed_entry *checks_committed(struct checks *checks, u64 index);
u64 *checks_digest(struct checks *checks, u64 index);
/* What is known of this entry; index 0: nothing yet, to be filled in. */
struct known_entry *checks_known(struct checks *checks, u64 index, u64 term);

/* The last index where the log is as it was at the last look: by Log Matching within one server,
 * all before it is unchanged, too. */
u64 checks_common_index(const struct checks *checks, const struct judged *judged,
                        const struct log *log);
/* Takes over the terms of the log behind `common`. */
void checks_set_log(const struct checks *checks, struct judged *judged, const struct log *log,
                    u64 common);
/* The checksum of the record at `index`, if the server has it in memory. */
u32 checks_record_crc(const struct sim_server *server, u64 index, bool *known);

/* Looks whether the metadata in memory is what is on the platter, and notes it if so. */
void checks_note_saved(const struct sim_server *server, struct judged *judged);

void checks_begins_to_lead(struct cluster *cluster, struct judged *judged);
/* When this leader had last heard from a quorum, itself included. */
u64 checks_quorum_heard_ns(const struct cluster *cluster, const struct sim_server *server);
u64 checks_progress_bound_ns(const struct cluster *cluster);

/* For the story. */
void checks_tell_state(struct cluster *cluster, const struct sim_server *server,
                       const struct judged *judged);
void checks_tell_log(struct cluster *cluster, const struct sim_server *server, u64 common);
void checks_tell_commit(struct cluster *cluster, const struct sim_server *server);

/* checks_figures.c: after every step. `first`: of the log's entries that are new. */
void checks_campaign(struct cluster *cluster, const struct sim_server *server,
                     struct judged *judged);
void checks_entries(struct cluster *cluster, const struct sim_server *server, u64 first);
/* And the term of the last entry. */
void checks_counters(struct cluster *cluster, const struct sim_server *server);

/* Whether the server counts as holding this entry on its disk. */
bool checks_holds(const struct judged *judged, u64 index, u64 term);

/* Takes note when the server was made a voter again. */
void checks_readmission(struct cluster *cluster, const struct sim_server *server,
                        struct judged *judged);

#endif
