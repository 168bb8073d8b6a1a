/* settings.h - what cluster.conf may say, with types, bounds and defaults in one table.
 *
 * The same table reads the file, answers CONFIG GET, and checks CONFIG SET. Values that the running
 * server needs are handed to it by settings_set, on its own thread. */
#ifndef MAILRAFT_RAFTD_SETTINGS_H
#define MAILRAFT_RAFTD_SETTINGS_H

#include "common/config.h"
#include "common/report.h"
#include "common/sync.h"
#include "server/clients/clients.h"
#include "server/peers/peers.h"
#include "server/replica/replica.h"

/* The values, one field a key, in the order of the table. */
struct settings_values {
    char *cluster_id;
    struct configuration configuration; /* the `server` lines */
    struct quantity_range election_timeout;
    u64 heartbeat;
    u64 leader_wait;
    u64 forward_timeout;
    u64 stop_timeout;
    u64 message_bytes;
    u64 window_bytes;
    u64 round_bytes;
    u64 uncommitted_bytes;
    u64 log_memory_bytes;
    u64 segment_bytes;
    u64 snapshot_log_bytes;
    u64 snapshot_ratio;
    u64 trailing_entries;
    u64 slow_sync;
    u64 peer_mail_bytes;
    u64 client_mail_bytes;
    u64 peer_queue_bytes;
    struct quantity_range reconnect;
    u64 handshake_timeout;
    u64 max_clients;
    u64 max_key_bytes;
    u64 max_value_bytes;
    u64 max_answer_bytes;
    u64 client_input_bytes;
    u64 client_output_bytes;
    u64 clients_memory_bytes;
    u64 client_stall_timeout;
    bool redirect;
    u32 log_level;
    u32 log_format;
};

struct settings {
    struct mutex lock;
    struct settings_values values; /* Guarded by lock once the server runs. */
    enum server_design design;     /* chosen on the command line */
    struct report *report;         /* its level follows log-level; NULL: none yet */
};

void settings_init(struct settings *settings);
void settings_deinit(struct settings *settings);

/* Reads the file, and checks what no single line can show: that the values fit together. Errors:
 * ERROR_CONFIG, ERROR_MISSING, ERROR_IO. Blocks. */
WARN_UNUSED enum error_code settings_load(struct settings *settings, const char *path,
                                          struct error *error);

/* Reads the file once more, and calls `differs` for each key of which it says something else than
 * holds now, with both values as one would write them; keys of the form of a line are left out, as
 * they are compared with the log. Changes nothing. Errors as settings_load. Blocks. */
WARN_UNUSED enum error_code settings_compare(struct settings *settings, const char *path,
                                             void (*differs)(void *context,
                                                             const struct config_key *key,
                                                             const char *now, const char *wanted),
                                             void *context, struct error *error);

/* Whether the key can be set at run time to this value, with the others as they are now. */
WARN_UNUSED enum error_code settings_check(void *context, const char *key, const char *value,
                                           struct error *error);

void settings_server_options(const struct settings *settings, u64 seed,
                             struct server_options *options);
/* What this server tells the others of its limits. */
void settings_limits(const struct settings *settings, struct member_limits *limits);
/* All but the identity and the limits. */
void settings_peers_options(const struct settings *settings, struct peers_options *options);
/* All but the own address and what is agreed; the callbacks are settings' own. */
void settings_clients_options(struct settings *settings, struct clients_options *options);

/* CONFIG SET, for struct server_world. Thread: the server's. */
enum error_code settings_set(void *context, const char *key, const char *value,
                             struct server_options *options, struct error *error);

#endif
