/* preparer.c - see preparer.h. */
#include "server/storage/preparer.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/memory.h"

#define RETRY_NS (1 * NS_PER_S)

void preparer_init(struct preparer *preparer, struct vfs *vfs, struct report *report,
                   u64 directory_id, u64 segment_bytes, u64 oldest_id, u64 next_id, u64 disk_bytes)
{
    *preparer = (struct preparer){.vfs = vfs,
                                  .report = report,
                                  .directory_id = directory_id,
                                  .segment_bytes = segment_bytes,
                                  .wanted = 1,
                                  .next_id = next_id,
                                  .oldest_id = oldest_id,
                                  .disk_bytes = disk_bytes};
    mutex_init(&preparer->lock);
    condition_init(&preparer->changed);
}

void preparer_deinit(struct preparer *preparer)
{
    mutex_lock(&preparer->lock);
    preparer->stopping = true;
    condition_broadcast(&preparer->changed);
    mutex_unlock(&preparer->lock);
    thread_join(&preparer->thread);
    for (size_t i = 0; i < preparer->count; i++)
        vfs_close(preparer->spares[i].file);
    memory_free(preparer->spares);
    condition_deinit(&preparer->changed);
    mutex_deinit(&preparer->lock);
}

static void put_locked(struct preparer *preparer, struct vfs_file *file,
                       const struct segment_info *info) REQUIRES(preparer->lock)
{
    mutex_assert_held(&preparer->lock);
    if (preparer->count == preparer->capacity) {
        preparer->capacity = preparer->capacity * 2 + 4;
        preparer->spares =
            memory_resize(preparer->spares, preparer->capacity * sizeof(preparer->spares[0]));
    }
    preparer->spares[preparer->count++] = (struct spare){.file = file, .info = *info};
    preparer->hurrying = false;
}

void preparer_put(struct preparer *preparer, struct vfs_file *file, const struct segment_info *info)
{
    mutex_lock(&preparer->lock);
    put_locked(preparer, file, info);
    mutex_unlock(&preparer->lock);
}

/* ---- the job ---- */

/* Whether an attempt that failed like this may go well later. Anything but a lack of space or
 * descriptors means that the disk failed. */
static bool may_pass(enum error_code code)
{
    return code == ERROR_NO_SPACE || code == ERROR_SYSTEM;
}

static void attempt_failed_locked(struct preparer *preparer, const struct error *problem)
    REQUIRES(preparer->lock)
{
    mutex_assert_held(&preparer->lock);
    if (preparer->problem.code != problem->code)
        REPORT(preparer->report, may_pass(problem->code) ? REPORT_WARN : REPORT_ERROR, "storage",
               "%s; %s", problem->text,
               may_pass(problem->code) ? "writes are refused when the segments at hand are full, "
                                         "and go on when there is room"
                                       : "this is final");
    preparer->problem = *problem;
    preparer->retry_ns = may_pass(problem->code) ? clock_monotonic_ns() + RETRY_NS : UINT64_MAX;
}

/* How far ahead the job may be of the segment in use. */
static u64 allowed_locked(const struct preparer *preparer)
{
    if (preparer->waiting > 0 || preparer->hurrying)
        return UINT64_MAX;
    return preparer->segment_bytes / 8 + preparer->filled * 2;
}

static bool keep_step(void *context, u64 written)
{
    struct preparer *preparer = context;
    mutex_lock(&preparer->lock);
    while (!preparer->stopping && written >= allowed_locked(preparer))
        condition_wait(&preparer->changed, &preparer->lock);
    bool proceed = !preparer->stopping;
    mutex_unlock(&preparer->lock);
    return proceed;
}

