/* pace.c - see pace.h. */
#include "server/pace.h"

#include "common/check.h"

void pace_begin(struct pace *pace, u64 now_ns, u64 waited_ns)
{
    if (pace->began_ns != 0)
        return;
    pace->began_ns = now_ns;
    pace->waited_ns = waited_ns;
}

void pace_end(struct pace *pace, u64 now_ns, u64 waited_ns)
{
    if (pace->began_ns == 0)
        return;
    u64 round_ns = now_ns - pace->began_ns;
    u64 disk_ns = waited_ns - pace->waited_ns;
    ASSERT(disk_ns <= round_ns);
    histogram_add(&pace->rounds, round_ns);
    histogram_add(&pace->rounds_without_disk, round_ns - disk_ns);
    pace->began_ns = 0;
}

void pace_reset(struct pace *pace)
{
    pace->rounds = (struct histogram){0};
    pace->rounds_without_disk = (struct histogram){0};
}
