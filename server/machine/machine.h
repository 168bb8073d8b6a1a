/* machine.h - the replicated state machine's interface (§2).
 *
 * A machine is fed committed commands in log order, on every server the same ones, and must come
 * to the same state and the same answers everywhere: it may look at nothing but its state, the
 * command and the context. Its commands and answers are bytes that mean nothing to Raft.
 *
 * Snapshots will add functions at the end of the table, NULL where a machine has none.
 *
 * Thread: the server thread. Never blocks, never fails: a command that cannot be carried out has
 * an answer that says so. */
#ifndef MAILRAFT_MACHINE_MACHINE_H
#define MAILRAFT_MACHINE_MACHINE_H

#include "common/bytes.h"
#include "common/types.h"

struct machine;

/* What a machine may know of the entry that its command came in. */
struct machine_context {
    struct entry_id id;
    u64 time_ns; /* the leader's clock when it appended the entry; the same on all servers */
};

struct machine_ops {
    /* Executes a committed command. Appends its answer to `answer`; NULL when nobody here waits. */
    void (*apply)(struct machine *machine, const struct machine_context *context, const u8 *command,
                  size_t size, struct buffer *answer);
    /* Answers a command that changes nothing. */
    void (*read)(struct machine *machine, const u8 *command, size_t size, struct buffer *answer);
    /* A digest of the whole state, equal on all servers that applied the same entries. Cheap. */
    u64 (*digest)(const struct machine *machine);
    void (*destroy)(struct machine *machine);
    /* Appends what the machine has to say for INFO, lines "machine_key:value\r\n". May be NULL. */
    void (*describe)(const struct machine *machine, struct buffer *to);
    void (*snapshot_begin)(struct machine *machine);
    bool (*snapshot_next)(struct machine *machine, u64 bytes_max, struct buffer *to);
    void (*snapshot_end)(struct machine *machine);
    bool (*restore)(struct machine *machine, const u8 *data, size_t size);
    bool (*restore_end)(struct machine *machine);
    struct machine *(*create_empty)(const struct machine *machine);
};

struct machine {
    const struct machine_ops *ops;
};

#endif
