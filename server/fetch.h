/* fetch.h - reads old entries from the disk for peers that lag, off the server thread.
 *
 * A leader asks for the entries from some index on; a thread of the fetcher's reads them from the
 * segments and posts them as MAIL_ENTRIES_READ. The thread is made when it is first needed. */
#ifndef MAILRAFT_SERVER_FETCH_H
#define MAILRAFT_SERVER_FETCH_H

#include "common/report.h"
#include "common/sync.h"
#include "server/mail/mail.h"
#include "server/storage/storage.h"

struct fetch_order {
    server_id peer;
    u64 first;
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
    bool stopping;
};

void fetcher_init(struct fetcher *fetcher, struct storage *storage, struct mail_slot *slot,
                  struct report *report);
/* Ends the thread. Blocks while a read is going on. */
void fetcher_deinit(struct fetcher *fetcher);

/* Orders the entries from `first` on for `peer`; at most one order a peer is under way. Returns
 * false when there can be no thread, and then no mail will come. Thread: the server's. */
WARN_UNUSED bool fetcher_order(struct fetcher *fetcher, server_id peer, u64 first, u64 bytes_max);

#endif
