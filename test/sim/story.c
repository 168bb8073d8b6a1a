/* story.c - see story.h. */
#include "test/sim/story.h"

#include <inttypes.h>
#include <string.h>

#include "test/sim/inside.h"

#define U64 "%" PRIu64

enum { COLUMN_WIDTH = 24 };

/* ---- events in words ---- */

static const char *refusal_word(u64 result)
{
    return result == APPEND_REFUSED_TERM       ? "term"
           : result == APPEND_REFUSED_CONFLICT ? "conflict"
                                               : "space";
}

static const char *install_word(u64 result)
{
    switch ((enum install_result)result) {
    case INSTALL_CONTINUE:
        return "goes on at";
    case INSTALL_DONE:
        return "done:";
    case INSTALL_BUSY:
        return "busy, at";
    case INSTALL_NO_SPACE:
        return "no space, at";
    case INSTALL_REFUSED_TERM:
        return "refused: term,";
    }
    return "?";
}

static void message_words(const struct story_event *event, char *text, size_t size)
{
    bool sent = event->kind == STORY_SENT;
    const char *word = message_kind_word(event->message);
    int used =
        snprintf(text, size, "%s %s%u t" U64, word, sent ? "to " : "from ", event->peer, event->a);
    if (used < 0 || (size_t)used >= size)
        return;
    text += used;
    size -= (size_t)used;
    switch (event->message) {
    case MESSAGE_APPEND_ENTRIES:
        (void)snprintf(text, size, " after " U64 " +" U64, event->b, event->c);
        break;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        if (event->b == APPEND_ACCEPTED)
            (void)snprintf(text, size, " ok " U64, event->c);
        else
            (void)snprintf(text, size, " refused: %s " U64, refusal_word(event->b), event->c);
        break;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        (void)snprintf(text, size, event->b != 0 ? " yes" : " no");
        break;
    case MESSAGE_INSTALL_SNAPSHOT:
        (void)snprintf(text, size, " of " U64 " at " U64, event->b, event->c);
        break;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        (void)snprintf(text, size, " %s " U64, install_word(event->b), event->c);
        break;
    case MESSAGE_NONE:
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
    case MESSAGE_FORWARD:
    case MESSAGE_FORWARD_REPLY:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_UNRECOGNISED:
    case MESSAGE_KIND_END:
        break;
    }
}

static void event_words(const struct story_event *event, char *text, size_t size)
{
    switch (event->kind) {
    case STORY_SENT:
    case STORY_RECEIVED:
        message_words(event, text, size);
        return;
    case STORY_BECAME:
        (void)snprintf(text, size, "%s of term " U64, raft_state_word((enum raft_state)event->a),
                       event->b);
        return;
    case STORY_LOG:
        (void)snprintf(text, size, "log " U64 "..." U64 " (term " U64 ")", event->a + 1, event->b,
                       event->c);
        if (event->b <= event->a)
            (void)snprintf(text, size, "log cut to " U64, event->b);
        return;
    case STORY_COMMITTED:
        (void)snprintf(text, size, "commit " U64, event->a);
        return;
    case STORY_SYNCED:
        (void)snprintf(text, size, "sync");
        return;
    case STORY_NOTE:
        (void)snprintf(text, size, "%s", event->text);
        return;
    case STORY_NONE:
        break;
    }
    (void)snprintf(text, size, "?");
}

/* ---- columns ---- */

static int time_words(u64 time_ns, char *text, size_t size)
{
    return snprintf(text, size, "%5llu.%06llu ", (unsigned long long)(time_ns / NS_PER_S),
                    (unsigned long long)(time_ns % NS_PER_S / NS_PER_US));
}

static void tell(struct cluster *cluster, server_id server, const char *words)
{
    char line[1024];
    int used = time_words(cluster->world.now_ns, line, sizeof(line));
    u32 width = server == SERVER_NONE ? 0 : (server - 1) * COLUMN_WIDTH;
    const char *mark = server == SERVER_NONE ? "== " : "";
    used += snprintf(line + used, sizeof(line) - (size_t)used, "%*s%s%s\n", (int)width, "", mark,
                     words);
    if (used >= (int)sizeof(line))
        used = (int)sizeof(line) - 1;
    cluster->config.story(cluster->config.story_context, line, (size_t)used);
}

