/* differential_words.c - schedules and messages as text. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "server/peers/codec.h"
#include "test/sim/differential_inside.h"

#define U64 "%" PRIu64

static const struct {
    const char *word;
    u32 numbers;
    const char *what;
} table[] = {
#define X(name, word, numbers, what) {word, numbers, what},
    DIFFER_EVENTS(X)
#undef X
};

u32 differ_numbers_of(enum differ_kind kind)
{
    return table[kind].numbers;
}

/* ---- events ---- */

void differ_event_words(const struct differ_event *event, char *text, size_t size)
{
    int used = snprintf(text, size, "%s", table[event->kind].word);
    for (u32 i = 0; i < table[event->kind].numbers && used < (int)size; i++)
        used += snprintf(text + used, size - (size_t)used, " %u", event->numbers[i]);
}

void differ_print(const struct differ_schedule *schedule, FILE *to)
{
    char text[64];
    for (u32 i = 0; i < schedule->count; i++) {
        const struct differ_event *event = &schedule->events[i];
        differ_event_words(event, text, sizeof(text));
        bool last = i + 1 == schedule->count;
        (void)fprintf(to, "%s%s", text, last ? "" : event->joined ? ", " : "; ");
    }
}

void differ_print_events(FILE *to)
{
    for (u32 kind = 0; kind < DIFFER_KIND_COUNT; kind++)
        (void)fprintf(to, "  %-11s %s\n", table[kind].word, table[kind].what);
}

/* Reads one event and the sign behind it; returns where the next one begins, NULL when it is none.
 */
static const char *parse_event(const char *text, struct differ_event *event)
{
    size_t length = strcspn(text, " ;,");
    *event = (struct differ_event){.kind = DIFFER_KIND_COUNT};
    for (u32 kind = 0; kind < DIFFER_KIND_COUNT; kind++) {
        if (strlen(table[kind].word) == length && strncmp(table[kind].word, text, length) == 0)
            event->kind = (enum differ_kind)kind;
    }
    if (event->kind == DIFFER_KIND_COUNT)
        return NULL;
    text += length;
    for (u32 i = 0; i < table[event->kind].numbers; i++) {
        char *end = NULL;
        text += strspn(text, " ");
        unsigned long number = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || number > UINT32_MAX)
            return NULL;
        event->numbers[i] = (u32)number;
        text = end;
    }
    text += strspn(text, " \n");
    event->joined = *text == ',';
    if (*text != ';' && *text != ',')
        return *text == '\0' ? text : NULL;
    return text + 1 + strspn(text + 1, " \n");
}

enum error_code differ_parse(const char *text, struct differ_schedule *schedule,
                             struct error *error)
{
    schedule->count = 0;
    text += strspn(text, " \n");
    while (*text != '\0') {
        if (schedule->count == DIFFER_EVENTS_MAX)
            return error_set(error, ERROR_CONFIG, "more than %d events", DIFFER_EVENTS_MAX);
        const char *next = parse_event(text, &schedule->events[schedule->count]);
        if (next == NULL)
            return error_set(error, ERROR_CONFIG, "event %u is none: \"%.*s\"", schedule->count + 1,
                             (int)strcspn(text, ";,"), text);
        schedule->count++;
        text = next;
    }
    return ERROR_NONE;
}

/* ---- messages ---- */

/* Grows by pieces, and is cut where the room ends. */
struct words {
    char *text;
    size_t size;
    size_t used;
};

static void put(struct words *words, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct words *words, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(words->text + words->used, words->size - words->used, format, arguments);
    va_end(arguments);
    words->used += (size_t)more;
    if (words->used >= words->size)
        words->used = words->size - 1;
}

static const char *result_word(enum append_result result)
{
    return result == APPEND_ACCEPTED           ? "ok"
           : result == APPEND_REFUSED_TERM     ? "refused: term"
           : result == APPEND_REFUSED_CONFLICT ? "refused: conflict"
                                               : "refused: space";
}

/* For people: what is not named here is in the bytes all the same. */
static void put_body(struct words *words, const struct message *message)
{
    const struct vote_request *vote = &message->as.vote_request;
    const struct append_request *append = &message->as.append_request;
    const struct append_reply *reply = &message->as.append_reply;
    const struct forward_request *forward = &message->as.forward_request;
    const struct forward_reply *answers = &message->as.forward_reply;
    const struct install_request *install = &message->as.install_request;
    const struct install_reply *installed = &message->as.install_reply;
    enum message_kind kind = message->kind;
    if (kind == MESSAGE_PRE_VOTE || kind == MESSAGE_REQUEST_VOTE)
        put(words, " last " U64 ".t" U64 "%s", vote->last.index, vote->last.term,
            vote->transfer ? " handed over" : "");
    else if (kind == MESSAGE_PRE_VOTE_REPLY || kind == MESSAGE_REQUEST_VOTE_REPLY)
        put(words, message->as.vote_reply.granted ? " yes" : " no");
    else if (kind == MESSAGE_APPEND_ENTRIES)
        put(words, " after " U64 ".t" U64 " +%u commit " U64 " round " U64, append->prev.index,
            append->prev.term, append->count, append->leader_commit, append->round);
    else if (kind == MESSAGE_APPEND_ENTRIES_REPLY)
        put(words, " %s match " U64 " conflict " U64 ".t" U64 " round " U64,
            result_word(reply->result), reply->match_index, reply->conflict.index,
            reply->conflict.term, reply->round);
    else if (kind == MESSAGE_FORWARD)
        put(words, " start " U64 " serial " U64 " +%u write " U64 " after " U64, forward->start,
            forward->serial, forward->count, forward->first_write, forward->previous_write);
    else if (kind == MESSAGE_FORWARD_REPLY)
        put(words, " %s %u+%u from " U64 "%s", answers->result == FORWARD_DONE ? "done" : "refused",
            answers->first, answers->count, answers->refused_from, answers->leads ? " leads" : "");
    else if (kind == MESSAGE_INSTALL_SNAPSHOT)
        put(words, " of " U64 ".t" U64 " from " U64 " of " U64 " round " U64, install->last.index,
            install->last.term, install->offset, install->size, install->round);
    else if (kind == MESSAGE_INSTALL_SNAPSHOT_REPLY)
        put(words, " result %d next " U64 " round " U64, (int)installed->result,
            installed->next_offset, installed->round);
}

void differ_message_words(const struct frame *frame, char *text, size_t size)
{
    struct words words = {text, size, 0};
    struct message message;
    struct error error = {0};
    put(&words, "%s", message_kind_word(frame->kind));
    if (message_decode_copy(frame->bytes, frame->size, &message, &error) != ERROR_NONE) {
        put(&words, " (%s)", error.text);
        return;
    }
    put(&words, " t" U64 " call %" PRIx64, message.term, message.call);
    put_body(&words, &message);
    u64 payload = message_payload_size(&message);
    if (payload > 0)
        put(&words, " (" U64 " bytes)", payload);
    message_release(&message);
}
