/* snapshot_thread.c - see snapshot_thread.h. */
#include "server/jobs/snapshot_thread.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/memory.h"

/* After a file that the disk would not take, none is begun for so long. */
#define RECEIVE_REST_NS (1 * NS_PER_S)

enum job_kind {
    JOB_BEGIN,   /* a file for a snapshot being taken: `head` */
    JOB_PUT,     /* `spans` into it */
    JOB_END,     /* it is complete */
    JOB_GIVE_UP, /* it is not wanted */
    JOB_RECEIVE, /* `spans` into the file of `name` at `offset` */
    JOB_DESTROY, /* `machine` */
    JOB_REMOVE   /* old files */
};

struct snapshot_job {
    struct snapshot_job *next;
    enum job_kind kind;
    u64 order; /* JOB_BEGIN, JOB_RECEIVE */
    struct snapshot_head head;
    struct snapshot_name name;
    u64 offset;
    struct machine *machine;
    u64 log_base;
    u32 used_count;
    struct entry_id used[SERVERS_MAX];
    u32 span_count;
    struct span spans[]; /* hold references */
};

/* What the thread keeps to itself. */
struct snapshot_worker {
    struct snapshot_thread *snapshots;
    struct snapshot_writer *writer; /* NULL: none, or it has failed */
    u64 order;                      /* of the one being written, or that has failed */
    struct snapshot_head head;      /* the same */
    u64 began_ns;
    struct snapshot_receiver *receiver; /* the same */
    u64 received_order;                 /* of the one being received, or that has failed */
    struct snapshot_name name;          /* the same */
    u64 received_began_ns;
    struct snapshot_syncs syncs; /* not handed over yet */
};

/* ---- orders ---- */

static struct snapshot_job *job_create(enum job_kind kind, u32 span_count)
{
    struct snapshot_job *job =
        memory_alloc_zero(1, sizeof(*job) + span_count * sizeof(job->spans[0]));
    job->kind = kind;
    return job;
}

static u64 job_bytes(const struct snapshot_job *job)
{
    u64 bytes = 0;
    for (u32 i = 0; i < job->span_count; i++)
        bytes += job->spans[i].size;
    return bytes;
}

static void job_destroy(struct snapshot_job *job)
{
    for (u32 i = 0; i < job->span_count; i++)
        span_release(&job->spans[i]);
    if (job->machine != NULL)
        job->machine->ops->destroy(job->machine);
    memory_free(job);
}

static void snapshots_main(void *argument);

static bool start_thread(struct snapshot_thread *snapshots)
{
    struct error error = {0};
    if (snapshots->thread.started || thread_start(&snapshots->thread, "snapshots", snapshots_main,
                                                  snapshots, &error) == ERROR_NONE)
        return true;
    REPORT(snapshots->report, REPORT_WARN, "server", "no snapshot can be written now: %s",
           error.text);
    return false;
}

static void order(struct snapshot_thread *snapshots, struct snapshot_job *job)
{
    mutex_lock(&snapshots->lock);
    if (job->kind == JOB_PUT)
        snapshots->take_bytes += job_bytes(job);
    else if (job->kind == JOB_RECEIVE)
        snapshots->receive_bytes += job_bytes(job);
    if (snapshots->last != NULL)
        snapshots->last->next = job;
    else
        snapshots->first = job;
    snapshots->last = job;
    condition_signal(&snapshots->ordered);
    mutex_unlock(&snapshots->lock);
}

void snapshot_thread_init(struct snapshot_thread *snapshots, struct vfs *vfs,
                          struct mail_slot *slot, struct report *report)
{
    *snapshots = (struct snapshot_thread){.vfs = vfs, .slot = slot, .report = report};
    mutex_init(&snapshots->lock);
    condition_init(&snapshots->ordered);
}