/* What people want to read: not each heartbeat, and not each sync. */
static bool is_told(const struct story_event *event)
{
    switch (event->kind) {
    case STORY_SENT:
        return event->message != MESSAGE_APPEND_ENTRIES_REPLY &&
               (event->message != MESSAGE_APPEND_ENTRIES || event->c > 0);
    case STORY_RECEIVED:
    case STORY_SYNCED:
    case STORY_NONE:
        return false;
    case STORY_BECAME:
    case STORY_LOG:
    case STORY_COMMITTED:
    case STORY_NOTE:
        return true;
    }
    return false;
}

void story_add(struct cluster *cluster, server_id server, const struct story_event *event)
{
    struct story *story = &cluster->story;
    struct story_event *kept = &story->events[server][story->counts[server]++ % STORY_EVENTS];
    *kept = *event;
    kept->time_ns = cluster->world.now_ns;
    if (cluster->config.story == NULL || !is_told(event))
        return;
    char words[128];
    event_words(event, words, sizeof(words));
    tell(cluster, server, words);
}

static void trace_plain(struct cluster *cluster, server_id server, const char *key,
                        const char *value)
{
    if (cluster->config.trace == NULL)
        return;
    char line[1024];
    int size = snprintf(line, sizeof(line), "{\"name\":\"%s\",\"nid\":\"%u\",\"t\":" U64, key,
                        server, cluster->world.now_ns);
    if (value != NULL) {
        size += snprintf(line + size, sizeof(line) - (size_t)size, ",\"text\":\"");
        for (; *value != '\0' && size < (int)sizeof(line) - 8; value++) {
            if (*value == '"' || *value == '\\')
                line[size++] = '\\';
            line[size++] = (unsigned char)*value < ' ' ? ' ' : *value;
        }
        line[size++] = '"';
    }
    line[size++] = '}';
    line[size++] = '\n';
    cluster->config.trace(cluster->config.trace_context, line, (size_t)size);
}

void story_note(struct cluster *cluster, server_id server, const char *name)
{
    struct story_event event = {.kind = STORY_NOTE, .text = name};
    story_add(cluster, server, &event);
    trace_plain(cluster, server, name, NULL);
}

void cluster_say(struct cluster *cluster, const char *line)
{
    trace_plain(cluster, SERVER_NONE, "Scenario", line);
    if (cluster->config.story != NULL)
        tell(cluster, SERVER_NONE, line);
}

void story_message(struct cluster *cluster, server_id server, enum story_kind kind,
                   const struct message *message)
{
    struct story_event event = {.kind = kind,
                                .message = message->kind,
                                .peer = kind == STORY_SENT ? message->to : message->from,
                                .a = message->term};
    switch (message->kind) {
    case MESSAGE_APPEND_ENTRIES:
        event.b = message->as.append_request.prev.index;
        event.c = message->as.append_request.count;
        break;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        event.b = (u64)message->as.append_reply.result;
        event.c = message->as.append_reply.result == APPEND_ACCEPTED
                      ? message->as.append_reply.match_index
                      : message->as.append_reply.conflict.index;
        break;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        event.b = message->as.vote_reply.granted;
        break;
    case MESSAGE_INSTALL_SNAPSHOT:
        event.b = message->as.install_request.last.index;
        event.c = message->as.install_request.offset;
        break;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        event.b = (u64)message->as.install_reply.result;
        event.c = message->as.install_reply.next_offset;
        break;
    case MESSAGE_NONE:
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
    case MESSAGE_FORWARD:
    case MESSAGE_FORWARD_REPLY:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_UNRECOGNISED:
    case MESSAGE_KIND_END:
        break;
    }
    story_add(cluster, server, &event);
}

void story_print_last(const struct cluster *cluster, cluster_set servers, FILE *to)
{
    const struct story *story = &cluster->story;
    for (server_id id = 0; id <= cluster->count; id++) {
        u64 count = story->counts[id];
        if ((id != SERVER_NONE && !cluster_set_has(servers, id)) || count == 0)
            continue;
        (void)fprintf(to, id == SERVER_NONE ? "  world\n" : "  server %u\n", id);
        for (u64 i = count > STORY_EVENTS ? count - STORY_EVENTS : 0; i < count; i++) {
            const struct story_event *event = &story->events[id][i % STORY_EVENTS];
            char time[32];
            char words[128];
            (void)time_words(event->time_ns, time, sizeof(time));
            event_words(event, words, sizeof(words));
            (void)fprintf(to, "  %s%s%s\n", time, event->kind == STORY_RECEIVED ? "got " : "",
                          words);
        }
    }
}
