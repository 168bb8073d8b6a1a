/* kv.h - the key-value machine: Redis' string commands over binary-safe keys and values.
 *
 * Command encoding (the body of struct command, and the payload of log entries), little-endian:
 *   u8 command (enum kv_command), then the argument count in 24 bits: u8 its high ones (0 in what
 *   older servers wrote, who knew no more than 65,535), u16 its low ones,
 *   u32 of a write the largest value in bytes that it may make, of a read the largest answer,
 *   then for each argument: u32 size, bytes.
 * Arguments are those behind the command's name. Answers are RESP3 values; error texts are Redis'.
 * The limit travels with the command, since what APPEND does depends on it: were each server to ask
 * its own configuration, a change of that would let their states part. And a read is answered by
 * the leader, but what the answer may be is for the server to say that has to hand it on.
 *
 * State: an array of KV_TABLES small hash tables (one large one would stall for as long as it
 * takes to rehash millions of keys). Values are immutable counted blocks. */
#ifndef MAILRAFT_MACHINE_KV_H
#define MAILRAFT_MACHINE_KV_H

#include "server/machine/machine.h"

/* X(NAME, name, class, min arguments, max arguments (-1: any), key step)
 * Arguments are counted without the name. Key step: 0 no key, 1 the first argument alone,
 * 2 every other argument (MSET), -1 every argument. */
#define KV_COMMANDS(X)                   \
    X(GET, "get", READ, 1, 1, 1)         \
    X(SET, "set", WRITE, 2, -1, 1)       \
    X(MGET, "mget", READ, 1, -1, -1)     \
    X(MSET, "mset", WRITE, 2, -1, 2)     \
    X(DEL, "del", WRITE, 1, -1, -1)      \
    X(EXISTS, "exists", READ, 1, -1, -1) \
    X(INCR, "incr", WRITE, 1, 1, 1)      \
    X(INCRBY, "incrby", WRITE, 2, 2, 1)  \
    X(DECR, "decr", WRITE, 1, 1, 1)      \
    X(DECRBY, "decrby", WRITE, 2, 2, 1)  \
    X(APPEND, "append", WRITE, 2, 2, 1)  \
    X(STRLEN, "strlen", READ, 1, 1, 1)   \
    X(GETDEL, "getdel", WRITE, 1, 1, 1)  \
    X(CAS, "cas", WRITE, 3, 3, 1)        \
    X(DBSIZE, "dbsize", READ, 0, 0, 0)   \
    X(SCAN, "scan", READ, 1, -1, 0)      \
    X(FLUSHALL, "flushall", WRITE, 0, -1, 0)

enum kv_command {
    KV_NONE = 0,
#define X(NAME, name, class, min, max, keys) KV_##NAME,
    KV_COMMANDS(X)
#undef X
        KV_COMMAND_END
};

enum {
    KV_ARGUMENTS_MAX = 1024 * 1024 - 1, /* of one command, behind its name: Redis' bound */
    KV_ENCODING_HEADER_SIZE = 8
};

struct kv_limits {
    u32 key_bytes_max;    /* 64 KiB */
    u32 value_bytes_max;  /* 8 MiB; also what APPEND may make */
    u32 answer_bytes_max; /* 16 MiB; of several values at once */
};

/* A command as its arguments, which are borrowed. */
struct kv_argument {
    const u8 *data;
    u32 size;
};

struct kv_command_info {
    enum kv_command command;
    const char *name; /* "get" */
    bool writes;
    int arguments_min;
    int arguments_max;
    int key_step;
};

/* The command with this name, in any case, or NULL. */
const struct kv_command_info *kv_command_find(const u8 *name, size_t size);
const struct kv_command_info *kv_command_info(enum kv_command command);

/* Whether the command may enter the log: number of arguments, sizes of keys and values, syntax of
 * options, numbers. On refusal appends a RESP error to `answer` with Redis' text, and returns
 * false. Used by the client port, so that what cannot work costs no log entry. Thread: any. */
bool kv_command_check(const struct kv_limits *limits, const struct kv_command_info *info,
                      const struct kv_argument *arguments, u32 count, struct buffer *answer);

/* Bytes of the command's encoding, and the encoding itself (`to` has that room). Thread: any. */
size_t kv_command_size(const struct kv_argument *arguments, u32 count);
void kv_command_encode(const struct kv_limits *limits, enum kv_command command,
                       const struct kv_argument *arguments, u32 count, u8 *to);
/* How many arguments the encoding claims to have; at least its header must be there. */
u32 kv_command_count(const u8 *data);
/* Checks all of the encoding, and stores at most the first `capacity` arguments. Returns how many
 * it stored, or -1 when the bytes are no command (or one with a wrong number of arguments). */
int kv_command_decode(const u8 *data, size_t size, enum kv_command *command,
                      struct kv_argument *arguments, u32 capacity);

/* ---- Redis' words, for whoever reads arguments. Thread: any. ---- */

/* As Redis reads numbers: no spaces, no '+', no leading zeros, not "-0". */
bool kv_number_parse(const u8 *data, size_t size, i64 *number);
/* Whether the whole of `text` matches Redis' glob pattern. That may take as many steps as both
 * sizes' product: each is taken from `*steps_left`; at 0 it ends, and the answer means nothing. */
bool kv_glob_match(const struct kv_argument *pattern, const struct kv_argument *text,
                   u64 *steps_left);
/* The same of a short word; a pattern that no short word can need matches none. */
bool kv_glob_match_word(const struct kv_argument *pattern, const char *word);

/* An empty key space. Ownership: the caller destroys it through its ops. */
struct machine *kv_create(void);

/* Number of keys. Thread: the machine's. */
u64 kv_key_count(const struct machine *machine);

#endif