void snapshot_thread_deinit(struct snapshot_thread *snapshots)
{
    mutex_lock(&snapshots->lock);
    snapshots->stopping = true;
    condition_signal(&snapshots->ordered);
    mutex_unlock(&snapshots->lock);
    thread_join(&snapshots->thread);
    struct snapshot_job *job;
    while ((job = snapshots->first) != NULL) {
        snapshots->first = job->next;
        job_destroy(job);
    }
    if (snapshots->machine != NULL)
        snapshots->machine->ops->destroy(snapshots->machine);
    condition_deinit(&snapshots->ordered);
    mutex_deinit(&snapshots->lock);
}

bool snapshot_thread_begin(struct snapshot_thread *snapshots, u64 number,
                           const struct snapshot_head *head)
{
    if (!start_thread(snapshots))
        return false;
    struct snapshot_job *job = job_create(JOB_BEGIN, 0);
    job->order = number;
    job->head = *head;
    order(snapshots, job);
    return true;
}

u64 snapshot_thread_take_room(struct snapshot_thread *snapshots)
{
    mutex_lock(&snapshots->lock);
    u64 bytes = u64_min(snapshots->take_bytes, SNAPSHOT_TAKE_BYTES_MAX);
    mutex_unlock(&snapshots->lock);
    return SNAPSHOT_TAKE_BYTES_MAX - bytes;
}

void snapshot_thread_put(struct snapshot_thread *snapshots, const void *data, size_t size)
{
    struct snapshot_job *job = job_create(JOB_PUT, 1);
    struct block *block = block_create_copy(data, (u32)size);
    job->spans[0] = (struct span){.block = block, .data = block->data, .size = (u32)size};
    job->span_count = 1;
    order(snapshots, job);
}

void snapshot_thread_end(struct snapshot_thread *snapshots)
{
    order(snapshots, job_create(JOB_END, 0));
}

void snapshot_thread_give_up(struct snapshot_thread *snapshots)
{
    order(snapshots, job_create(JOB_GIVE_UP, 0));
}

struct snapshot_point snapshot_thread_taken(struct snapshot_thread *snapshots)
{
    mutex_lock(&snapshots->lock);
    struct snapshot_point point = snapshots->taken;
    mutex_unlock(&snapshots->lock);
    return point;
}

u64 snapshot_thread_receive_room(struct snapshot_thread *snapshots)
{
    mutex_lock(&snapshots->lock);
    u64 bytes = u64_min(snapshots->receive_bytes, SNAPSHOT_RECEIVE_BYTES_MAX);
    if (snapshots->receive_rests_ns != 0 && clock_monotonic_ns() < snapshots->receive_rests_ns)
        bytes = SNAPSHOT_RECEIVE_BYTES_MAX;
    mutex_unlock(&snapshots->lock);
    return SNAPSHOT_RECEIVE_BYTES_MAX - bytes;
}

bool snapshot_thread_no_space(struct snapshot_thread *snapshots)
{
    mutex_lock(&snapshots->lock);
    bool no_space = snapshots->no_space;
    mutex_unlock(&snapshots->lock);
    return no_space;
}

bool snapshot_thread_receive(struct snapshot_thread *snapshots, u64 number,
                             const struct message *message, struct machine *empty)
{
    const struct install_request *install = &message->as.install_request;
    struct snapshot_job *job = job_create(JOB_RECEIVE, message->span_count);
    job->name = (struct snapshot_name){install->last, install->size, install->checksum};
    job->order = number;
    job->offset = install->offset;
    job->machine = empty;
    for (u32 i = 0; i < message->span_count; i++) {
        const struct span *span = &message->spans[i];
        job->spans[job->span_count++] = span_of(span->block, span->data, span->size);
    }
    if (!start_thread(snapshots)) {
        job_destroy(job);
        return false;
    }
    order(snapshots, job);
    return true;
}

struct machine *snapshot_thread_received(struct snapshot_thread *snapshots,
                                         struct snapshot_point *point)
{
    mutex_lock(&snapshots->lock);
    struct machine *machine = snapshots->machine;
    snapshots->machine = NULL;
    *point = snapshots->received;
    mutex_unlock(&snapshots->lock);
    return machine;
}

