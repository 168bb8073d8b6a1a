/* limits.h - what the members of a cluster take at most, and what that makes of it together.
 *
 * Each member has limits of its own in its cluster.conf. A command that one of them takes and
 * another cannot be sent would stop that other one for ever; so they tell each other their limits
 * when they connect, and of each the smallest holds for what clients of any of them may send. A
 * difference is said once, and again when it has changed.
 *
 * A member that was never met, or is older than this agreement, has no say. What was taken without
 * it is none the less sent to it, as far as a frame of it may go: see frame_bytes.
 *
 * Thread: any. */
#ifndef MAILRAFT_MAIL_LIMITS_H
#define MAILRAFT_MAIL_LIMITS_H

#include <stdatomic.h>

#include "common/report.h"
#include "common/sync.h"
#include "common/types.h"

/* In bytes; all 0: unknown. */
struct member_limits {
    u64 command_bytes; /* client-input-bytes */
    u64 key_bytes;     /* max-key-bytes */
    u64 value_bytes;   /* max-value-bytes */
    u64 frame_bytes;   /* of a whole frame between servers, by what its log's files can hold */
};

enum {
    LIMITS_AGREED = 3,           /* the first three: of these the smallest holds */
    LIMITS_ARGUMENTS_OLD = 65535 /* of one command, behind its name */
};

struct limits {
    struct member_limits own;
    _Atomic u64 agreed[LIMITS_AGREED]; /* in the order of the fields; read without the lock */
    _Atomic bool wide;
    struct mutex lock; /* a leaf */
    u32 count;         /* Guarded by lock, as all below. */
    server_id others[SERVERS_MAX];
    struct member_limits told[SERVERS_MAX]; /* by the others, when last met */
};

void limits_init(struct limits *limits, const struct member_limits *own);
void limits_deinit(struct limits *limits);

/* Another member has told its limits. */
void limits_learn(struct limits *limits, server_id other, const struct member_limits *told,
                  struct report *report);

/* Every member has shown that it knows commands of more than LIMITS_ARGUMENTS_OLD arguments: an
 * older build would take one in the log for no command, and its machine would part from the
 * others'. */
void limits_allow_wide(struct limits *limits);

/* What holds now. Never blocks. */
u64 limits_arguments(const struct limits *limits); /* of one command, with its name */
u64 limits_command_bytes(const struct limits *limits);
u64 limits_key_bytes(const struct limits *limits);
u64 limits_value_bytes(const struct limits *limits);

#endif
