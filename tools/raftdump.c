/* raftdump.c - prints and verifies a data directory or a snapshot file, offline.
 *
 * Reads only, and takes no lock: it can look at a directory whose server is running (whose newest
 * batch may then look torn), or at a copy. Everything is verified; every damage is named with file,
 * offset and what is wrong, and reading goes on behind it as well as it can. The formats stand at
 * the heads of server/storage/metadata.c, segment.c and snapshot.c and in server/rules/entry.h. One
 * thread. */
#include <argp.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/memory.h"
#include "common/process.h"
#include "common/version.h"
#include "server/machine/kv.h"
#include "server/storage/log_reader.h"
#include "server/storage/scan.h"
#include "tools/raftdump/metadata.h"
#include "tools/raftdump/snapshots.h"

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

enum { KEY_ENTRIES = 'e', KEY_BATCHES = 'b', KEY_JSON = 'j' };

/* ---- entries ---- */

/* What a command does, as people write it: SET "key" "value". */
static void describe_command(const struct entry *entry, char *to, size_t to_size)
{
    struct kv_argument arguments[SHOWN_ARGUMENTS];
    enum kv_command command = KV_NONE;
    to[0] = '\0';
    if (entry->payload_size < KV_ENCODING_HEADER_SIZE)
        return;
    u32 count = kv_command_count(entry->payload);
    count =
        count > entry->payload_size / 4 ? entry->payload_size / 4 : count; /* whatever it says */
    struct kv_argument *all = arguments;
    if (count > SHOWN_ARGUMENTS)
        all = memory_alloc_zero(count, sizeof(all[0]));
    int decoded = kv_command_decode(entry->payload, entry->payload_size, &command, all, count);
    size_t used = 0;
    if (decoded >= 0)
        used += (size_t)snprintf(to, to_size, "%s", kv_command_info(command)->name);
    for (int i = 0; i < decoded && i < SHOWN_ARGUMENTS; i++) {
        char safe[SHOWN_BYTES * TEXT_ESCAPE_FACTOR + 1];
        u32 shown = all[i].size < SHOWN_BYTES ? all[i].size : SHOWN_BYTES;
        escaped(all[i].data, shown, safe, sizeof(safe));
        used += (size_t)snprintf(to + used, to_size - used, " \"%s\"%s", safe,
                                 shown < all[i].size ? "..." : "");
    }
    if (decoded > SHOWN_ARGUMENTS)
        snprintf(to + used, to_size - used, " and %d more", decoded - SHOWN_ARGUMENTS);
    if (all != arguments)
        memory_free(all);
}

static void describe_configuration(const struct entry *entry, char *to, size_t to_size)
{
    struct configuration configuration;
    struct error error;
    if (configuration_decode(entry->payload, entry->payload_size, entry->id.index, &configuration,
                             &error) == ERROR_NONE)
        describe_identities(&configuration, to, to_size);
    else
        snprintf(to, to_size, "%s", error.text);
}

static void show_entry(struct dump *dump, const struct entry *entry)
{
    char what[SHOWN_ARGUMENTS * (SHOWN_BYTES * TEXT_ESCAPE_FACTOR + 8) + TEXT_SIZE] = "";
    static char safe[sizeof(what) * TEXT_ESCAPE_FACTOR];
    switch (entry->type) {
    case ENTRY_NOOP:
        break;
    case ENTRY_CONFIGURATION:
        describe_configuration(entry, what, sizeof(what));
        break;
    case ENTRY_FEATURE:
        if (entry->payload_size == 4)
            snprintf(what, sizeof(what), "level %" PRIu32, load_u32(entry->payload));
        break;
    case ENTRY_COMMAND:
        describe_command(entry, what, sizeof(what));
        break;
    }
    const char *type = entry_type_word(entry->type);
    if (dump->json)
        printf("{\"kind\":\"entry\",\"index\":%" PRIu64 ",\"term\":%" PRIu64
               ",\"type\":\"%s\",\"time_ns\":%" PRIu64 ",\"session\":%" PRIu64
               ",\"serial\":%" PRIu64 ",\"payload_bytes\":%u,\"what\":\"%s\"}\n",
               entry->id.index, entry->id.term, type, entry->time_ns, entry->session, entry->serial,
               entry->payload_size, escaped(what, strlen(what), safe, sizeof(safe)));
    else
        printf("entry     %" PRIu64 " term %" PRIu64 " %s %u bytes%s%s\n", entry->id.index,
               entry->id.term, type, entry->payload_size, what[0] != '\0' ? ": " : "", what);
}

