/* fetch_thread.h - reads old entries, and pieces of snapshots, from the disk for those who lag and
 * those who make a backup, off the server thread.
 *
 * A leader asks for the entries from some index on, or for a piece of a snapshot's file; a
 * thread of the fetcher's reads it and posts it as MAIL_ENTRIES_READ or MAIL_PIECE_READ. A
 * client's COMMAND_BACKUP the thread answers itself: nothing of the server's state goes into the
 * answer. The two kinds take turns. While a piece is on its way, the one behind it is read, if
 * nobody asks for anything else. The thread is made when it is first needed. */
#ifndef MAILRAFT_JOBS_FETCH_THREAD_H
#define MAILRAFT_JOBS_FETCH_THREAD_H

#include "common/report.h"
#include "common/sync.h"
#include "server/mail/mail.h"
#include "server/storage/storage.h"

enum { FETCH_BACKUPS_MAX = 64 }; /* pieces that clients may wait for, together */

struct fetch_order {
    u64 number; /* raft_order's; the result repeats it */
    server_id peer;
    struct snapshot_name snapshot; /* last {0, 0}: log entries are wanted */
    u64 first;                     /* index of the first entry, or offset in the file */
    u64 bytes_max;
};

struct fetcher {
    struct storage *storage;
    struct mail_slot *slot;
    struct report *report;
    struct thread thread;
    struct mutex lock;
    struct condition ordered;
    struct fetch_order orders[SERVERS_MAX]; /* Guarded by lock, as all below; a queue. */
    u32 order_count;
    struct command_list backups; /* COMMAND_BACKUP, oldest first */
    bool stopping;
    struct fetch_order ahead; /* The thread's: the piece that `ahead_piece` is. */
    struct span ahead_piece;  /* Holds a reference; block NULL: none. */
    bool said_thread;         /* that there can be no thread. Thread: the server's. */
    bool said_read;           /* that reads are put off. Thread: the fetcher's. */
};

void fetcher_init(struct fetcher *fetcher, struct storage *storage, struct mail_slot *slot,
                  struct report *report);
/* Ends the thread; the commands left fail. Blocks while a read is going on. */
void fetcher_deinit(struct fetcher *fetcher);

/* Orders what `order` says, which is copied. Of one peer's orders only the newest is waited for:
 * one that was not begun is forgotten, and no mail comes of it; the result of one that was comes
 * before. Returns false when there can be no thread, and then no mail will come. Thread: the
 * server's. */
WARN_UNUSED bool fetcher_order(struct fetcher *fetcher, const struct fetch_order *order);

/* Reads what a COMMAND_BACKUP asks for, and answers it. Consumes the command. Thread: the server's.
 */
void fetcher_order_backup(struct fetcher *fetcher, struct command *command);

#endif
