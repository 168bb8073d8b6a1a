/* snapshot_thread.h - the thread that writes, receives and loads snapshots, so that nobody waits
 * for it.
 *
 * Taking one (§7): the server thread asks the machine for its state in slices, one at the end of
 * a pile, and hands each to this thread, which writes, checksums, syncs and renames. Receiving
 * one: the server thread hands over the pieces as they come; behind the last one this thread
 * verifies the file, makes it durable, and builds a machine from it. What has become of either
 * is posted as MAIL_SNAPSHOT. The thread also removes old files and frees machines that were
 * replaced.
 *
 * What waits to be written is bounded: the server thread asks for the room first.
 *
 * The thread is made when it is first needed. */
#ifndef MAILRAFT_JOBS_SNAPSHOT_THREAD_H
#define MAILRAFT_JOBS_SNAPSHOT_THREAD_H

#include "common/report.h"
#include "common/sync.h"
#include "server/machine/machine.h"
#include "server/mail/mail.h"
#include "server/rules/install.h"
#include "server/storage/snapshot.h"

enum {
    SNAPSHOT_SLICE_BYTES = 128 * 1024,            /* asked of the machine at the end of one pile */
    SNAPSHOT_PIECE_BYTES_MAX = 1024 * 1024,       /* in one INSTALL_SNAPSHOT */
    SNAPSHOT_TAKE_BYTES_MAX = 1024 * 1024,        /* of one being taken, waiting to be written */
    SNAPSHOT_RECEIVE_BYTES_MAX = 32 * 1024 * 1024 /* the same of one being received */
};

struct snapshot_job;
struct snapshot_worker;

/* How long syncs of snapshots' files took. */
struct snapshot_syncs {
    struct histogram taken;    /* of files that this server wrote of its own machine */
    struct histogram received; /* of files that came from a leader */
};

struct snapshot_thread {
    struct vfs *vfs;
    struct mail_slot *slot;
    struct report *report;
    struct thread thread;
    struct mutex lock; /* a leaf; never held while the disk is used */
    struct condition ordered;

    /* Guarded by lock, as all below. */
    struct snapshot_job *first; /* orders, oldest first */
    struct snapshot_job *last;
    u64 take_bytes; /* of orders not carried out */
    u64 receive_bytes;
    bool no_space;        /* the disk was full when the last file was written */
    u64 receive_rests_ns; /* it did not take the last file: no piece before then; 0: it did */
    bool stopping;
    /* Results, until they are fetched. */
    struct snapshot_point taken;
    struct snapshot_point received;
    struct machine *machine; /* made from `received`; NULL: none */
    struct snapshot_syncs syncs;
};

void snapshot_thread_init(struct snapshot_thread *snapshots, struct vfs *vfs,
                          struct mail_slot *slot, struct report *report);
/* Ends the thread; files not finished are removed at the next start. Blocks while an order is being
 * carried out. */
void snapshot_thread_deinit(struct snapshot_thread *snapshots);

/* ---- taking. Thread: the server's, as all below; never blocks ---- */

/* Begins a file; the news of it repeats `order`. False when there can be no thread. */
WARN_UNUSED bool snapshot_thread_begin(struct snapshot_thread *snapshots, u64 order,
                                       const struct snapshot_head *head);
/* Bytes that can be handed over now. */
u64 snapshot_thread_take_room(struct snapshot_thread *snapshots);
/* The next bytes of the machine's state, copied. */
void snapshot_thread_put(struct snapshot_thread *snapshots, const void *data, size_t size);
/* That was all: SNAPSHOT_TAKEN or SNAPSHOT_NOT_TAKEN will come. */
void snapshot_thread_end(struct snapshot_thread *snapshots);
/* The one begun is not wanted any more. News of it may have been posted already. */
void snapshot_thread_give_up(struct snapshot_thread *snapshots);
/* After SNAPSHOT_TAKEN. */
struct snapshot_point snapshot_thread_taken(struct snapshot_thread *snapshots);

/* ---- receiving ---- */

/* Bytes of pieces that can be handed over now: none for a while after the disk has failed. */
u64 snapshot_thread_receive_room(struct snapshot_thread *snapshots);
bool snapshot_thread_no_space(struct snapshot_thread *snapshots);
/* The piece in the message (of which references are taken) is the next one of its file; at offset 0
 * a new file begins, at the end SNAPSHOT_RECEIVED or SNAPSHOT_NOT_RECEIVED follows, and repeats the
 * `order` of that piece. `empty`:
 * a machine to fill, needed with the last piece, and taken over. False when there can be no thread;
 * then `empty` is destroyed. */
WARN_UNUSED bool snapshot_thread_receive(struct snapshot_thread *snapshots, u64 order,
                                         const struct message *message, struct machine *empty);
/* After SNAPSHOT_RECEIVED: the machine, the caller's from now on; NULL when a later one has taken
 * its place and its own news is still to come. */
struct machine *snapshot_thread_received(struct snapshot_thread *snapshots,
                                         struct snapshot_point *point);

/* ---- the rest ---- */

/* Adds to `to` what the thread has measured since the last call. What belongs to news is there when
 * the news is. */
void snapshot_thread_fetch_syncs(struct snapshot_thread *snapshots, struct snapshot_syncs *to);

/* Frees it, in this thread. */
void snapshot_thread_destroy_machine(struct snapshot_thread *snapshots, struct machine *machine);

/* Removes the files of all snapshots but the newest, those that the log reaches back to (last.index
 * at or behind `log_base`, but never more than one of them), and those named in `used`. */
void snapshot_thread_remove_old(struct snapshot_thread *snapshots, u64 log_base,
                                const struct entry_id *used, u32 used_count);

#endif