static void dump_run(struct dump *dump, const struct run *run)
{
    struct buffer records;
    buffer_init(&records);
    for (u64 next = run->base + 1; next <= run->index.last;) {
        struct log_row row;
        struct error error;
        u64 end = 0;
        u32 count = 0;
        if (!log_index_find(&run->index, next, &row, &end))
            break;
        buffer_clear(&records);
        if (log_read_row(dump->vfs, dump->directory_id, &row, next, end, MIB, &records, &count,
                         &error) != ERROR_NONE)
            break; /* named as damage while the segment was verified */
        for (size_t at = 0; at < records.size;) {
            struct entry entry;
            at += record_peek(records.data + at, &entry);
            show_entry(dump, &entry);
        }
        next += count;
    }
    buffer_deinit(&records);
}

/* ---- segments ---- */

static void show_batch(const struct dump *dump, const struct scan *scan)
{
    const struct batch *batch = &scan->batch;
    u64 last = batch_last(batch).index;
    if (dump->json)
        printf("{\"kind\":\"batch\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"sequence\":%" PRIu64
               ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"last_term\":%" PRIu64
               ",\"bytes\":%u,\"commit_hint\":%" PRIu64 "}\n",
               scan->path, scan->offset, batch->sequence, batch->first, last, batch->last_term,
               batch->size, batch->commit_hint);
    else
        printf("batch     %s: offset %" PRIu64 ": number %" PRIu64 ", entries %" PRIu64 "..%" PRIu64
               ", last term %" PRIu64 ", %u bytes, commit hint %" PRIu64 "\n",
               scan->path, scan->offset, batch->sequence, batch->first, last, batch->last_term,
               batch->size, batch->commit_hint);
}

static void begin_run(struct dump *dump, u64 base)
{
    if (dump->run_count == dump->run_capacity) {
        dump->run_capacity = dump->run_capacity * 2 + 4;
        dump->runs = memory_resize(dump->runs, dump->run_capacity * sizeof(dump->runs[0]));
    }
    struct run *run = &dump->runs[dump->run_count++];
    run->base = base;
    log_index_init(&run->index);
    log_index_reset(&run->index, base);
}

/* Forgets the runs that begin behind `last`: they were replaced. */
static void drop_runs(struct dump *dump, u64 last)
{
    while (dump->run_count > 0 && dump->runs[dump->run_count - 1].base > last)
        log_index_deinit(&dump->runs[--dump->run_count].index);
}

/* Follows what is live. Where entries are missing before a batch, it begins another run. */
static void follow_batch(struct dump *dump, const struct scan *scan)
{
    const struct batch *batch = &scan->batch;
    u64 before = batch->first - 1;
    bool beginning = batch->count == 0 && batch->records_crc == BATCH_BEGINNING;
    drop_runs(dump, before);
    u64 last = dump->run_count == 0 ? 0 : dump->runs[dump->run_count - 1].index.last;
    if (beginning || (batch->count == 0 && before > last)) {
        while (dump->run_count > 0)
            log_index_deinit(&dump->runs[--dump->run_count].index);
    } else if (dump->run_count > 0 && before > last) {
        damage(dump, scan->path, scan->offset,
               "the batch begins with entry %" PRIu64 ", but the log before it ends with %" PRIu64,
               batch->first, last);
        begin_run(dump, before);
    }
    if (dump->run_count == 0)
        begin_run(dump, before);
    struct log_index *index = &dump->runs[dump->run_count - 1].index;
    if (batch->count > 0)
        log_index_add(index, batch->first, batch->count, scan->info.id, scan->offset);
    else
        log_index_truncate(index, before);
}

static void take_batch(struct dump *dump, const struct scan *scan)
{
    const struct batch *batch = &scan->batch;
    struct entry first = {0};
    if (batch->count > 0)
        (void)record_peek(scan->data + BATCH_HEADER_SIZE, &first);
    rebuild_take(&dump->rebuild, batch, first.id, scan->info.id, scan->offset);
    dump->lost = false; /* its number has told */
    dump->batch_count++;
    dump->sequence = batch->sequence;
    dump->commit_hint = u64_max(dump->commit_hint, batch->commit_hint);
    dump->last = batch_last(batch);
    if (dump->batches)
        show_batch(dump, scan);
    follow_batch(dump, scan);
}

