/* status.c - see status.h. */
#include "tools/raftctl/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/text.h"
#include "tools/raftctl/clusters.h"
#include "tools/raftctl/judge.h"

enum {
    AGAIN_MS = 20, /* pause between two rounds of --wait */
    LOG_WIDTH = 21 /* of "first..last" */
};

/* ---- showing it ---- */

static const char row_format[] = "%3s  %-*s  %-11s  %6s  %6s  %10s  %9s  %12s";

static const char *of_ms(u64 ms, char text[24])
{
    if (ms < 1000)
        (void)snprintf(text, 24, "%" PRIu64 "ms", ms);
    else
        (void)snprintf(text, 24, "%" PRIu64 ".%" PRIu64 "s", ms / 1000, ms % 1000 / 100);
    return text;
}

/* What is wrong with a server that is who it should be. */
static void print_troubles(const struct raftctl *raftctl, const struct verdict *verdict,
                           const struct target *target)
{
    char word[WORD_SIZE];
    char lasts[24];
    char age[24];
    if (stalled_ms(target) != 0)
        printf("  %s for %s; this is of %s ago",
               strcmp(info_value(target, "raft_stalled_on", word), "disk") == 0
                   ? "its disk has not answered"
                   : "it has been busy with one thing",
               of_ms(stalled_ms(target), lasts),
               of_ms(info_number(target, "raft_status_age_ms"), age));
    if (is_full(target))
        printf("  its disk is full: it takes no writes");
    if (!is_recognised(raftctl, verdict, target))
        printf("  not recognised, its vote does not count: see its log");
}

static void print_row(const struct raftctl *raftctl, const struct verdict *verdict,
                      const struct target *target, int width)
{
    char id[24] = "?";
    char term[24] = "-";
    char leader[24] = "-";
    char commit[24] = "-";
    char trails[24] = "-";
    char contact[24] = "-";
    const char *state = target->info == NULL ? "unreachable" : "stranger";
    if (target_known_id(target) != 0)
        (void)snprintf(id, sizeof(id), "%u", target_known_id(target));
    if (target_is_valid(target)) {
        state = target->state;
        (void)snprintf(term, sizeof(term), "%" PRIu64, target->term);
        (void)snprintf(commit, sizeof(commit), "%" PRIu64, target->commit);
        if (target->leader != 0)
            (void)snprintf(leader, sizeof(leader), "%u", target->leader);
    }
    u64 count;
    u64 ms;
    if (progress_of(verdict, target, &count, &ms)) {
        (void)snprintf(trails, sizeof(trails), "%" PRIu64, count);
        (void)of_ms(ms, contact);
    }
    printf(row_format, id, width, target->address, state, term, leader, commit, trails, contact);
    if (target_is_valid(target))
        print_troubles(raftctl, verdict, target);
    else
        printf("%s%s", target->trouble[0] != '\0' ? "  " : "", target->trouble);
    printf("\n");
}

/* ---- disks ---- */

static const char disk_format[] = "%3s  %*s  %10s  %10s  %10s  %8s  %12s";

