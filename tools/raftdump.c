/* raftdump.c - prints and verifies a data directory, offline.
 *
 * Reads only, and takes no lock: it can look at a directory whose server is running (whose newest
 * batch may then look torn), or at a copy. Everything is verified; every damage is named with file,
 * offset and what is wrong, and reading goes on behind it as well as it can. The formats stand at
 * the heads of server/storage/metadata.c and segment.c and in server/rules/entry.h. One thread. */
#include <argp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "common/text.h"
#include "server/machine/kv.h"
#include "server/storage/log_index.h"
#include "server/storage/log_reader.h"
#include "server/storage/metadata.h"
#include "server/storage/scan.h"

enum {
    KEY_ENTRIES = 'e',
    KEY_BATCHES = 'b',
    KEY_JSON = 'j',
    TEXT_SIZE = 1024,
    SHOWN_BYTES = 48, /* of an argument of a command */
    SHOWN_ARGUMENTS = 8
};

struct dump {
    const char *directory;
    bool entries, batches, json;

    struct vfs *vfs;
    u64 directory_id; /* 0: unknown */
    u64 *ids;         /* of the segments, ascending */
    size_t id_count, id_capacity;

    u64 damages;
    u64 torn_bytes;
    u64 batch_count;
    u64 sequence; /* of the batch before, 0: none */
    u64 commit_hint;
    u64 disk_bytes;
    struct entry_id last;
    struct log_index index; /* of what is live, as far as there was no gap */
    bool gap;               /* the index says no more */
};

/* ---- saying ---- */

/* The inside of a JSON string, cut to what fits. */
static const char *escaped(const void *data, size_t size, char *to, size_t to_size)
{
    size_t room = (to_size - 1) / TEXT_ESCAPE_FACTOR;
    size_t used = text_escape(to, data, size < room ? size : room);
    to[used] = '\0';
    return to;
}

/* One thing that is wrong. It goes to standard output, as all that was asked for. */
static void damage(struct dump *dump, const char *file, u64 offset, const char *format, ...)
    PRINTF_LIKE(4, 5);

static void damage(struct dump *dump, const char *file, u64 offset, const char *format, ...)
{
    char what[TEXT_SIZE], safe[TEXT_SIZE * TEXT_ESCAPE_FACTOR];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    dump->damages++;
    if (dump->json)
        printf("{\"kind\":\"damage\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"what\":\"%s\"}\n",
               file, offset, escaped(what, strlen(what), safe, sizeof(safe)));
    else
        printf("DAMAGE    %s: offset %" PRIu64 ": %s\n", file, offset, what);
}

/* ---- metadata ---- */

static void show_slot(const struct dump *dump, int slot, const struct metadata *metadata,
                      u64 version)
{
    if (dump->json)
        printf("{\"kind\":\"metadata\",\"slot\":\"%c\",\"version\":%" PRIu64
               ",\"cluster_id\":\"%s\",\"server\":%u,\"directory_id\":\"%016" PRIx64
               "\",\"starts\":%" PRIu64 ",\"term\":%" PRIu64
               ",\"voted_for\":%u,\"seed_crc\":\"%08x\",\"non_voter\":%s,\"promised_term\":%" PRIu64
               ",\"promised_index\":%" PRIu64 "}\n",
               'A' + slot, version, metadata->cluster_id, metadata->self, metadata->directory_id,
               metadata->start_count, metadata->current_term, metadata->voted_for,
               metadata->seed_crc, metadata->non_voter ? "true" : "false", metadata->promised.term,
               metadata->promised.index);
    else
        printf("metadata  slot %c: version %" PRIu64
               ", cluster %s, server %u, directory %016" PRIx64 ", %" PRIu64
               " starts, term %" PRIu64 ", voted for %u%s\n",
               'A' + slot, version, metadata->cluster_id, metadata->self, metadata->directory_id,
               metadata->start_count, metadata->current_term, metadata->voted_for,
               metadata->non_voter ? ", may not vote" : "");
}

static enum error_code dump_metadata(struct dump *dump, struct error *error)
{
    struct vfs_file *file = NULL;
    u64 newest = 0;
    enum error_code code = vfs_open(dump->vfs, "metadata", VFS_READ, &file, error);
    for (int slot = 0; slot < METADATA_SLOTS && code == ERROR_NONE; slot++) {
        u8 bytes[METADATA_SLOT_SIZE] = {0};
        size_t got;
        u64 offset = (u64)slot * METADATA_SLOT_PLACE, version;
        struct metadata metadata;
        const char *why;
        code = vfs_read_at(file, bytes, sizeof(bytes), offset, &got, error);
        if (code != ERROR_NONE)
            break;
        if (metadata_slot_decode(bytes, &metadata, &version, &why) != ERROR_NONE) {
            damage(dump, "metadata", offset, "slot %c is not valid: %s", 'A' + slot, why);
            continue;
        }
        show_slot(dump, slot, &metadata, version);
        if (version > newest) {
            newest = version;
            dump->directory_id = metadata.directory_id;
        }
    }
    vfs_close(file);
    return code;
}

/* ---- entries ---- */