/* Makes one segment. The lock is free meanwhile. */
static void make_one_locked(struct preparer *preparer) REQUIRES(preparer->lock)
{
    struct segment_info info = {.id = preparer->next_id,
                                .size = preparer->segment_bytes,
                                .directory_id = preparer->directory_id};
    mutex_unlock(&preparer->lock);
    struct error error;
    struct vfs_file *file = NULL;
    struct segment_pace pace = {keep_step, preparer};
    enum error_code code = segment_make(preparer->vfs, &info, &pace, &file, &error);
    if (code == ERROR_NONE) {
        code = segment_publish(preparer->vfs, info.id, &error);
        if (code != ERROR_NONE)
            vfs_close(file);
    }
    mutex_lock(&preparer->lock);
    if (preparer->stopping && code == ERROR_BUSY) {
        condition_broadcast(&preparer->changed);
        return; /* half a segment is none; the next start makes another */
    }
    if (code != ERROR_NONE) {
        attempt_failed_locked(preparer, &error);
    } else {
        if (preparer->problem.code != ERROR_NONE)
            REPORT(preparer->report, REPORT_INFO, "storage",
                   "segment %" PRIu64 " is made: there is room again", info.id);
        error_clear(&preparer->problem);
        put_locked(preparer, file, &info);
        preparer->next_id++;
        preparer->disk_bytes += info.size;
    }
    condition_broadcast(&preparer->changed);
}

static enum error_code remove_segment(struct preparer *preparer, u64 id, u64 *size,
                                      struct error *error)
{
    char path[SEGMENT_PATH_SIZE];
    struct vfs_file *file = NULL;
    segment_path(id, path);
    enum error_code code = vfs_open(preparer->vfs, path, VFS_READ, &file, error);
    if (code == ERROR_NONE)
        code = vfs_size(file, size, error);
    vfs_close(file);
    if (code == ERROR_NONE)
        code = vfs_remove(preparer->vfs, path, error);
    code = error_forgive(error, code, ERROR_MISSING);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(preparer->vfs, "log", error);
    return code;
}

/* Removes one segment. The lock is free meanwhile. What cannot be removed costs space, no more. */
static void remove_one_locked(struct preparer *preparer) REQUIRES(preparer->lock)
{
    u64 id = preparer->oldest_id;
    mutex_unlock(&preparer->lock);
    struct error error;
    u64 size = 0;
    enum error_code code = remove_segment(preparer, id, &size, &error);
    mutex_lock(&preparer->lock);
    if (code != ERROR_NONE) {
        REPORT(preparer->report, REPORT_WARN, "storage",
               "segment %" PRIu64 " cannot be removed now: %s", id, error.text);
        preparer->remove_retry_ns = clock_monotonic_ns() + RETRY_NS;
        return;
    }
    preparer->remove_retry_ns = 0;
    preparer->oldest_id = id + 1;
    preparer->disk_bytes -= size;
}

/* When to try again what failed; 0: nothing did, UINT64_MAX: there is nothing to do. */
static u64 making_due_locked(const struct preparer *preparer)
{
    if (preparer->count >= preparer->wanted)
        return UINT64_MAX;
    return preparer->problem.code != ERROR_NONE ? preparer->retry_ns : 0;
}

static u64 removing_due_locked(const struct preparer *preparer)
{
    return preparer->oldest_id < preparer->remove_before ? preparer->remove_retry_ns : UINT64_MAX;
}

static void preparer_run(void *argument)
{
    struct preparer *preparer = argument;
    mutex_lock(&preparer->lock);
    while (!preparer->stopping) {
        u64 making_ns = making_due_locked(preparer);
        u64 removing_ns = removing_due_locked(preparer);
        u64 now_ns =
            making_ns == UINT64_MAX && removing_ns == UINT64_MAX ? 0 : clock_monotonic_ns();
        /* Where there is no space, removing makes some. */
        if (removing_ns <= now_ns)
            remove_one_locked(preparer);
        else if (making_ns <= now_ns)
            make_one_locked(preparer);
        else
            (void)condition_wait_until(&preparer->changed, &preparer->lock,
                                       u64_min(making_ns, removing_ns));
    }
    mutex_unlock(&preparer->lock);
}

enum error_code preparer_start(struct preparer *preparer, struct error *error)
{
    return thread_start(&preparer->thread, "segments", preparer_run, preparer, error);
}

/* ---- the server thread ---- */

