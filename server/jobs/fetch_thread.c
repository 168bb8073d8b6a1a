/* fetch_thread.c - see fetch_thread.h. */
#include "server/jobs/fetch_thread.h"

#include "server/storage/snapshot.h"

void fetcher_init(struct fetcher *fetcher, struct storage *storage, struct mail_slot *slot,
                  struct report *report)
{
    *fetcher = (struct fetcher){.storage = storage, .slot = slot, .report = report};
    mutex_init(&fetcher->lock);
    condition_init(&fetcher->ordered);
}

static void fail(struct command *command, enum command_failure failure)
{
    struct command_sink *sink = command->sink;
    command_fail(command, failure);
    sink->ops->flush(sink);
}

void fetcher_deinit(struct fetcher *fetcher)
{
    mutex_lock(&fetcher->lock);
    fetcher->stopping = true;
    condition_signal(&fetcher->ordered);
    mutex_unlock(&fetcher->lock);
    thread_join(&fetcher->thread);
    span_release(&fetcher->ahead_piece);
    struct command *command;
    while ((command = command_list_take(&fetcher->backups)) != NULL)
        fail(command, COMMAND_STOPPING);
    condition_deinit(&fetcher->ordered);
    mutex_deinit(&fetcher->lock);
}

/* The file may have been taken anew, or fetched from another server, since its name was known. */
static enum error_code read_named(struct fetcher *fetcher, const struct snapshot_name *name,
                                  u64 offset, u64 bytes_max, struct span *piece,
                                  struct error *error)
{
    struct snapshot_info info;
    enum error_code code = snapshot_read_at(storage_vfs(fetcher->storage), name->last, offset,
                                            bytes_max, piece, &info, error);
    if (code == ERROR_NONE && (info.size != name->size || info.checksum != name->checksum)) {
        span_release(piece);
        code = error_set(error, ERROR_MISSING, "another snapshot has taken its place");
    }
    return code;
}

/* Says why something cannot be read for a peer. Returns whether that may pass; then it is tried
 * again and again, and said once. */
static bool say_failure(struct fetcher *fetcher, const struct fetch_order *order, const char *what,
                        u64 index, const struct error *error)
{
    bool put_off = error->code == ERROR_SYSTEM;
    bool gone = error->code == ERROR_MISSING;
    if (!put_off || !fetcher->said_read)
        REPORT(fetcher->report, put_off || gone ? REPORT_WARN : REPORT_ERROR, "server",
               "cannot read %s %llu for server %u from the disk%s: %s%s", what,
               (unsigned long long)index, order->peer, put_off ? ", and will try again" : "",
               error->text,
               put_off || gone ? ""
                               : "; a new snapshot is sent instead. This server's own copy is "
                                 "made good when it is started again");
    fetcher->said_read = put_off;
    return put_off;
}

static bool is_ahead(const struct fetcher *fetcher, const struct fetch_order *order)
{
    return fetcher->ahead_piece.block != NULL &&
           snapshot_names_are_equal(&fetcher->ahead.snapshot, &order->snapshot) &&
           fetcher->ahead.first == order->first && fetcher->ahead.bytes_max == order->bytes_max;
}

/* Whoever got a piece will soon ask for the next. A failure will be met again, and said then. */
static void read_ahead(struct fetcher *fetcher, const struct fetch_order *order, u32 size)
{
    struct error ignored;
    fetcher->ahead = *order;
    fetcher->ahead.first += size;
    if (fetcher->ahead.first < order->snapshot.size &&
        read_named(fetcher, &order->snapshot, fetcher->ahead.first, order->bytes_max,
                   &fetcher->ahead_piece, &ignored) != ERROR_NONE)
        fetcher->ahead_piece = (struct span){0};
}

static enum error_code get_piece(struct fetcher *fetcher, const struct fetch_order *order,
                                 struct span *piece, struct error *error)
{
    bool known = is_ahead(fetcher, order);
    *piece = known ? fetcher->ahead_piece : (struct span){0};
    if (!known)
        span_release(&fetcher->ahead_piece);
    fetcher->ahead_piece = (struct span){0};
    return known ? ERROR_NONE
                 : read_named(fetcher, &order->snapshot, order->first, order->bytes_max, piece,
                              error);
}

static void read_piece(struct fetcher *fetcher, const struct fetch_order *order)
{
    struct mail *mail = mail_create(MAIL_PIECE_READ);
    struct piece_read *read = &mail->as.piece;
    read->order = order->number;
    read->peer = order->peer;
    read->offset = order->first;
    struct error error = {0};
    if (get_piece(fetcher, order, &read->piece, &error) != ERROR_NONE) {
        read->put_off = say_failure(fetcher, order, "snapshot", order->snapshot.last.index, &error);
        read->piece = (struct span){0};
    } else {
        fetcher->said_read = false;
    }
    u32 size = read->piece.size;
    (void)mail_post(fetcher->slot, mail);
    if (size > 0)
        read_ahead(fetcher, order, size);
}

