/* machine.h - the replicated state machine's interface (§2).
 *
 * A machine is fed committed commands in log order, on every server the same ones, and must come
 * to the same state and the same answers everywhere: it may look at nothing but its state, the
 * command and the context. Its commands and answers are bytes that mean nothing to Raft.
 *
 * Its state can be taken while it goes on changing (a snapshot, §7), and put into an empty machine.
 * What a taken state's bytes are is the machine's own affair, and they may differ from server to
 * server; what is restored from them may not. A machine without snapshots has NULL for all of the
 * functions from snapshot_begin to create_empty.
 *
 * Thread: the server thread, but where a function says otherwise. A machine that is being restored,
 * or that no server uses any more, belongs to whoever has it. Never blocks, never fails: a command
 * that cannot be carried out has an answer that says so. */
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
    /* Frees everything, which takes its time (1 GB: most of a second). In the middle of a snapshot
     * or of a restore, too. Thread: any, once nobody else uses it; but see `replace`. */
    void (*destroy)(struct machine *machine);
    /* Appends what the machine has to say for INFO, lines "machine_key:value\r\n". May be NULL. */
    void (*describe)(const struct machine *machine, struct buffer *to);

    /* From here to snapshot_end the machine keeps the state of this moment readable, while commands
     * go on changing it. At most one at a time. Costs nothing by itself. */
    void (*snapshot_begin)(struct machine *machine);
    /* Appends the next piece of that state: at most `bytes_max` bytes (1 and up), and perhaps none,
     * since it looks at a bounded number of keys, too. false: there is nothing behind this piece.
     * Takes about 0.2 ms for 256 KiB. */
    bool (*snapshot_next)(struct machine *machine, u64 bytes_max, struct buffer *to);
    /* Done, or given up in the middle. */
    void (*snapshot_end)(struct machine *machine);
    /* Puts a taken state into an empty machine: its pieces in order, cut anywhere. false: the bytes
     * are no state, and the machine is good for nothing but destroy. Thread: any. */
    bool (*restore)(struct machine *machine, const u8 *data, size_t size);
    /* All pieces were there. false: they were not, or what came of them is not what was taken (its
     * digest and its number of items are in the bytes). Thread: any. */
    bool (*restore_end)(struct machine *machine);
    /* A new machine of the same kind, to be restored into. Thread: any; only `ops` is looked at. */
    struct machine *(*create_empty)(const struct machine *machine);

    /* Does a piece of what commands have put off, so that none of them stalls the server (freeing
     * what they removed), of about 0.1 ms. false: nothing is left. Commands do a little of it
     * themselves; this is for when none come. May be NULL. */
    bool (*tidy)(struct machine *machine);
    /* `machine`, of the same kind, is used in place of `old` from now on. Destroys `old`, but bit
     * by bit, as with what commands remove: even on another thread, destroying it at once would
     * leave so much to sort in the allocator that the server thread would wait for memory. May be
     * NULL: then destroy it. */
    void (*replace)(struct machine *machine, struct machine *old);

    /* About how many bytes the commands since the last call have touched, whatever they were asked
     * in: whoever has much to apply stops in time. May be NULL: it goes by the commands' own size.
     */
    u64 (*work)(struct machine *machine);
};

struct machine {
    const struct machine_ops *ops;
};

#endif