static const char *of_bytes(u64 bytes, char text[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    u64 shown = bytes;
    while (shown >= 10000 && unit + 1 < ARRAY_LENGTH(units)) {
        shown /= 1024;
        unit++;
    }
    (void)snprintf(text, 24, "%" PRIu64 "%s", shown, units[unit]);
    return text;
}

static const char *of_us(u64 us, char text[24])
{
    if (us < 10000)
        (void)snprintf(text, 24, "%" PRIu64 "us", us);
    else
        (void)snprintf(text, 24, "%" PRIu64 "ms", us / 1000);
    return text;
}

/* What else there is to say of a server's disk. */
static void print_disk_news(const struct target *target)
{
    char missing[WORD_SIZE];
    if (info_number(target, "raft_repairing") != 0)
        printf("  damaged: gets entries from the leader (missing: %s), does not campaign",
               info_value(target, "raft_missing_entries", missing));
    if (info_number(target, "raft_snapshot_going_on") != 0)
        printf("  takes a snapshot");
    u64 size = info_number(target, "raft_snapshot_incoming_size");
    if (size != 0)
        printf("  receives a snapshot: %" PRIu64 "%%",
               info_number(target, "raft_snapshot_incoming_bytes") * 100 / size);
}

static void print_disk(const struct target *target)
{
    char id[24];
    char log[64];
    char snapshot[24] = "-";
    char bytes[24];
    char disk[24];
    char usual[24];
    char worst[24];
    if (!target_is_valid(target))
        return;
    (void)snprintf(id, sizeof(id), "%u", target_known_id(target));
    u64 first = info_number(target, "raft_log_first_index");
    u64 last = info_number(target, "raft_last_index");
    if (first > last)
        (void)snprintf(log, sizeof(log), "empty");
    else
        (void)snprintf(log, sizeof(log), "%" PRIu64 "..%" PRIu64, first, last);
    if (info_number(target, "raft_snapshot_index") != 0)
        (void)snprintf(snapshot, sizeof(snapshot), "%" PRIu64,
                       info_number(target, "raft_snapshot_index"));
    printf(disk_format, id, LOG_WIDTH, log, snapshot,
           of_bytes(info_number(target, "raft_snapshot_bytes"), bytes),
           of_bytes(info_number(target, "raft_disk_bytes"), disk),
           of_us(info_number(target, "raft_sync_us_p99"), usual),
           of_us(info_number(target, "raft_disk_us_max_recent"), worst));
    print_disk_news(target);
    printf("\n");
}

static void print_verdict(const struct verdict *verdict)
{
    if (verdict->leader != NULL)
        printf("\nserver %u leads in term %" PRIu64 "; %u of %u voters follow it%s\n",
               verdict->leader->answered_id, verdict->leader->term, verdict->following,
               verdict->voters, verdict->agreed ? "" : ", which is no majority");
    else if (verdict->voters != 0)
        printf("\nno leader; %u of %u voters answer and count, and one needs %u\n",
               verdict->counted, verdict->voters, verdict->voters / 2 + 1);
    else
        printf("\nno leader\n");
    if (verdict->agreed && !verdict->writable)
        printf("writes are refused: the disks of %u voters are full\n", verdict->full);
}

static void print_table(const struct raftctl *raftctl, const struct verdict *verdict)
{
    int width = (int)strlen("address");
    for (u32 i = 0; i < raftctl->target_count; i++)
        width = (int)u64_max((u64)width, strlen(raftctl->targets[i].address));
    printf(row_format, "id", width, "address", "state", "term", "leader", "commit", "trails by",
           "last contact");
    printf("\n");
    for (u32 i = 0; i < raftctl->target_count; i++)
        print_row(raftctl, verdict, &raftctl->targets[i], width);
    printf("\n");
    printf(disk_format, "id", LOG_WIDTH, "log", "snapshot", "its size", "on disk", "sync p99",
           "slowest sync");
    printf("\n");
    for (u32 i = 0; i < raftctl->target_count; i++)
        print_disk(&raftctl->targets[i]);
    if (verdict->clusters > 1)
        clusters_print(raftctl);
    print_verdict(verdict);
}

static void print_json_string(const char *name, const char *value)
{
    char escaped[WORD_SIZE * TEXT_ESCAPE_FACTOR];
    size_t size = text_escape(escaped, value, strnlen(value, WORD_SIZE));
    printf("\"%s\":\"%.*s\"", name, (int)size, escaped);
}

static void print_json_disk(const struct target *target)
{
    static const char *const numbers[][2] = {
        {"stalled_ms", "raft_stalled_ms"},
        {"status_age_ms", "raft_status_age_ms"},
        {"log_first", "raft_log_first_index"},
        {"log_disk_bytes", "raft_log_disk_bytes"},
        {"disk_bytes", "raft_disk_bytes"},
        {"snapshot_index", "raft_snapshot_index"},
        {"snapshot_bytes", "raft_snapshot_bytes"},
        {"snapshot_incoming_bytes", "raft_snapshot_incoming_bytes"},
        {"snapshot_incoming_size", "raft_snapshot_incoming_size"},
        {"sync_p99_us", "raft_sync_us_p99"},
        {"sync_max_us", "raft_sync_us_max"},
        {"sync_recent_us", "raft_disk_us_max_recent"},
        {"snapshot_sync_p99_us", "raft_snapshot_sync_us_p99"},
        {"snapshot_sync_max_us", "raft_snapshot_sync_us_max"},
        {"incoming_sync_p99_us", "raft_snapshot_incoming_sync_us_p99"},
        {"incoming_sync_max_us", "raft_snapshot_incoming_sync_us_max"},
        {"loop_p99_us", "raft_loop_us_p99"},
        {"loop_max_us", "raft_loop_us_max"},
        {"loop_nodisk_max_us", "raft_loop_nodisk_us_max"},
        {"loop_cpu_max_us", "raft_loop_cpu_us_max"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
        printf(",\"%s\":%" PRIu64, numbers[i][0], info_number(target, numbers[i][1]));
    bool repairing = info_number(target, "raft_repairing") != 0;
    printf(",\"repairing\":%s", repairing ? "true" : "false");
    char missing[WORD_SIZE];
    if (repairing && strcmp(info_value(target, "raft_missing_entries", missing), "unknown") != 0)
        printf(",\"missing_entries\":%s", missing);
    printf(",\"taking_snapshot\":%s",
           info_number(target, "raft_snapshot_going_on") != 0 ? "true" : "false");
}

static void print_json_target(const struct raftctl *raftctl, const struct verdict *verdict,
                              const struct target *target)
{
    printf("{\"id\":%u,", target_known_id(target));
    print_json_string("address", target->address);
    printf(",\"reachable\":%s,", target->info != NULL ? "true" : "false");
    if (target_is_valid(target)) {
        char digest[WORD_SIZE];
        print_json_string("state", target->state);
        printf(",\"term\":%" PRIu64 ",\"leader\":%u,\"commit\":%" PRIu64 ",\"applied\":%" PRIu64
               ",\"last_index\":%" PRIu64 ",",
               target->term, target->leader, target->commit,
               info_number(target, "raft_last_applied"), info_number(target, "raft_last_index"));
        print_json_string("machine_digest", info_value(target, "raft_machine_digest", digest));
        printf(",");
        print_json_string("incarnation", info_value(target, "raft_incarnation", digest));
        print_json_disk(target);
        printf(",\"full\":%s,\"recognised\":%s", is_full(target) ? "true" : "false",
               is_recognised(raftctl, verdict, target) ? "true" : "false");
    } else {
        print_json_string("trouble", target->trouble);
    }
    u64 trails;
    u64 contact_ms;
    if (progress_of(verdict, target, &trails, &contact_ms))
        printf(",\"trails\":%" PRIu64 ",\"contact_ms\":%" PRIu64, trails, contact_ms);
    printf("}");
}

/* One object on one line. What is not known is left out, and the leader is 0 when there is none. */
static void print_json(const struct raftctl *raftctl, const struct verdict *verdict)
{
    printf("{\"leader\":%u,\"term\":%" PRIu64
           ",\"voters\":%u,\"counted\":%u,\"following\":%u,\"agreed\":%s,\"writable\":%s,"
           "\"clusters\":%u,\"servers\":[",
           verdict->leader != NULL ? verdict->leader->answered_id : 0,
           verdict->leader != NULL ? verdict->leader->term : 0, verdict->voters, verdict->counted,
           verdict->following, verdict->agreed ? "true" : "false",
           verdict->writable ? "true" : "false", verdict->clusters);
    for (u32 i = 0; i < raftctl->target_count; i++) {
        if (i > 0)
            printf(",");
        print_json_target(raftctl, verdict, &raftctl->targets[i]);
    }
    printf("]}\n");
}

/* ---- the command ---- */

enum error_code status_run(struct raftctl *raftctl, struct error *error)
{
    u64 deadline_ns = clock_monotonic_ns() + raftctl->wait_ns;
    struct verdict verdict;
    for (;;) {
        ask_members(raftctl);
        verdict = judge(raftctl);
        bool content = verdict_is_good(&verdict);
        if (!raftctl->wait || content || clock_monotonic_ns() >= deadline_ns)
            break;
        struct timespec pause = {.tv_nsec = (long)(AGAIN_MS * NS_PER_MS)};
        (void)nanosleep(&pause, NULL);
    }
    if (raftctl->json)
        print_json(raftctl, &verdict);
    else
        print_table(raftctl, &verdict);
    return verdict_is_good(&verdict) ? ERROR_NONE : verdict_complain(&verdict, error);
}