void snapshot_thread_destroy_machine(struct snapshot_thread *snapshots, struct machine *machine)
{
    struct snapshot_job *job = job_create(JOB_DESTROY, 0);
    job->machine = machine;
    if (start_thread(snapshots))
        order(snapshots, job);
    else
        job_destroy(job);
}

void snapshot_thread_remove_old(struct snapshot_thread *snapshots, u64 log_base,
                                const struct entry_id *used, u32 used_count)
{
    ASSERT(used_count <= SERVERS_MAX);
    if (!start_thread(snapshots))
        return;
    struct snapshot_job *job = job_create(JOB_REMOVE, 0);
    job->log_base = log_base;
    job->used_count = used_count;
    if (used_count > 0)
        memcpy(job->used, used, used_count * sizeof(used[0]));
    order(snapshots, job);
}

static void move_syncs(struct snapshot_syncs *to, struct snapshot_syncs *from)
{
    if (from->taken.count > 0)
        histogram_move(&to->taken, &from->taken);
    if (from->received.count > 0)
        histogram_move(&to->received, &from->received);
}

void snapshot_thread_fetch_syncs(struct snapshot_thread *snapshots, struct snapshot_syncs *to)
{
    mutex_lock(&snapshots->lock);
    move_syncs(to, &snapshots->syncs);
    mutex_unlock(&snapshots->lock);
}

/* ---- the thread: taking ---- */

static void tell(struct snapshot_worker *worker, enum snapshot_news news, u64 number)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    mutex_lock(&snapshots->lock);
    move_syncs(&snapshots->syncs, &worker->syncs);
    mutex_unlock(&snapshots->lock);
    struct mail *mail = mail_create(MAIL_SNAPSHOT);
    mail->as.snapshot = (struct snapshot_result){news, number};
    (void)mail_post(snapshots->slot, mail);
}

static void note_space(struct snapshot_thread *snapshots, enum error_code code)
{
    mutex_lock(&snapshots->lock);
    snapshots->no_space = code == ERROR_NO_SPACE;
    mutex_unlock(&snapshots->lock);
}

/* A snapshot that cannot be written costs nothing but itself: the log still holds everything. */
static void take_failed(struct snapshot_worker *worker, const struct error *error)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    REPORT(snapshots->report, REPORT_WARN, "server",
           "the snapshot of entry %" PRIu64 " cannot be written, and will be tried again later: %s",
           worker->head.last.index, error->text);
    worker->writer = NULL;
    note_space(snapshots, error->code);
    tell(worker, SNAPSHOT_NOT_TAKEN, worker->order);
}

static void begin_take(struct snapshot_worker *worker, const struct snapshot_job *job)
{
    struct error error = {0};
    ASSERT(worker->writer == NULL);
    worker->order = job->order;
    worker->head = job->head;
    worker->began_ns = clock_monotonic_ns();
    if (snapshot_writer_create(worker->snapshots->vfs, &job->head, &worker->writer, &error) !=
        ERROR_NONE)
        take_failed(worker, &error);
    else
        snapshot_writer_measure(worker->writer, &worker->syncs.taken);
}

static void put(struct snapshot_worker *worker, const struct snapshot_job *job)
{
    struct error error = {0};
    if (worker->writer == NULL)
        return;
    if (snapshot_writer_add(worker->writer, job->spans[0].data, job->spans[0].size, &error) !=
        ERROR_NONE) {
        snapshot_writer_abandon(worker->writer);
        take_failed(worker, &error);
        return;
    }
    tell(worker, SNAPSHOT_PROGRESS, worker->order);
}