/* Bytes behind the last batch that belong to none, and behind which there is no batch. */
static void show_torn(struct dump *dump, const struct scan *scan)
{
    u64 size = scan->used_end - scan->offset;
    dump->torn_bytes += size;
    if (dump->json)
        printf("{\"kind\":\"torn\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"what\":\"%s\"}\n",
               scan->path, scan->offset, size, scan->why);
    else
        printf("torn      %s: offset %" PRIu64 ": %" PRIu64
               " bytes of an unfinished write (%s); raftd cuts them at its next start\n",
               scan->path, scan->offset, size, scan->why);
}

static void show_segment(const struct dump *dump, const struct scan *scan, u64 batches)
{
    if (dump->json)
        printf("{\"kind\":\"segment\",\"file\":\"%s\",\"id\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"used\":%" PRIu64 ",\"batches\":%" PRIu64 "}\n",
               scan->path, scan->info.id, scan->info.size, scan->next, batches);
    else
        printf("segment   %s: %" PRIu64 " of %" PRIu64 " bytes used, %" PRIu64 " batches\n",
               scan->path, scan->next, scan->info.size, batches);
}

/* Whether batches follow in a segment behind this one: a look at its first header. */
static bool batches_follow(struct dump *dump, u64 id)
{
    bool follow = false;
    for (size_t i = 0; i < dump->id_count && !follow; i++) {
        if (dump->ids[i] <= id)
            continue;
        struct scan scan;
        struct error error;
        enum scan_found found = SCAN_END;
        if (scan_open(&scan, dump->vfs, dump->ids[i], 0, &error) == ERROR_NONE &&
            scan_next(&scan, &found, &error) == ERROR_NONE)
            follow = found == SCAN_BATCH;
        scan_close(&scan);
    }
    return follow;
}

static enum error_code dump_batches(struct dump *dump, struct scan *scan, struct error *error)
{
    u64 batches = 0;
    for (;;) {
        enum scan_found found;
        enum error_code code = scan_next(scan, &found, error);
        if (code != ERROR_NONE)
            return code;
        switch (found) {
        case SCAN_BATCH:
            batches++;
            take_batch(dump, scan);
            continue;
        case SCAN_END:
            break;
        case SCAN_TORN:
            if (batches_follow(dump, scan->info.id))
                damage(dump, scan->path, scan->offset, "%s, and batches follow in another segment",
                       scan->why);
            else
                show_torn(dump, scan);
            break;
        case SCAN_DAMAGED:
            damage(dump, scan->path, scan->offset, "%s", scan->why);
            if (scan->header_valid && !scan->sequence_gap)
                dump->sequence = scan->batch.sequence;
            if (!scan->sequence_gap && (scan->header_valid || scan->trailer_valid))
                rebuild_lose(&dump->rebuild, &scan->batch);
            else if (!scan->sequence_gap)
                dump->lost = true;
            if (scan_skip(scan))
                continue;
            break;
        }
        show_segment(dump, scan, batches);
        return ERROR_NONE;
    }
}

static enum error_code dump_segment(struct dump *dump, u64 id, struct error *error)
{
    struct scan scan;
    u64 sequence = dump->sequence == 0 ? 0 : dump->sequence + 1;
    enum error_code code = scan_open(&scan, dump->vfs, id, sequence, error);
    if (code == ERROR_CORRUPT || code == ERROR_MISMATCH) {
        damage(dump, scan.path, scan.offset, "%s", scan.why);
        dump->lost = true;
        dump->sequence = 0; /* whatever comes next is the next that can be read */
        code = ERROR_NONE;
    } else if (code == ERROR_MISSING && dump->batch_count == 0) {
        code = ERROR_NONE; /* a running server has let it go since the directory was listed */
    } else if (code == ERROR_NONE) {
        dump->disk_bytes += scan.info.size;
        bool foreign = dump->directory_id != 0 && scan.info.directory_id != dump->directory_id;
        dump->foreign |= foreign;
        if (foreign)
            damage(dump, scan.path, 32, "the segment is of directory %016" PRIx64,
                   scan.info.directory_id);
        code = dump_batches(dump, &scan, error);
    }
    scan_close(&scan);
    return code;
}

static void collect_id(void *context, const char *name)
{
    struct dump *dump = context;
    u64 id;
    if (!segment_name_parse(name, &id))
        return;
    if (dump->id_count == dump->id_capacity) {
        dump->id_capacity = dump->id_capacity * 2 + 16;
        dump->ids = memory_resize(dump->ids, dump->id_capacity * sizeof(dump->ids[0]));
    }
    dump->ids[dump->id_count++] = id;
}

