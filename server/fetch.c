/* fetch.c - see fetch.h. */
#include "server/fetch.h"

#include "server/storage/snapshot.h"

void fetcher_init(struct fetcher *fetcher, struct storage *storage, struct mail_slot *slot,
                  struct report *report)
{
    *fetcher = (struct fetcher){.storage = storage, .slot = slot, .report = report};
    mutex_init(&fetcher->lock);
    condition_init(&fetcher->ordered);
}

void fetcher_deinit(struct fetcher *fetcher)
{
    mutex_lock(&fetcher->lock);
    fetcher->stopping = true;
    condition_signal(&fetcher->ordered);
    mutex_unlock(&fetcher->lock);
    thread_join(&fetcher->thread);
    condition_deinit(&fetcher->ordered);
    mutex_deinit(&fetcher->lock);
}

static void read_piece(struct fetcher *fetcher, const struct fetch_order *order)
{
    struct mail *mail = mail_create(MAIL_PIECE_READ);
    struct piece_read *read = &mail->as.piece;
    read->peer = order->peer;
    read->name = order->snapshot;
    read->offset = order->first;
    struct error error = {0};
    struct snapshot_info info;
    enum error_code code =
        snapshot_read_at(storage_vfs(fetcher->storage), order->snapshot.last, order->first,
                         order->bytes_max, &read->piece, &info, &error);
    /* It may have been taken anew, or fetched from another server, since its name was known. */
    if (code == ERROR_NONE &&
        (info.size != order->snapshot.size || info.checksum != order->snapshot.checksum)) {
        span_release(&read->piece);
        code = error_set(&error, ERROR_MISSING, "another snapshot has taken its place");
    }
    if (code != ERROR_NONE) {
        REPORT(fetcher->report, REPORT_WARN, "server",
               "cannot read snapshot %llu for server %u from the disk: %s",
               (unsigned long long)order->snapshot.last.index, order->peer, error.text);
        read->piece = (struct span){0};
    }
    (void)mail_post(fetcher->slot, mail);
}

static void read_entries(struct fetcher *fetcher, const struct fetch_order *order)
{
    struct mail *mail = mail_create(MAIL_ENTRIES_READ);
    struct entries_read *read = &mail->as.read;
    read->peer = order->peer;
    read->first = order->first;
    struct error error = {0};
    if (storage_read(fetcher->storage, order->first, order->bytes_max, &read->count, &read->records,
                     &error) != ERROR_NONE) {
        REPORT(fetcher->report, REPORT_WARN, "server",
               "cannot read entry %llu for server %u from the disk: %s",
               (unsigned long long)order->first, order->peer, error.text);
        read->count = 0;
        read->records = (struct span){0};
    }
    (void)mail_post(fetcher->slot, mail);
}

static void carry_out(struct fetcher *fetcher, const struct fetch_order *order)
{
    if (order->snapshot.last.index != 0)
        read_piece(fetcher, order);
    else
        read_entries(fetcher, order);
}

static void fetcher_main(void *argument)
{
    struct fetcher *fetcher = argument;
    mutex_lock(&fetcher->lock);
    while (!fetcher->stopping) {
        if (fetcher->order_count == 0) {
            condition_wait(&fetcher->ordered, &fetcher->lock);
            continue;
        }
        struct fetch_order order = fetcher->orders[0];
        fetcher->order_count--;
        memmove(&fetcher->orders[0], &fetcher->orders[1],
                fetcher->order_count * sizeof(fetcher->orders[0]));
        mutex_unlock(&fetcher->lock);
        carry_out(fetcher, &order);
        mutex_lock(&fetcher->lock);
    }
    mutex_unlock(&fetcher->lock);
}

static bool put_order(struct fetcher *fetcher, const struct fetch_order *order)
{
    if (!fetcher->thread.started) {
        struct error error = {0};
        if (thread_start(&fetcher->thread, "fetch", fetcher_main, fetcher, &error) != ERROR_NONE) {
            REPORT(fetcher->report, REPORT_WARN, "server", "server %u cannot be caught up now: %s",
                   order->peer, error.text);
            return false;
        }
    }
    mutex_lock(&fetcher->lock);
    bool fits = fetcher->order_count < ARRAY_LENGTH(fetcher->orders);
    if (fits)
        fetcher->orders[fetcher->order_count++] = *order;
    condition_signal(&fetcher->ordered);
    mutex_unlock(&fetcher->lock);
    return fits;
}

bool fetcher_order(struct fetcher *fetcher, server_id peer, u64 first, u64 bytes_max)
{
    struct fetch_order order = {.peer = peer, .first = first, .bytes_max = bytes_max};
    return put_order(fetcher, &order);
}

bool fetcher_order_piece(struct fetcher *fetcher, server_id peer,
                         const struct snapshot_name *snapshot, u64 offset, u64 bytes_max)
{
    struct fetch_order order = {
        .peer = peer, .snapshot = *snapshot, .first = offset, .bytes_max = bytes_max};
    return put_order(fetcher, &order);
}
