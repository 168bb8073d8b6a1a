/* configuration.h - who the members are, and what a quorum of them is.
 *
 * There is one function for "have enough servers ...?" and one for "up to where have enough ...?".
 * Both look at the old and the new voter set, each by itself (joint consensus, §6): a majority of
 * the union would be wrong. Outside a change the old set is empty and does not count.
 *
 * The configuration is the log's: entry 1, made by `raftd --bootstrap` from cluster.conf on one
 * server, and from there sent to the others. It says which cluster this is, too: the *incarnation*,
 * a random number that no other cluster has, whatever its name; and for each member on which data
 * directory it first took part, so that everybody sees from the log when that is another one
 * (trust.h). Payload of such an entry, little-endian:
 *   u8 version (2), u8 count, u64 incarnation, u32 feature level, then for each member, ascending
 *   by id:
 *   u32 id, u8 flags (1 voter, 2 voter of the old set, 4 readmitted), u64 directory id (0: it has
 *   not been met yet), if it was readmitted u64 index and u64 term of the entry that did it, and
 *   u64 number and u64 random id of the start that it named; u8 size + peer address, u8 size +
 *   client address (both "host:port")
 * Version 1 has neither incarnation nor level, and of a member neither directory nor readmission:
 * it is what is written while the level is 0.
 *
 * The *feature level* says which kinds of entries, and which formats, may be in the log. A leader
 * raises it by an entry of its own (ENTRY_FEATURE, payload u32 level), and only when every member
 * has shown that it knows the new level; what the level allows is written only when that entry is
 * committed. A server that knows less is then refused by the others, in words.
 *
 * Sets of members are bit masks by position in `members`. */
#ifndef MAILRAFT_RULES_CONFIGURATION_H
#define MAILRAFT_RULES_CONFIGURATION_H

#include "common/bytes.h"
#include "common/error.h"
#include "common/types.h"

enum { ADDRESS_SIZE = 128 }; /* "host:port" with its NUL */

/* Feature levels; never reuse. */
enum {
    FEATURE_NONE = 0,     /* noop, command, and entry 1 of version 1 */
    FEATURE_IDENTITY = 1, /* configurations of version 2, also behind entry 1; commands of more than
                           * 65,535 arguments (server/mail/limits.h) */
    FEATURE_NEWEST = FEATURE_IDENTITY
};

typedef u32 member_set; /* bit p: members[p] */

/* A server that had forgotten promises was made a voter again (trust.h). */
struct readmission {
    struct entry_id entry; /* the configuration entry that did it; {0, 0}: it never was */
    u64 start_count;       /* which start of its directory it named */
    u64 start_id;
};

struct member {
    server_id id;
    u64 directory_id; /* the data directory whose word counts; 0: it is not known yet */
    struct readmission readmission;
    char peer_address[ADDRESS_SIZE];
    char client_address[ADDRESS_SIZE]; /* "" when it serves no clients */
};

struct configuration {
    u64 index;       /* of its entry; 0: none yet, and then nobody may campaign */
    u64 incarnation; /* which cluster this is; 0: made before clusters had one */
    u32 feature;     /* the level that is in force with this entry */
    u32 count;       /* members, 0 .. SERVERS_MAX */
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

/* Whether a leader has nothing to add to it: level, incarnation and all directories are known. */
bool configuration_is_complete(const struct configuration *configuration);

/* The payload of an ENTRY_FEATURE. */
void feature_encode(u32 level, struct buffer *to);
/* The configuration that an ENTRY_FEATURE at `index` makes of `configuration`: another level, and
 * its index. Errors: ERROR_FORMAT (not one level, or one that this program does not know). */
WARN_UNUSED enum error_code feature_decode(const u8 *data, size_t size, u64 index,
                                           struct configuration *configuration,
                                           struct error *error);

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
