/* slow_sync.c - see slow_sync.h. */
#include "server/storage/slow_sync.h"

#include <inttypes.h>

#include "common/quantity.h"

/* As people say it: no digits that nobody needs. */
static const char *round_duration(u64 ns, char *text)
{
    u64 unit = ns >= 10 * NS_PER_MS ? NS_PER_MS : NS_PER_US;
    return quantity_format_duration(ns / unit * unit, text);
}

static void say(const struct slow_sync *slow, struct report *report)
{
    char took[QUANTITY_TEXT_SIZE];
    char limit[QUANTITY_TEXT_SIZE];
    (void)round_duration(slow->longest_ns, took);
    (void)quantity_format_duration(slow->limit_ns, limit);
    if (slow->count == 1)
        REPORT(report, REPORT_WARN, "storage",
               "the disk is slow: %s took %s, longer than slow-sync %s", slow->longest_what, took,
               limit);
    else
        REPORT(report, REPORT_WARN, "storage",
               "the disk is slow: %" PRIu64 " waits since this was last said took longer than "
               "slow-sync %s, the longest, %s, %s",
               slow->count, limit, slow->longest_what, took);
}

void slow_sync_note(struct slow_sync *slow, struct report *report, const char *what, u64 now_ns,
                    u64 took_ns)
{
    if (slow->limit_ns == 0) {
        slow->count = 0;
        slow->longest_ns = 0;
        return;
    }
    if (took_ns > slow->limit_ns) {
        slow->count++;
        if (took_ns > slow->longest_ns) {
            slow->longest_ns = took_ns;
            slow->longest_what = what;
        }
    }
    if (slow->count == 0 || (slow->said_ns != 0 && now_ns - slow->said_ns < SLOW_SYNC_QUIET_NS))
        return;
    say(slow, report);
    slow->said_ns = now_ns;
    slow->count = 0;
    slow->longest_ns = 0;
}