/* What a command does, as people write it: SET "key" "value". */
static void describe_command(const struct entry *entry, char *to, size_t to_size)
{
    struct kv_argument arguments[SHOWN_ARGUMENTS];
    enum kv_command command = KV_NONE;
    to[0] = '\0';
    if (entry->payload_size < 4)
        return;
    u32 count = load_u16(entry->payload + 2);
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
    size_t used = 0;
    to[0] = '\0';
    if (configuration_decode(entry->payload, entry->payload_size, entry->id.index, &configuration,
                             &error) != ERROR_NONE) {
        snprintf(to, to_size, "%s", error.text);
        return;
    }
    for (u32 i = 0; i < configuration.count && used < to_size - 1; i++)
        used +=
            (size_t)snprintf(to + used, to_size - used, "%s%u %s", i == 0 ? "" : ", ",
                             configuration.members[i].id, configuration.members[i].peer_address);
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

/* Shows every live entry in order, as far as the log has no gap. */
static void dump_entries(struct dump *dump)
{
    struct buffer records;
    buffer_init(&records);
    for (u64 next = 1; next <= dump->index.last;) {
        struct log_row row;
        struct error error;
        u64 end = 0;
        u32 count = 0;
        if (!log_index_find(&dump->index, next, &row, &end))
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

static void take_batch(struct dump *dump, const struct scan *scan)
{
    const struct batch *batch = &scan->batch;
    dump->batch_count++;
    dump->sequence = batch->sequence;
    dump->commit_hint = u64_max(dump->commit_hint, batch->commit_hint);
    dump->last = batch_last(batch);
    if (dump->batches)
        show_batch(dump, scan);
    if (batch->first > dump->index.last + 1 && !dump->gap) {
        dump->gap = true;
        damage(dump, scan->path, scan->offset,
               "the batch begins with entry %" PRIu64 ", but the log before it ends with %" PRIu64,
               batch->first, dump->index.last);
    }
    if (!dump->gap)
        log_index_add(&dump->index, batch->first, batch->count, scan->info.id, scan->offset);
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
        dump->sequence = 0; /* whatever comes next is the next that can be read */
        code = ERROR_NONE;
    } else if (code == ERROR_NONE) {
        dump->disk_bytes += scan.info.size;
        if (dump->directory_id != 0 && scan.info.directory_id != dump->directory_id)
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
            dump->sequence = 0;
        }
        code = dump_segment(dump, dump->ids[i], error);
    }
    return code;
}

static void show_summary(const struct dump *dump)
{
    const char *verdict = dump->damages > 0 ? "damaged" : dump->torn_bytes > 0 ? "torn" : "whole";
    if (dump->json)
        printf("{\"kind\":\"summary\",\"segments\":%zu,\"disk_bytes\":%" PRIu64
               ",\"batches\":%" PRIu64 ",\"last_index\":%" PRIu64 ",\"last_term\":%" PRIu64
               ",\"commit_hint\":%" PRIu64 ",\"torn_bytes\":%" PRIu64 ",\"damages\":%" PRIu64
               ",\"verdict\":\"%s\"}\n",
               dump->id_count, dump->disk_bytes, dump->batch_count, dump->last.index,
               dump->last.term, dump->commit_hint, dump->torn_bytes, dump->damages, verdict);
    else
        printf("log       %zu segments, %" PRIu64 " bytes, %" PRIu64 " batches, last entry %" PRIu64
               " of term %" PRIu64 ", commit hint %" PRIu64 "\n"
               "verdict   %s%s\n",
               dump->id_count, dump->disk_bytes, dump->batch_count, dump->last.index,
               dump->last.term, dump->commit_hint, verdict,
               dump->damages > 0      ? ": see the lines that begin with DAMAGE"
               : dump->torn_bytes > 0 ? ", which is ordinary after a crash"
                                      : "");
}

static enum error_code dump_directory(struct dump *dump, struct error *error)
{
    enum error_code code = vfs_posix_create(dump->directory, &dump->vfs, error);
    if (code != ERROR_NONE)
        return code;
    log_index_init(&dump->index);
    code = dump_metadata(dump, error);
    if (code == ERROR_MISSING)
        error_set(error, code, "%s is no data directory: it has no metadata", dump->directory);
    if (code == ERROR_NONE)
        code = dump_log(dump, error);
    if (code == ERROR_NONE && dump->entries)
        dump_entries(dump);
    if (code == ERROR_NONE)
        show_summary(dump);
    log_index_deinit(&dump->index);
    memory_free(dump->ids);
    vfs_posix_destroy(dump->vfs);
    return code;
}

/* ---- the command line ---- */

static const struct argp_option option_table[] = {
    {"entries", KEY_ENTRIES, NULL, 0, "Show every live entry", 0},
    {"batches", KEY_BATCHES, NULL, 0, "Show every batch, superseded ones too", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object a line instead of text", 0},
    {0}};

static const char documentation[] =
    "Verify the data directory DIR of a server and print what it holds, without changing "
    "anything.\n"
    "\v"
    "Every damage is a line that begins with DAMAGE (with --json, an object of kind \"damage\") "
    "and names file, offset and what is wrong. A torn tail, what a crash left of a write that was "
    "never finished, is no damage.\n\n"
    "Exit status: 0 all is whole (or has a torn tail); 65 something is damaged; 64 wrong usage; "
    "66 DIR is no data directory; 74 it cannot be read.";

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
        if (dump->directory != NULL)
            argp_error(state, "more than one directory: %s", argument);
        dump->directory = argument;
        return 0;
    case ARGP_KEY_END:
        if (dump->directory == NULL)
            argp_error(state, "which directory?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argument_count, char **arguments)
{
    static const struct argp parser = {
        .options = option_table, .parser = option_parse, .args_doc = "DIR", .doc = documentation};
    struct dump dump = {.directory = NULL};
    struct error error = {.code = ERROR_NONE};
    argp_err_exit_status = error_exit_code(ERROR_USAGE);
    argp_parse(&parser, argument_count, arguments, 0, NULL, &dump);
    enum error_code code = dump_directory(&dump, &error);
    if (code != ERROR_NONE)
        fprintf(stderr, "raftdump: %s\n", error.text);
    else if (dump.damages > 0)
        code = ERROR_CORRUPT;
    if (fflush(stdout) != 0 && code == ERROR_NONE)
        code = ERROR_IO;
    return error_exit_code(code);
}
