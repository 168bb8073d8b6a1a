/* reread.c - see reread.h. */
#include "server/raftd/reread.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"

enum { CHANGES_MAX = CONFIG_KEYS_MAX };

#define ANSWER_NS_MAX (5 * NS_PER_S) /* a server that stands still for longer is said */

struct change {
    const char *key;
    char *wanted; /* NULL: done with */
};

struct changes {
    struct report *report;
    const char *path;
    const char *fixed;
    u32 count;
    struct change change[CHANGES_MAX];
};

static void reread_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                          size_t size)
{
    struct reread *reread = CONTAINER_OF(sink, struct reread, sink);
    size_t kept = size >= 2 ? size - 2 : 0;
    kept = u64_min(kept, sizeof(reread->answer) - 1);
    mutex_lock(&reread->lock);
    memcpy(reread->answer, answer, kept);
    reread->answer[kept] = '\0';
    reread->answered = command->slot;
    condition_broadcast(&reread->changed);
    mutex_unlock(&reread->lock);
    command_destroy(command);
}

static void reread_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops reread_ops = {
    .answer = reread_answer,
    .flush = reread_flush,
};

void reread_init(struct reread *reread)
{
    *reread = (struct reread){.sink = {&reread_ops}};
    mutex_init(&reread->lock);
    condition_init(&reread->changed);
}

void reread_deinit(struct reread *reread)
{
    condition_deinit(&reread->changed);
    mutex_deinit(&reread->lock);
}

/* ---- what the file says otherwise ---- */

static void note_difference(void *context, const struct config_key *key, const char *now,
                            const char *wanted)
{
    struct changes *changes = context;
    if (changes->fixed != NULL && strcmp(key->name, changes->fixed) == 0) {
        REPORT(changes->report, REPORT_INFO, "raftd",
               "%s says %s %s; it stays %s, as the command line has it", changes->path, key->name,
               wanted, now);
    } else if ((key->flags & CONFIG_RUNTIME) == 0) {
        REPORT(changes->report, REPORT_WARN, "raftd",
               "%s says %s %s now; it stays %s until this server is started again", changes->path,
               key->name, wanted, now);
    } else {
        changes->change[changes->count++] = (struct change){key->name, memory_copy_string(wanted)};
    }
}

/* ---- one key ---- */

/* Returns whether the server has answered in time; then `answer` is what. */
static bool set(struct reread *reread, struct mail_slot *slot, const struct change *change,
                char *answer, size_t size)
{
    size_t key_size = strlen(change->key) + 1;
    size_t value_size = strlen(change->wanted) + 1;
    struct block *block = block_create((u32)(key_size + value_size));
    memcpy(block->data, change->key, key_size);
    memcpy(block->data + key_size, change->wanted, value_size);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    struct mail *mail = mail_create(MAIL_COMMANDS);
    struct command *command = command_create(COMMAND_SETTING, body, &reread->sink);
    u64 deadline_ns = clock_monotonic_ns() + ANSWER_NS_MAX;
    mutex_lock(&reread->lock);
    u64 number = ++reread->asked;
    mutex_unlock(&reread->lock);
    command->arrived_ns = clock_monotonic_ns();
    command->slot = number;
    command_list_put(&mail->as.commands, command);
    (void)mail_post(slot, mail);
    mutex_lock(&reread->lock);
    while (reread->answered != number &&
           condition_wait_until(&reread->changed, &reread->lock, deadline_ns))
        continue;
    bool answered = reread->answered == number;
    (void)snprintf(answer, size, "%s", answered ? reread->answer : "");
    mutex_unlock(&reread->lock);
    return answered;
}

/* Sets what can be set now; values must fit together at each moment, so that the order in which
 * they change may matter. Returns how many were. */
static u32 set_some(struct reread *reread, struct settings *settings, struct changes *changes,
                    struct mail_slot *slot)
{
    u32 count = 0;
    for (u32 i = 0; i < changes->count; i++) {
        struct change *change = &changes->change[i];
        struct error error;
        if (change->wanted == NULL ||
            settings_check(settings, change->key, change->wanted, &error) != ERROR_NONE)
            continue;
        char answer[2 * KIB];
        bool answered = set(reread, slot, change, answer, sizeof(answer));
        bool done = answered && answer[0] == '+';
        REPORT(changes->report, done ? REPORT_INFO : REPORT_ERROR, "raftd", "%s: %s %s: %s",
               changes->path, change->key, change->wanted,
               done       ? "holds from now on"
               : answered ? answer + 1
                          : "the server does not answer: what it goes by is not known");
        memory_free(change->wanted);
        change->wanted = NULL;
        count += done;
    }
    return count;
}

void reread(struct reread *reread, struct settings *settings, const char *path, const char *fixed,
            struct mail_slot *slot, struct report *report)
{
    struct changes changes = {.report = report, .path = path, .fixed = fixed};
    struct error error;
    if (settings_compare(settings, path, note_difference, &changes, &error) != ERROR_NONE) {
        REPORT(report, REPORT_ERROR, "raftd", "SIGHUP: nothing changes: %s", error.text);
        return;
    }
    u32 count = 0;
    u32 more;
    do {
        more = set_some(reread, settings, &changes, slot);
        count += more;
    } while (more > 0);
    for (u32 i = 0; i < changes.count; i++) {
        struct change *change = &changes.change[i];
        if (change->wanted == NULL ||
            settings_check(settings, change->key, change->wanted, &error) == ERROR_NONE)
            continue;
        REPORT(report, REPORT_ERROR, "raftd", "%s: %s %s was not taken: %s", path, change->key,
               change->wanted, error.text);
        memory_free(change->wanted);
    }
    REPORT(report, REPORT_INFO, "raftd", "SIGHUP: %s was read again, and changed %u settings", path,
           count);
}