static void end_take(struct snapshot_worker *worker)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    struct error error = {0};
    struct snapshot_info info;
    if (worker->writer == NULL)
        return;
    enum error_code code = snapshot_writer_finish(worker->writer, &info, &error);
    if (code != ERROR_NONE) {
        take_failed(worker, &error);
        return;
    }
    worker->writer = NULL;
    note_space(snapshots, ERROR_NONE);
    REPORT(snapshots->report, REPORT_INFO, "server",
           "snapshot of entry %" PRIu64 " taken: %" PRIu64 " bytes in %" PRIu64 " ms",
           info.last.index, info.size, (clock_monotonic_ns() - worker->began_ns) / NS_PER_MS);
    mutex_lock(&snapshots->lock);
    snapshots->taken = (struct snapshot_point){.name = {info.last, info.size, info.checksum},
                                               .time_ns = worker->head.time_ns,
                                               .configuration = worker->head.configuration};
    mutex_unlock(&snapshots->lock);
    tell(worker, SNAPSHOT_TAKEN, worker->order);
}

static void give_up(struct snapshot_worker *worker)
{
    if (worker->writer != NULL)
        snapshot_writer_abandon(worker->writer);
    worker->writer = NULL;
}

/* ---- the thread: receiving ---- */

static void receive_failed(struct snapshot_worker *worker, const struct error *error)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    REPORT(snapshots->report, REPORT_WARN, "server",
           "the snapshot of entry %" PRIu64 " cannot be received, and is asked for again: %s",
           worker->name.last.index, error->text);
    worker->receiver = NULL;
    note_space(snapshots, error->code);
    mutex_lock(&snapshots->lock);
    if (error->code != ERROR_CORRUPT) /* then it is not what was sent that must change */
        snapshots->receive_rests_ns = clock_monotonic_ns() + RECEIVE_REST_NS;
    mutex_unlock(&snapshots->lock);
    tell(worker, SNAPSHOT_NOT_RECEIVED, worker->received_order);
}

static void begin_receive(struct snapshot_worker *worker, const struct snapshot_job *job)
{
    struct error error = {0};
    if (worker->receiver != NULL)
        snapshot_receiver_abandon(worker->receiver);
    worker->receiver = NULL;
    worker->received_order = job->order;
    worker->name = job->name;
    worker->received_began_ns = clock_monotonic_ns();
    struct snapshot_info info = {job->name.last, job->name.size, job->name.checksum};
    if (snapshot_receiver_create(worker->snapshots->vfs, &info, &worker->receiver, &error) !=
        ERROR_NONE)
        receive_failed(worker, &error);
    else
        snapshot_receiver_measure(worker->receiver, &worker->syncs.received);
}

struct loading {
    struct machine *machine;
    struct snapshot_point *point;
};

static bool take_head(void *context, const struct snapshot_head *head)
{
    struct loading *loading = context;
    loading->point->time_ns = head->time_ns;
    loading->point->configuration = head->configuration;
    return true;
}

static bool take_piece(void *context, const u8 *data, size_t size)
{
    struct loading *loading = context;
    return loading->machine->ops->restore(loading->machine, data, size);
}

/* Makes the file durable, then a machine of it. */
static void end_receive(struct snapshot_worker *worker, struct machine *machine)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    struct error error = {0};
    struct snapshot_point point = {.name = worker->name};
    struct loading loading = {machine, &point};
    struct snapshot_taker taker = {.head = take_head, .piece = take_piece, .context = &loading};
    u64 complete_ns = clock_monotonic_ns();
    enum error_code code = snapshot_receiver_finish(worker->receiver, &taker, &error);
    worker->receiver = NULL;
    if (code == ERROR_NONE && !machine->ops->restore_end(machine))
        code = error_set(&error, ERROR_CORRUPT, "it does not hold a whole state");
    if (code != ERROR_NONE) {
        machine->ops->destroy(machine);
        receive_failed(worker, &error);
        return;
    }
    note_space(snapshots, ERROR_NONE);
    REPORT(snapshots->report, REPORT_INFO, "server",
           "snapshot of entry %" PRIu64 " received and loaded: %" PRIu64 " bytes in %" PRIu64
           " ms, of these %" PRIu64 " ms of loading",
           point.name.last.index, point.name.size,
           (clock_monotonic_ns() - worker->received_began_ns) / NS_PER_MS,
           (clock_monotonic_ns() - complete_ns) / NS_PER_MS);
    mutex_lock(&snapshots->lock);
    struct machine *before = snapshots->machine;
    snapshots->machine = machine;
    snapshots->received = point;
    mutex_unlock(&snapshots->lock);
    if (before != NULL)
        before->ops->destroy(before);
    tell(worker, SNAPSHOT_RECEIVED, worker->received_order);
}

