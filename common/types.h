/* types.h - the short names every room uses for numbers, and the two that Raft adds.
 *
 * Fixed width for what is stored or sent, size_t for memory. Nothing here allocates. */
#ifndef MAILRAFT_COMMON_TYPES_H
#define MAILRAFT_COMMON_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

/* A server's number in cluster.conf, 1 and up. 0 means "no server" (voted for nobody, leader
 * unknown). Ids are never used again once their server has been removed. */
typedef u32 server_id;

enum {
    SERVER_NONE = 0,
    SERVERS_MAX = 32,    /* members a configuration may hold: quorum sets are 32-bit masks */
    CLUSTER_ID_SIZE = 64 /* with its NUL; letters, digits, '.', '_', '-' */
};

/* A position in the log together with the term of the entry there. The two always travel as one
 * value, so that no call can swap them. {0, 0} is the position before the first entry. */
struct entry_id {
    u64 term;
    u64 index;
};

#define NS_PER_US ((u64)1000)
#define NS_PER_MS ((u64)1000000)
#define NS_PER_S  ((u64)1000000000)

#define KIB ((u64)1024)
#define MIB ((u64)1024 * 1024)

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The structure that holds `member`, from a pointer to that member. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline u64 u64_min(u64 a, u64 b)
{
    return a < b ? a : b;
}

static inline u64 u64_max(u64 a, u64 b)
{
    return a > b ? a : b;
}

#endif