static void read_entries(struct fetcher *fetcher, const struct fetch_order *order)
{
    struct mail *mail = mail_create(MAIL_ENTRIES_READ);
    struct entries_read *read = &mail->as.read;
    read->order = order->number;
    read->peer = order->peer;
    read->first = order->first;
    struct error error = {0};
    if (storage_read(fetcher->storage, order->first, order->bytes_max, &read->count, &read->records,
                     &error) != ERROR_NONE) {
        read->put_off = say_failure(fetcher, order, "entry", order->first, &error);
        read->count = 0;
        read->records = (struct span){0};
    } else {
        fetcher->said_read = false;
    }
    (void)mail_post(fetcher->slot, mail);
}

static void answer_piece(struct command *command, const struct span *piece)
{
    struct command_sink *sink = command->sink;
    struct buffer answer;
    buffer_init(&answer);
    buffer_append_format(&answer, "$%u\r\n", piece->size);
    buffer_append(&answer, piece->data, piece->size);
    buffer_append_string(&answer, "\r\n");
    command_answer(command, answer.data, answer.size);
    sink->ops->flush(sink);
    buffer_deinit(&answer);
}

static void read_backup(struct fetcher *fetcher, struct command *command)
{
    struct backup_order order = command_backup_order(command);
    struct snapshot_name name = {order.last, order.size, order.checksum};
    struct span piece = {0};
    struct error error = {0};
    enum error_code code =
        read_named(fetcher, &name, order.offset, order.bytes_max, &piece, &error);
    if (code == ERROR_NONE) {
        answer_piece(command, &piece);
        span_release(&piece);
        return;
    }
    if (code != ERROR_MISSING)
        REPORT(fetcher->report, REPORT_WARN, "server",
               "cannot read snapshot %llu for a backup from the disk: %s",
               (unsigned long long)name.last.index, error.text);
    fail(command, code == ERROR_MISSING ? COMMAND_SNAPSHOT_GONE : COMMAND_SNAPSHOT_UNREADABLE);
}

static void carry_out(struct fetcher *fetcher, const struct fetch_order *order)
{
    if (order->snapshot.last.index != 0)
        read_piece(fetcher, order);
    else
        read_entries(fetcher, order);
}

static bool take_order_locked(struct fetcher *fetcher, struct fetch_order *order)
{
    if (fetcher->order_count == 0)
        return false;
    *order = fetcher->orders[0];
    fetcher->order_count--;
    memmove(&fetcher->orders[0], &fetcher->orders[1],
            fetcher->order_count * sizeof(fetcher->orders[0]));
    return true;
}

static void fetcher_main(void *argument)
{
    struct fetcher *fetcher = argument;
    mutex_lock(&fetcher->lock);
    while (!fetcher->stopping) {
        struct fetch_order order;
        bool ordered = take_order_locked(fetcher, &order);
        struct command *backup = command_list_take(&fetcher->backups);
        if (!ordered && backup == NULL) {
            condition_wait(&fetcher->ordered, &fetcher->lock);
            continue;
        }
        mutex_unlock(&fetcher->lock);
        if (ordered)
            carry_out(fetcher, &order);
        if (backup != NULL)
            read_backup(fetcher, backup);
        mutex_lock(&fetcher->lock);
    }
    mutex_unlock(&fetcher->lock);
}

static bool start_thread(struct fetcher *fetcher)
{
    struct error error = {0};
    if (fetcher->thread.started ||
        thread_start(&fetcher->thread, "fetch", fetcher_main, fetcher, &error) == ERROR_NONE) {
        fetcher->said_thread = false;
        return true;
    }
    if (!fetcher->said_thread)
        REPORT(fetcher->report, REPORT_WARN, "server",
               "nobody can be caught up now, and no backup made: %s", error.text);
    return false;
}

bool fetcher_order(struct fetcher *fetcher, const struct fetch_order *order)
{
    if (!start_thread(fetcher))
        return false;
    mutex_lock(&fetcher->lock);
    u32 at = 0;
    while (at < fetcher->order_count && fetcher->orders[at].peer != order->peer)
        at++;
    ASSERT(at < ARRAY_LENGTH(fetcher->orders));
    fetcher->orders[at] = *order;
    if (at == fetcher->order_count)
        fetcher->order_count++;
    condition_signal(&fetcher->ordered);
    mutex_unlock(&fetcher->lock);
    return true;
}

void fetcher_order_backup(struct fetcher *fetcher, struct command *command)
{
    if (!start_thread(fetcher)) {
        fail(command, COMMAND_BUSY);
        return;
    }
    mutex_lock(&fetcher->lock);
    bool fits = fetcher->backups.count < FETCH_BACKUPS_MAX;
    if (fits)
        command_list_put(&fetcher->backups, command);
    condition_signal(&fetcher->ordered);
    mutex_unlock(&fetcher->lock);
    if (!fits)
        fail(command, COMMAND_BUSY);
}
