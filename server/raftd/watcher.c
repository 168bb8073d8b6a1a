/* watcher.c - see watcher.h. */
#include "server/raftd/watcher.h"

#include <unistd.h>

#include "common/clock.h"
#include "common/quantity.h"

#define LOOK_NS (100 * NS_PER_MS)
/* A look that comes later than this was held up, and by what does not matter. */
#define LATE_NS (5 * LOOK_NS)

/* ---- one look ---- */

/* Chooses what is followed: the wait for the disk that goes on, else the round. Returns whether
 * that is another one than before. A round that a line was said about is followed to its end. */
static bool follow(struct watch *watch, const struct watch_sight *sight)
{
    if (watch->said && !watch->on_disk && watch->began_ns == sight->round_ns)
        return false;
    bool on_disk = sight->disk_ns != 0;
    u64 began_ns = on_disk ? sight->disk_ns : sight->round_ns;
    bool other = began_ns != watch->began_ns;
    watch->began_ns = began_ns;
    watch->on_disk = on_disk;
    return other;
}

/* How long from then until now, without what nobody watched. */
static u64 counted(const struct watch *watch, u64 began_ns, u64 now_ns)
{
    u64 from_ns = u64_max(began_ns, watch->counted_ns);
    return began_ns != 0 && now_ns > from_ns ? now_ns - from_ns : 0;
}

/* After how long the next line is due. 0: never. */
static u64 line_due_ns(const struct watch *watch, const struct watch_sight *sight)
{
    u64 first_ns = watch->on_disk ? sight->slow_ns : WATCH_WORK_NS;
    if (first_ns == 0)
        return 0;
    if (watch->said)
        return 2 * watch->said_lasts_ns;
    bool quiet = watch->said_ns != 0 && sight->now_ns < watch->said_ns + WATCH_QUIET_NS;
    return quiet ? u64_max(u64_max(2 * watch->said_lasts_ns, WATCH_WORK_NS), first_ns) : first_ns;
}

enum watch_word watch_look(struct watch *watch, const struct watch_sight *sight)
{
    if (watch->looked_ns != 0 && sight->now_ns > watch->looked_ns + LATE_NS)
        watch->counted_ns = sight->now_ns;
    watch->looked_ns = sight->now_ns;
    bool over = follow(watch, sight) && watch->said;
    if (over) {
        watch->said = false;
        return WATCH_GOES_ON; /* what has begun since is looked at next time */
    }
    watch->lasts_ns = counted(watch, watch->began_ns, sight->now_ns);
    u64 disk_ns = counted(watch, sight->disk_ns, sight->now_ns);
    u64 round_ns = counted(watch, sight->round_ns, sight->now_ns);
    bool stalled = disk_ns >= WATCH_DISK_NS || round_ns >= WATCH_WORK_NS;
    watch->stalled_ns = stalled ? sight->now_ns - u64_max(disk_ns, round_ns) : 0;
    u64 due_ns = line_due_ns(watch, sight);
    if (watch->began_ns == 0 || due_ns == 0 || watch->lasts_ns < due_ns)
        return WATCH_SILENT;
    watch->said = true;
    watch->said_ns = sight->now_ns;
    watch->said_lasts_ns = watch->lasts_ns;
    return watch->on_disk ? WATCH_DISK : WATCH_WORK;
}

/* ---- the thread ---- */

static void say(const struct watcher *watcher, enum watch_word word)
{
    char lasts[QUANTITY_TEXT_SIZE];
    u64 lasts_ns = watcher->watch.lasts_ns / NS_PER_MS * NS_PER_MS;
    (void)quantity_format_duration(lasts_ns, lasts);
    switch (word) {
    case WATCH_SILENT:
        return;
    case WATCH_DISK:
        REPORT(watcher->report, REPORT_WARN, "watcher",
               "the disk has not answered for %s: until it does, this server saves nothing, "
               "acknowledges nothing and executes nothing",
               lasts);
        return;
    case WATCH_WORK:
        REPORT(watcher->report, REPORT_WARN, "watcher",
               "the server's thread has been busy for %s, and not with the disk: until it looks "
               "into its mailbox, this server acknowledges nothing and executes nothing",
               lasts);
        return;
    case WATCH_GOES_ON:
        REPORT(watcher->report, REPORT_INFO, "watcher", "this server goes on, after %s or more",
               lasts);
        return;
    }
}

static void look(struct watcher *watcher)
{
    struct liveness *liveness = watcher->liveness;
    struct watch *watch = &watcher->watch;
    struct watch_sight sight = {.now_ns = clock_monotonic_ns(),
                                .round_ns = atomic_load(&liveness->round_ns),
                                .disk_ns = atomic_load(&liveness->disk_ns),
                                .slow_ns = atomic_load(&liveness->slow_ns)};
    bool before = watch->stalled_ns != 0;
    say(watcher, watch_look(watch, &sight));
    atomic_store(&liveness->on_disk, watch->on_disk);
    atomic_store(&liveness->stalled_ns, watch->stalled_ns);
    if (before != (watch->stalled_ns != 0))
        watcher->tell(watcher->context);
}

/* Nobody else can: the thread that is to end waits for the disk, and main for that thread. */
static void give_up(struct watcher *watcher)
{
    REPORT(
        watcher->report, REPORT_ERROR, "watcher",
        "ending without the server's thread, which %s: what it has not saved it has not promised",
        watcher->watch.on_disk ? "waits for the disk" : "does not come to an end");
    _exit(error_exit_code(ERROR_IO));
}

static void watcher_run(void *context)
{
    struct watcher *watcher = context;
    mutex_lock(&watcher->lock);
    while (!watcher->ended) {
        u64 give_up_ns = watcher->give_up_ns;
        mutex_unlock(&watcher->lock);
        look(watcher);
        u64 now_ns = clock_monotonic_ns();
        if (give_up_ns != 0 && now_ns >= give_up_ns && watcher->watch.stalled_ns != 0)
            give_up(watcher);
        mutex_lock(&watcher->lock);
        if (!watcher->ended)
            (void)condition_wait_until(&watcher->changed, &watcher->lock, now_ns + LOOK_NS);
    }
    mutex_unlock(&watcher->lock);
}

enum error_code watcher_start(struct watcher *watcher, struct liveness *liveness,
                              struct report *report, void (*tell)(void *context), void *context,
                              struct error *error)
{
    *watcher =
        (struct watcher){.liveness = liveness, .report = report, .tell = tell, .context = context};
    mutex_init(&watcher->lock);
    condition_init(&watcher->changed);
    atomic_store(&liveness->watched, true);
    enum error_code code = thread_start(&watcher->thread, "watcher", watcher_run, watcher, error);
    if (code != ERROR_NONE) {
        condition_deinit(&watcher->changed);
        mutex_deinit(&watcher->lock);
    }
    return code;
}

void watcher_stop(struct watcher *watcher)
{
    if (!watcher->thread.started)
        return;
    mutex_lock(&watcher->lock);
    watcher->ended = true;
    condition_broadcast(&watcher->changed);
    mutex_unlock(&watcher->lock);
    thread_join(&watcher->thread);
    condition_deinit(&watcher->changed);
    mutex_deinit(&watcher->lock);
}

void watcher_give_up_at(struct watcher *watcher, u64 deadline_ns)
{
    mutex_lock(&watcher->lock);
    watcher->give_up_ns = deadline_ns;
    mutex_unlock(&watcher->lock);
}