static int compare_ids(const void *left, const void *right)
{
    const u64 *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static enum error_code dump_log(struct dump *dump, struct error *error)
{
    enum error_code code = vfs_list(dump->vfs, "log", collect_id, dump, error);
    if (code == ERROR_MISSING) {
        damage(dump, "log", 0, "the directory is missing");
        return ERROR_NONE;
    }
    if (code == ERROR_NONE && dump->id_count == 0)
        damage(dump, "log", 0, "there is no segment");
    if (dump->id_count > 1)
        qsort(dump->ids, dump->id_count, sizeof(dump->ids[0]), compare_ids);
    for (size_t i = 0; i < dump->id_count && code == ERROR_NONE; i++) {
        u64 expected = i == 0 ? dump->ids[0] : dump->ids[i - 1] + 1;
        if (dump->ids[i] != expected) {
            char path[SEGMENT_PATH_SIZE];
            segment_path(expected, path);
            damage(dump, path, 0, "missing: %" PRIu64 " segments from this one on",
                   dump->ids[i] - expected);
            dump->lost = true;
            dump->sequence = 0;
        }
        code = dump_segment(dump, dump->ids[i], error);
    }
    return code;
}

/* As raftd does it at its start: whatever is damaged in the log, later entries may have replaced.
 */
static enum error_code judge_log(struct dump *dump, struct error *error)
{
    u64 before = dump->damages;
    rebuild_init(&dump->rebuild, &dump->certain);
    enum error_code code = dump_log(dump, error);
    dump->log_damages = dump->damages - before;
    if (dump->lost)
        rebuild_lose_unknown(&dump->rebuild);
    return code;
}

/* ---- all of it ---- */

static bool is_replaced(const struct dump *dump)
{
    return dump->log_damages > 0 && dump->rebuild.damaged_first == 0 &&
           dump->rebuild.sequence != 0 && dump->acked_through.index == 0 && !dump->foreign;
}

static bool is_damaged(const struct dump *dump)
{
    return dump->damages > (is_replaced(dump) ? dump->log_damages : 0);
}

/* "first entry 1, last entry 7 of term 2", or that there is none. */
static void print_range(const struct dump *dump, u64 first)
{
    if (first == 0)
        printf("no entries");
    else if (first > dump->last.index)
        printf("empty behind entry %" PRIu64 " of term %" PRIu64, dump->last.index,
               dump->last.term);
    else
        printf("first entry %" PRIu64 ", last entry %" PRIu64 " of term %" PRIu64, first,
               dump->last.index, dump->last.term);
}

static void show_summary(const struct dump *dump)
{
    const char *verdict = is_damaged(dump) ? "damaged" : dump->torn_bytes > 0 ? "torn" : "whole";
    u64 first = dump->run_count == 0 ? 0 : dump->runs[0].base + 1;
    if (dump->json)
        printf("{\"kind\":\"summary\",\"snapshots\":%zu,\"snapshot_index\":%" PRIu64
               ",\"segments\":%zu,\"disk_bytes\":%" PRIu64 ",\"batches\":%" PRIu64
               ",\"first_index\":%" PRIu64 ",\"last_index\":%" PRIu64 ",\"last_term\":%" PRIu64
               ",\"commit_hint\":%" PRIu64 ",\"torn_bytes\":%" PRIu64 ",\"damages\":%" PRIu64
               ",\"verdict\":\"%s\"}\n",
               dump->snapshot_count, dump->snapshot.index, dump->id_count, dump->disk_bytes,
               dump->batch_count, first, dump->last.index, dump->last.term, dump->commit_hint,
               dump->torn_bytes, dump->damages, verdict);
    if (dump->json)
        return;
    printf("log       %zu segments, %" PRIu64 " bytes, %" PRIu64 " batches, ", dump->id_count,
           dump->disk_bytes, dump->batch_count);
    print_range(dump, first);
    printf(", commit hint %" PRIu64 "\nverdict   %s%s\n", dump->commit_hint, verdict,
           is_damaged(dump)       ? ": see the lines that begin with DAMAGE"
           : dump->damages > 0    ? ": what is damaged was replaced by later entries"
           : dump->torn_bytes > 0 ? ", which is ordinary after a crash"
                                  : "");
}

/* Snapshots are looked at behind the log: a server that is running removes segments only when a
 * snapshot stands for them, so the newest reaches what the log began with. */
static enum error_code dump_contents(struct dump *dump, struct error *error)
{
    enum error_code code = dump_metadata(dump, error);
    if (code == ERROR_MISSING)
        error_set(error, code, "%s is no data directory: it has no metadata", dump->path);
    if (code == ERROR_NONE)
        code = judge_log(dump, error);
    if (code == ERROR_NONE)
        code = dump_snapshots(dump, error);
    if (code != ERROR_NONE)
        return code;
    if (dump->run_count > 0 && dump->runs[0].base > dump->snapshot.index)
        damage(dump, "log", 0,
               "it begins with entry %" PRIu64 ", and there is no whole snapshot that reaches so "
               "far",
               dump->runs[0].base + 1);
    for (size_t i = 0; i < dump->run_count && dump->entries; i++)
        dump_run(dump, &dump->runs[i]);
    show_summary(dump);
    return ERROR_NONE;
}

static enum error_code dump_directory(struct dump *dump, struct error *error)
{
    enum error_code code = vfs_posix_create(dump->path, &dump->vfs, error);
    if (code != ERROR_NONE)
        return code;
    log_index_init(&dump->certain);
    code = dump_contents(dump, error);
    while (dump->run_count > 0)
        log_index_deinit(&dump->runs[--dump->run_count].index);
    log_index_deinit(&dump->certain);
    memory_free(dump->runs);
    memory_free(dump->ids);
    vfs_posix_destroy(dump->vfs);
    return code;
}

/* A snapshot by itself, such as a backup. */
static enum error_code dump_file(struct dump *dump, struct error *error)
{
    const char *slash = strrchr(dump->path, '/');
    char *directory = memory_copy_string(slash == NULL ? "." : dump->path);
    if (slash != NULL)
        directory[slash == dump->path ? 1 : slash - dump->path] = '\0';
    struct vfs *vfs;
    enum error_code code = vfs_posix_create(directory, &vfs, error);
    if (code == ERROR_NONE) {
        code = dump_snapshot(dump, vfs, slash == NULL ? dump->path : slash + 1, NULL, error);
        vfs_posix_destroy(vfs);
    }
    memory_free(directory);
    return code;
}

static enum error_code dump_path(struct dump *dump, struct error *error)
{
    struct stat status;
    if (stat(dump->path, &status) == 0 && S_ISREG(status.st_mode))
        return dump_file(dump, error);
    return dump_directory(dump, error);
}

/* ---- the command line ---- */

static const struct argp_option option_table[] = {
    {"entries", KEY_ENTRIES, NULL, 0, "Show every live entry", 0},
    {"batches", KEY_BATCHES, NULL, 0, "Show every batch, superseded ones too", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object a line instead of text", 0},
    {0}};

static const char documentation[] =
    "Verify the data directory DIR of a server, or the snapshot FILE, and print what it holds, "
    "without changing anything.\n"
    "\v"
    "Every damage is a line that begins with DAMAGE (with --json, an object of kind \"damage\") "
    "and names file, offset and what is wrong. A torn tail, what a crash left of a write that was "
    "never finished, is no damage.\n\n"
    "Exit status: 0 all is whole (or has a torn tail, or what is damaged in the log was replaced "
    "by "
    "later entries, as after a repair); 65 something is damaged; 64 wrong usage; "
    "66 DIR is no data directory, or FILE is missing; 74 it cannot be read.";

static error_t option_parse(int key, char *argument, struct argp_state *state)
{
    struct dump *dump = state->input;
    switch (key) {
    case KEY_ENTRIES:
        dump->entries = true;
        return 0;
    case KEY_BATCHES:
        dump->batches = true;
        return 0;
    case KEY_JSON:
        dump->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (dump->path != NULL)
            argp_error(state, "more than one directory or file: %s", argument);
        dump->path = argument;
        return 0;
    case ARGP_KEY_END:
        if (dump->path == NULL)
            argp_error(state, "which directory or file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argument_count, char **arguments)
{
    static const struct argp parser = {.options = option_table,
                                       .parser = option_parse,
                                       .args_doc = "DIR\nFILE",
                                       .doc = documentation};
    struct dump dump = {.path = NULL};
    struct error error = {.code = ERROR_NONE};
    process_begin("raftdump");
    argp_err_exit_status = error_exit_code(ERROR_USAGE);
    argp_parse(&parser, argument_count, arguments, 0, NULL, &dump);
    enum error_code code = dump_path(&dump, &error);
    if (code != ERROR_NONE)
        error_print("raftdump", &error);
    else if (is_damaged(&dump))
        code = ERROR_CORRUPT;
    return error_exit_code(code);
}