static void receive(struct snapshot_worker *worker, struct snapshot_job *job)
{
    if (job->offset == 0)
        begin_receive(worker, job);
    struct error error = {0};
    enum error_code code = ERROR_NONE;
    for (u32 i = 0; i < job->span_count && code == ERROR_NONE && worker->receiver != NULL; i++)
        code =
            snapshot_receiver_add(worker->receiver, job->spans[i].data, job->spans[i].size, &error);
    if (code != ERROR_NONE) {
        snapshot_receiver_abandon(worker->receiver);
        receive_failed(worker, &error);
    }
    if (job->machine == NULL || worker->receiver == NULL)
        return;
    struct machine *machine = job->machine;
    job->machine = NULL;
    end_receive(worker, machine);
}

/* ---- the thread: removing ---- */

static bool is_used(const struct snapshot_job *job, struct entry_id id)
{
    for (u32 i = 0; i < job->used_count; i++) {
        if (job->used[i].index == id.index && job->used[i].term == id.term)
            return true;
    }
    return false;
}

static void remove_old(struct snapshot_worker *worker, const struct snapshot_job *job)
{
    struct snapshot_thread *snapshots = worker->snapshots;
    struct error error = {0};
    struct entry_id *ids = NULL;
    size_t count = 0;
    enum error_code code = snapshot_list(snapshots->vfs, &ids, &count, &error);
    for (size_t i = 0; i + 1 < count && code == ERROR_NONE; i++) {
        bool spare = i + 2 == count && ids[i].index >= job->log_base;
        if (!spare && !is_used(job, ids[i]))
            code = snapshot_remove(snapshots->vfs, ids[i], &error);
    }
    memory_free(ids);
    if (code != ERROR_NONE)
        REPORT(snapshots->report, REPORT_WARN, "server", "an old snapshot cannot be removed: %s",
               error.text);
}

static void carry_out(struct snapshot_worker *worker, struct snapshot_job *job)
{
    switch (job->kind) {
    case JOB_BEGIN:
        begin_take(worker, job);
        return;
    case JOB_PUT:
        put(worker, job);
        return;
    case JOB_END:
        end_take(worker);
        return;
    case JOB_GIVE_UP:
        give_up(worker);
        return;
    case JOB_RECEIVE:
        receive(worker, job);
        return;
    case JOB_DESTROY:
        return; /* with the job */
    case JOB_REMOVE:
        remove_old(worker, job);
        return;
    }
}

static void snapshots_main(void *argument)
{
    struct snapshot_thread *snapshots = argument;
    struct snapshot_worker worker = {.snapshots = snapshots};
    mutex_lock(&snapshots->lock);
    while (!snapshots->stopping) {
        struct snapshot_job *job = snapshots->first;
        if (job == NULL) {
            condition_wait(&snapshots->ordered, &snapshots->lock);
            continue;
        }
        snapshots->first = job->next;
        if (snapshots->first == NULL)
            snapshots->last = NULL;
        u64 bytes = job_bytes(job);
        if (job->kind == JOB_PUT)
            snapshots->take_bytes -= bytes;
        else if (job->kind == JOB_RECEIVE)
            snapshots->receive_bytes -= bytes;
        mutex_unlock(&snapshots->lock);
        carry_out(&worker, job);
        job_destroy(job);
        mutex_lock(&snapshots->lock);
        move_syncs(&snapshots->syncs, &worker.syncs);
    }
    mutex_unlock(&snapshots->lock);
    give_up(&worker);
    if (worker.receiver != NULL)
        snapshot_receiver_abandon(worker.receiver);
}
