/* client_records.c - what simulated clients asked and were told, as operations of the history.
 *
 * An operation is one key's. What concerns several keys is recorded as several operations, each
 * of which must be right for its key: MSET as a put for each, FLUSHALL as a put of nothing for each
 * key that the load works on, SCAN (one call that sees all there is) as a look at each of those
 * keys, whether it is there. GETDEL is a cas to nothing from the value that it found. */
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "test/sim/inside.h"

/* ---- the history ---- */

static const struct text *text_of(struct history *history, const char *text)
{
    return history_text(history, text, strlen(text));
}

static enum operation_kind kind_of(enum client_op op)
{
    switch (op) {
    case CLIENT_GET:
    case CLIENT_SCAN: /* once it is answered: see record_scan */
        return OPERATION_GET;
    case CLIENT_SET:
    case CLIENT_MSET:
        return OPERATION_PUT;
    case CLIENT_APPEND:
        return OPERATION_APPEND;
    case CLIENT_CAS:
        return OPERATION_CAS;
    case CLIENT_INCR:
        return OPERATION_INCR;
    case CLIENT_DEL:
    case CLIENT_GETDEL:   /* as long as nobody knows what it found */
    case CLIENT_FLUSHALL: /* as long as nobody knows whether it was done */
        return OPERATION_DEL;
    case CLIENT_TRANSFER:
        break;
    }
    UNREACHABLE();
}

static void record_one(struct flight *flight, const char *key)
{
    struct cluster *cluster = flight->client->cluster;
    struct history *history = &cluster->history;
    const struct asked *request = flight->request;
    struct operation operation = {.client = flight->client->number,
                                  .kind = kind_of(request->op),
                                  .status = OPERATION_UNKNOWN,
                                  .key = text_of(history, key),
                                  .delta = 1,
                                  .t0 = cluster->history_clock};
    if (request->op == CLIENT_CAS)
        operation.expected = text_of(history, request->old);
    if (request->op == CLIENT_SET || request->op == CLIENT_APPEND || request->op == CLIENT_CAS ||
        request->op == CLIENT_MSET)
        operation.value = text_of(history, request->value);
    size_t position = history_add(history, &operation);
    if (flight->operation_count++ == 0)
        flight->operation = position;
}

/* The history's memory is the world's, whoever is running. */
void flight_record(struct flight *flight)
{
    struct cluster *cluster = flight->client->cluster;
    const struct asked *request = flight->request;
    if (request->op == CLIENT_TRANSFER)
        return;
    struct process *before = process_enter(&cluster->world, NULL);
    char key[LOAD_KEY_SIZE];
    cluster->history_clock++;
    if (request->op == CLIENT_SCAN || request->op == CLIENT_FLUSHALL) {
        for (u64 number = 1; number <= request->keys; number++)
            record_one(flight, load_key(number, key));
    } else {
        record_one(flight, request->key);
    }
    if (request->op == CLIENT_MSET && strcmp(request->old, request->key) != 0)
        record_one(flight, request->old);
    (void)process_enter(&cluster->world, before);
}

/* Whether the answer of a SCAN names the key. */
static bool scan_has(const struct flight *flight, const char *key)
{
    char value[LOAD_KEY_SIZE + 32];
    int size = snprintf(value, sizeof(value), "$%zu\r\n%s\r\n", strlen(key), key);
    return memmem(flight->incoming_value, flight->incoming_size, value, (size_t)size) != NULL;
}

/* There: as a cas finds that expects nothing. */
static void record_scan(const struct flight *flight, struct operation *operation, u64 number)
{
    char key[LOAD_KEY_SIZE];
    operation->found = false;
    if (!scan_has(flight, load_key(number, key)))
        return;
    operation->kind = OPERATION_CAS;
    operation->ok = false;
    operation->value = operation->key;
}