static void wait_for_locked(struct preparer *preparer, size_t count) REQUIRES(preparer->lock)
{
    mutex_assert_held(&preparer->lock);
    if (preparer->count >= count || preparer->problem.code != ERROR_NONE)
        return;
    preparer->waiting++;
    condition_broadcast(&preparer->changed);
    while (preparer->count < count && preparer->problem.code == ERROR_NONE)
        condition_wait(&preparer->changed, &preparer->lock);
    preparer->waiting--;
}

void preparer_hurry(struct preparer *preparer)
{
    mutex_lock(&preparer->lock);
    if (preparer->count == 0 && !preparer->hurrying) {
        preparer->hurrying = true;
        condition_broadcast(&preparer->changed);
    }
    mutex_unlock(&preparer->lock);
}

void preparer_keep_step(struct preparer *preparer, u64 filled)
{
    mutex_lock(&preparer->lock);
    preparer->filled = filled;
    if (preparer->count == 0)
        condition_broadcast(&preparer->changed);
    mutex_unlock(&preparer->lock);
}

enum error_code preparer_ensure(struct preparer *preparer, size_t count, bool *waited,
                                struct error *error)
{
    *waited = false;
    if (count > SPARES_WANTED_MAX)
        return error_set(error, ERROR_NO_SPACE,
                         "an append that needs %zu new segments is too large", count);
    enum error_code code = ERROR_NONE;
    mutex_lock(&preparer->lock);
    if (count > preparer->wanted) {
        preparer->wanted = count;
        condition_broadcast(&preparer->changed);
    }
    *waited = preparer->count < count;
    wait_for_locked(preparer, count);
    if (preparer->count < count) {
        *error = preparer->problem;
        code = error->code;
    }
    preparer->wanted = 1;
    mutex_unlock(&preparer->lock);
    return code;
}

enum error_code preparer_check(struct preparer *preparer, struct error *error)
{
    enum error_code code = ERROR_NONE;
    mutex_lock(&preparer->lock);
    if (preparer->problem.code != ERROR_NONE && !may_pass(preparer->problem.code)) {
        *error = preparer->problem;
        code = error->code;
    }
    mutex_unlock(&preparer->lock);
    return code;
}

struct spare preparer_take(struct preparer *preparer)
{
    mutex_lock(&preparer->lock);
    ASSERT(preparer->count > 0);
    struct spare first = preparer->spares[0];
    preparer->count--;
    memmove(preparer->spares, preparer->spares + 1, preparer->count * sizeof(first));
    condition_broadcast(&preparer->changed);
    mutex_unlock(&preparer->lock);
    return first;
}

u64 preparer_spare_size(struct preparer *preparer, size_t position)
{
    mutex_lock(&preparer->lock);
    u64 size =
        position < preparer->count ? preparer->spares[position].info.size : preparer->segment_bytes;
    mutex_unlock(&preparer->lock);
    return size;
}

static u64 largest_locked(const struct preparer *preparer)
{
    u64 largest = 0;
    for (size_t i = 0; i < preparer->count; i++)
        largest = u64_max(largest, preparer->spares[i].info.size);
    return largest;
}

u64 preparer_largest(struct preparer *preparer)
{
    mutex_lock(&preparer->lock);
    u64 largest = largest_locked(preparer);
    mutex_unlock(&preparer->lock);
    return largest;
}

u64 preparer_coming(struct preparer *preparer)
{
    mutex_lock(&preparer->lock);
    u64 size = largest_locked(preparer);
    if (size == 0 && preparer->problem.code == ERROR_NONE &&
        allowed_locked(preparer) >= preparer->segment_bytes)
        size = preparer->segment_bytes;
    mutex_unlock(&preparer->lock);
    return size;
}

void preparer_remove_before(struct preparer *preparer, u64 id)
{
    mutex_lock(&preparer->lock);
    if (id > preparer->remove_before) {
        preparer->remove_before = id;
        condition_broadcast(&preparer->changed);
    }
    mutex_unlock(&preparer->lock);
}

void preparer_figures(struct preparer *preparer, u64 *segments, u64 *disk_bytes)
{
    mutex_lock(&preparer->lock);
    *segments = preparer->next_id - preparer->oldest_id;
    *disk_bytes = preparer->disk_bytes;
    mutex_unlock(&preparer->lock);
}
