/* history.h - what clients asked of a key-value store, what they were told, and when.
 *
 * A history is a growing list of operations and the texts (keys, values) that they name. It is
 * filled by whoever drives clients, in a simulation or against a real cluster, and judged by
 * linearizability.h. Texts are kept once each, so that equal texts are equal pointers.
 *
 * Times are any numbers that never go back, the same clock for all clients: nanoseconds, or the
 * number of the event. Operation A comes before B when A.t1 < B.t0. When A.t1 == B.t0 the two are
 * concurrent, for a clock that shows the same instant twice cannot say which came first. Whoever
 * can tell (a simulation in which much happens in one instant) counts events instead of time, and
 * its histories are judged more strictly.
 *
 * What the operations mean, on one key that is absent or holds a value:
 *   get     answers `found`, and the value in `out`
 *   put     the key holds `value`
 *   append  the key holds what it held (nothing, when absent) followed by `value`; `number` is the
 *           new length in bytes, when the client was told
 *   cas     when the key holds `expected` (NULL: when it is absent), it then holds `value`;
 *           `ok` says whether it did so
 *   del     the key is absent; `found` says whether it was there
 *   incr    adds `delta` to the integer there (absent: 0); `number` is the sum. A value that is
 *           no 64-bit integer in plain decimal, or a sum that is none, makes it an error: the
 *           client records OPERATION_FAIL, and one whose outcome is unknown has done nothing.
 *
 * Thread: one at a time. All memory comes from memory.h. */
#ifndef MAILRAFT_TEST_HISTORY_HISTORY_H
#define MAILRAFT_TEST_HISTORY_HISTORY_H

#include "common/check.h"
#include "common/types.h"

/* X(name, word in JSON and in what people read) */
#define OPERATION_KINDS(X)        \
    X(OPERATION_GET, "get")       \
    X(OPERATION_PUT, "put")       \
    X(OPERATION_APPEND, "append") \
    X(OPERATION_CAS, "cas")       \
    X(OPERATION_DEL, "del")       \
    X(OPERATION_INCR, "incr")

enum operation_kind {
#define X(name, word) name,
    OPERATION_KINDS(X)
#undef X
        OPERATION_KIND_COUNT
};

enum operation_status {
    OPERATION_UNKNOWN, /* takes effect once, at any time after t0, or never; answers are ignored */
    OPERATION_OK,      /* took effect once, between t0 and t1, with these answers */
    OPERATION_FAIL     /* a definite error: did not happen */
};

/* A key or a value: any bytes. Lives as long as its history. */
struct text {
    u32 id; /* 0 and up within its history, in order of first appearance */
    u32 size;
    u8 data[];
};

struct operation {
    u64 client;
    enum operation_kind kind;
    enum operation_status status;
    const struct text *key;      /* never NULL */
    const struct text *value;    /* put, append, cas: never NULL; else NULL */
    const struct text *expected; /* cas: NULL means absent; else NULL */
    const struct text *out;      /* get: the value read, NULL exactly when it was not found */
    i64 delta;                   /* incr: what is added */
    i64 number;                  /* incr: the sum; append: the new length, if number_known */
    bool number_known;           /* append alone; an incr that is ok always has its number */
    bool found;                  /* get, del */
    bool ok;                     /* cas: the value was swapped */
    u64 t0;                      /* when it was invoked */
    u64 t1;                      /* when it was answered, t0 or later; matters for OK alone */
    u32 line;                    /* where it stands in its file, 1 and up; 0: in none */
};

struct history {
    struct operation *operations;
    size_t count;
    size_t capacity;
    struct text **texts; /* hash table of text_slots, a power of two; NULL: free */
    size_t text_slots;
    u32 text_count;
    struct history_chunk *chunks; /* where texts live; they never move */
};

void history_init(struct history *history);
void history_deinit(struct history *history);

/* The history's own copy of these bytes. Ownership: the history's, until history_deinit. */
const struct text *history_text(struct history *history, const void *data, size_t size);

/* Adds an operation whose texts are this history's, and returns its position. A client that is
 * still waiting adds it as OPERATION_UNKNOWN, and completes it through history_at later. */
size_t history_add(struct history *history, const struct operation *operation);

/* The operation at this position, to be completed. Borrowed until the next history_add. */
struct operation *history_at(struct history *history, size_t position);

/* "put". */
const char *operation_kind_word(enum operation_kind kind);

/* Whether an operation that is OK can only have left the key as it was, given its answers: a get,
 * a cas that did not swap, a del that found nothing. */
bool operation_only_reads(const struct operation *operation);

#endif