static void record_ok(struct flight *flight, struct operation *operation, u64 number)
{
    struct history *history = &flight->client->cluster->history;
    const struct client_answer *answer = &flight->incoming;
    bool positive = answer->kind == ANSWER_OK;
    switch (flight->request->op) {
    case CLIENT_GET:
        operation->found = positive;
        if (positive)
            operation->out = history_text(history, flight->incoming_value, flight->incoming_size);
        return;
    case CLIENT_GETDEL:
        operation->kind = positive ? OPERATION_CAS : OPERATION_GET;
        operation->ok = positive;
        if (positive)
            operation->expected =
                history_text(history, flight->incoming_value, flight->incoming_size);
        return;
    case CLIENT_SCAN:
        record_scan(flight, operation, number);
        return;
    case CLIENT_FLUSHALL: /* it says nothing of what it found */
        operation->kind = OPERATION_PUT;
        return;
    case CLIENT_SET:
    case CLIENT_MSET:
        return;
    case CLIENT_APPEND:
    case CLIENT_INCR:
        operation->number = strtoll(answer->text, NULL, 10);
        operation->number_known = true;
        return;
    case CLIENT_CAS:
        operation->ok = positive;
        return;
    case CLIENT_DEL:
        operation->found = strcmp(answer->text, "1") == 0;
        return;
    case CLIENT_TRANSFER:
        break;
    }
    UNREACHABLE();
}

void flight_record_answer(struct flight *flight, enum client_answer_kind kind)
{
    struct cluster *cluster = flight->client->cluster;
    if (kind == ANSWER_UNKNOWN || kind == ANSWER_NONE || flight->operation_count == 0)
        return;
    struct process *before = process_enter(&cluster->world, NULL);
    u64 now = ++cluster->history_clock;
    for (u32 i = 0; i < flight->operation_count; i++) {
        struct operation *operation = history_at(&cluster->history, flight->operation + i);
        operation->t1 = now;
        operation->status =
            kind == ANSWER_ERROR || kind == ANSWER_MOVED ? OPERATION_FAIL : OPERATION_OK;
        if (operation->status == OPERATION_OK)
            record_ok(flight, operation, i + 1);
    }
    (void)process_enter(&cluster->world, before);
}

/* ---- answers ---- */

void client_answer_set_text(struct client_answer *answer, const void *data, size_t size)
{
    answer->size = (u32)(size < CLIENT_TEXT_SIZE ? size : CLIENT_TEXT_SIZE - 1);
    memcpy(answer->text, data, answer->size);
    answer->text[answer->size] = '\0';
}

static void keep_value(struct flight *flight, const u8 *data, size_t size)
{
    flight->incoming_size = (u32)size;
    flight->incoming_value = sim_resize(flight->incoming_value, size + 1);
    memcpy(flight->incoming_value, data, size);
    client_answer_set_text(&flight->incoming, data, size);
}

/* One RESP value of the kinds that these commands have. */
void flight_take_answer(struct flight *flight, const u8 *data, size_t size)
{
    struct client_answer *answer = &flight->incoming;
    *answer = (struct client_answer){.kind = ANSWER_ERROR};
    ASSERT(size >= 3);
    const u8 *line = data + 1;
    const u8 *end = memchr(line, '\r', size - 1);
    ASSERT(end != NULL);
    size_t length = (size_t)(end - line);
    switch (data[0]) {
    case '+':
        answer->kind = ANSWER_OK;
        client_answer_set_text(answer, line, length);
        break;
    case ':':
        answer->kind = flight->request->op == CLIENT_CAS && line[0] == '0' ? ANSWER_NIL : ANSWER_OK;
        client_answer_set_text(answer, line, length);
        break;
    case '$':
        if (line[0] == '-') {
            answer->kind = ANSWER_NIL;
            break;
        }
        answer->kind = ANSWER_OK;
        keep_value(flight, end + 2, strtoul((const char *)line, NULL, 10));
        break;
    case '*': /* SCAN: all of it */
        answer->kind = ANSWER_OK;
        keep_value(flight, data, size);
        break;
    case '_':
        answer->kind = ANSWER_NIL;
        break;
    case '-':
        client_answer_set_text(answer, line, length);
        if (strncmp(answer->text, "TIMEOUT", 7) == 0)
            answer->kind = ANSWER_UNKNOWN;
        break;
    default:
        ASSERT(!"an answer of a kind that these commands do not have");
    }
}

i64 flight_answer_number(const struct flight *flight)
{
    if (flight->request->op != CLIENT_GETDEL)
        return strtoll(flight->incoming.text, NULL, 10); /* "OK" is 0 */
    if (flight->incoming.kind == ANSWER_NIL)
        return -1;
    return crc32c(0, flight->incoming_value, flight->incoming_size);
}
