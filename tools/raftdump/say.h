/* say.h - what raftdump knows, and how it says what is wrong. Private to raftdump. */
#ifndef MAILRAFT_TOOLS_RAFTDUMP_SAY_H
#define MAILRAFT_TOOLS_RAFTDUMP_SAY_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "server/storage/log_index.h"
#include "server/storage/log_repair.h"
#include "server/storage/storage.h"

enum {
    TEXT_SIZE = 1024,
    SHOWN_BYTES = 48, /* of an argument of a command */
    SHOWN_ARGUMENTS = 8
};

/* Live entries without a gap. */
struct run {
    u64 base; /* index before the first */
    struct log_index index;
};

struct dump {
    const char *path; /* of a data directory, or of a snapshot file */
    bool entries, batches, json;

    struct vfs *vfs;
    char cluster_id[CLUSTER_ID_SIZE]; /* "": unknown */
    u64 directory_id;                 /* 0: unknown */
    u64 *ids;                         /* of the segments, ascending */
    size_t id_count, id_capacity;

    u64 damages;
    u64 log_damages; /* of those, the ones in the log, which later entries may replace */
    bool foreign;    /* a segment is of another directory */
    bool lost;       /* bytes of the log were passed over; what follows tells if any counted */
    struct entry_id acked_through; /* by the metadata: what the log lacks is still to come */
    struct rebuild rebuild;        /* what raftd makes of the log */
    struct log_index certain;      /* rebuild's */
    u64 torn_bytes;
    u64 batch_count;
    u64 sequence; /* of the batch before, 0: none */
    u64 commit_hint;
    u64 disk_bytes;
    size_t snapshot_count;
    struct entry_id snapshot; /* of the newest that is whole */
    struct entry_id last;
    struct run *runs; /* one when nothing is missing */
    size_t run_count, run_capacity;
};

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
    char safe_file[TEXT_SIZE * TEXT_ESCAPE_FACTOR];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    dump->damages++;
    if (dump->json)
        printf("{\"kind\":\"damage\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"what\":\"%s\"}\n",
               escaped(file, strlen(file), safe_file, sizeof(safe_file)), offset,
               escaped(what, strlen(what), safe, sizeof(safe)));
    else
        printf("DAMAGE    %s: offset %" PRIu64 ": %s\n", file, offset, what);
}

static void describe_members(const struct configuration *configuration, char *to, size_t to_size)
{
    size_t used = 0;
    to[0] = '\0';
    for (u32 i = 0; i < configuration->count && used < to_size - 1; i++)
        used +=
            (size_t)snprintf(to + used, to_size - used, "%s%u %s", i == 0 ? "" : ", ",
                             configuration->members[i].id, configuration->members[i].peer_address);
}

/* With which cluster it is, and the members' directories. */
static void describe_identities(const struct configuration *configuration, char *to, size_t to_size)
{
    if (configuration->feature == 0) {
        describe_members(configuration, to, to_size);
        return;
    }
    size_t used = (size_t)snprintf(to, to_size, "cluster %016" PRIx64 ", feature level %" PRIu32,
                                   configuration->incarnation, configuration->feature);
    for (u32 i = 0; i < configuration->count && used < to_size - 1; i++) {
        const struct member *member = &configuration->members[i];
        used += (size_t)snprintf(to + used, to_size - used, "%s%u %s on %016" PRIx64,
                                 i == 0 ? ": " : ", ", member->id, member->peer_address,
                                 member->directory_id);
        if (member->readmission.entry.index != 0 && used < to_size - 1)
            used +=
                (size_t)snprintf(to + used, to_size - used,
                                 " (readmitted on start %" PRIu64 " by entry %" PRIu64 ")",
                                 member->readmission.start_count, member->readmission.entry.index);
    }
}

#endif
