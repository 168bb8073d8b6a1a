/* configuration.h - who the members are, and what a quorum of them is.
 *
 * There is one function for "have enough servers ...?" and one for "up to where have enough ...?".
 * Both look at the old and the new voter set, each by itself (joint consensus, §6): a majority of
 * the union would be wrong. Outside a change the old set is empty and does not count.
 *
 * The configuration is the log's: entry 1, made by `raftd --init` from cluster.conf, identical on
 * every server. Payload of such an entry, little-endian:
 *   u8 version (1), u8 count, then for each member, ascending by id:
 *   u32 id, u8 flags (1 voter, 2 voter of the old set), u8 size + peer address,
 *   u8 size + client address (both "host:port")
 *
 * Sets of members are bit masks by position in `members`. */
#ifndef MAILRAFT_RULES_CONFIGURATION_H
#define MAILRAFT_RULES_CONFIGURATION_H

#include "common/bytes.h"
#include "common/error.h"
#include "common/types.h"

enum { ADDRESS_SIZE = 128 }; /* "host:port" with its NUL */

typedef u32 member_set; /* bit p: members[p] */

struct member {
    server_id id;
    char peer_address[ADDRESS_SIZE];
    char client_address[ADDRESS_SIZE]; /* "" when it serves no clients */
};

struct configuration {
    u64 index; /* of its entry; 0: none yet, and then nobody may campaign */
    u32 count; /* members, 0 .. SERVERS_MAX */
    struct member members[SERVERS_MAX]; /* ascending by id */
    member_set voters;
    member_set voters_old; /* the set being left; 0: no change is going on */
};

/* Position of the member with this id, or -1. */
int configuration_position(const struct configuration *configuration, server_id id);
/* The member with this id, or NULL. */
const struct member *configuration_member(const struct configuration *configuration, server_id id);
bool configuration_is_voter(const struct configuration *configuration, server_id id);

/* Whether the servers in `set` are a majority of the voters, of both sets during a change. False
 * for an empty configuration. */
bool quorum(const struct configuration *configuration, member_set set);

/* [Leaders 4, §5.3, §5.4.2] The highest value that a quorum has reached; `values` by position. */
u64 quorum_value(const struct configuration *configuration, const u64 *values);

/* Adds a voter, keeping the order. Errors: ERROR_CONFIG (full, repeated id, long address). */
WARN_UNUSED enum error_code configuration_add(struct configuration *configuration, server_id id,
                                              const char *peer_address, const char *client_address,
                                              struct error *error);
void configuration_encode(const struct configuration *configuration, struct buffer *to);
/* Errors: ERROR_FORMAT. `index` becomes configuration->index. */
WARN_UNUSED enum error_code configuration_decode(const u8 *data, size_t size, u64 index,
                                                 struct configuration *configuration,
                                                 struct error *error);

#endif
