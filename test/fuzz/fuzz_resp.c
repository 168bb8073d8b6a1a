/* fuzz_resp.c - what clients send (clients/resp_parser.h). Of an input the first byte says how the
 * rest is cut into pieces. */
#include "server/clients/resp_parser.h"

#include "common/rng.h"
#include "test/fuzz/fuzz.h"

enum { KEY_MAX = 64, VALUE_MAX = 256, ARGUMENTS_MAX = 64, COMMAND_MAX = 2048 };

static const struct resp_limits limits = {.arguments_max = ARGUMENTS_MAX, .bytes_max = COMMAND_MAX};
static const struct kv_limits kv_limits = {
    .key_bytes_max = KEY_MAX, .value_bytes_max = VALUE_MAX, .answer_bytes_max = VALUE_MAX};

/* What a stream is: its commands, written down, and how it ends. */
struct reading {
    struct buffer commands;
    enum resp_result end;
    char error[RESP_ERROR_SIZE];
};

static void note_number(struct buffer *to, u32 number)
{
    u8 bytes[4];
    store_u32(bytes, number);
    buffer_append(to, bytes, sizeof(bytes));
}

static void note_command(struct reading *reading, const struct resp_parser *parser)
{
    ASSERT(parser->count <= ARGUMENTS_MAX);
    note_number(&reading->commands, parser->count);
    for (u32 i = 0; i < parser->count; i++) {
        note_number(&reading->commands, parser->arguments[i].size);
        if (parser->arguments[i].size > 0)
            buffer_append(&reading->commands, parser->arguments[i].data, parser->arguments[i].size);
    }
}

/* Parses all of a stream that comes in pieces whose sizes `rng` draws; NULL: at once. */
static void parse(const u8 *data, size_t size, struct rng *rng, struct reading *reading)
{
    struct resp_parser parser;
    size_t arrived = rng == NULL ? size : 0;
    resp_parser_init(&parser);
    buffer_init(&reading->commands);
    reading->end = RESP_MORE;
    for (size_t at = 0; reading->end != RESP_ERROR;) {
        enum resp_result result = resp_parser_parse(&parser, &limits, data + at, arrived - at);
        if (result == RESP_COMMAND) {
            ASSERT(parser.size > 0 && parser.size <= arrived - at);
            note_command(reading, &parser);
            at += parser.size;
            resp_parser_reset(&parser);
            continue;
        }
        reading->end = result;
        if (result == RESP_ERROR)
            memcpy(reading->error, parser.error, sizeof(reading->error));
        if (arrived == size)
            break;
        arrived += (size_t)u64_min(size - arrived, rng_range(rng, 1, 8));
    }
    resp_parser_deinit(&parser);
}

/* What the parser gave is a command of the machine's, or is refused with an error; and what may
 * enter the log comes out of it as it was. */
static void check_command(const struct kv_argument *arguments, u32 count)
{
    if (count == 0)
        return;
    const struct kv_command_info *info = kv_command_find(arguments[0].data, arguments[0].size);
    if (info == NULL)
        return;
    struct buffer answer;
    buffer_init(&answer);
    if (!kv_command_check(&kv_limits, info, arguments + 1, count - 1, &answer)) {
        ASSERT(answer.size > 3 && answer.data[0] == '-');
        ASSERT(memcmp(answer.data + answer.size - 2, "\r\n", 2) == 0);
        buffer_deinit(&answer);
        return;
    }
    ASSERT(answer.size == 0);
    size_t size = kv_command_size(arguments + 1, count - 1);
    u8 *to = buffer_reserve(&answer, size);
    kv_command_encode(&kv_limits, info->command, arguments + 1, count - 1, to);
    enum kv_command command;
    struct kv_argument decoded[ARGUMENTS_MAX];
    ASSERT(kv_command_decode(to, size, &command, decoded, ARGUMENTS_MAX) == (int)count - 1);
    ASSERT(command == info->command);
    for (u32 i = 1; i < count; i++)
        ASSERT(decoded[i - 1].size == arguments[i].size &&
               (arguments[i].size == 0 ||
                memcmp(decoded[i - 1].data, arguments[i].data, arguments[i].size) == 0));
    buffer_deinit(&answer);
}

static void check_commands(const struct buffer *commands)
{
    const u8 *at = commands->data;
    const u8 *end = commands->size == 0 ? at : at + commands->size;
    while (at < end) {
        struct kv_argument arguments[ARGUMENTS_MAX];
        u32 count = load_u32(at);
        at += 4;
        for (u32 i = 0; i < count; i++) {
            arguments[i].size = load_u32(at);
            arguments[i].data = at + 4;
            at += 4 + (size_t)arguments[i].size;
        }
        check_command(arguments, count);
    }
}

static void run(const u8 *data, size_t size)
{
    struct rng rng;
    struct reading whole, cut;
    rng_init(&rng, fuzz_take_byte(&data, &size));
    parse(data, size, NULL, &whole);
    parse(data, size, &rng, &cut);
    ASSERT(whole.end == cut.end && whole.commands.size == cut.commands.size);
    ASSERT(whole.commands.size == 0 ||
           memcmp(whole.commands.data, cut.commands.data, whole.commands.size) == 0);
    if (whole.end == RESP_ERROR) {
        ASSERT(memcmp(whole.error, "ERR ", 4) == 0 && strcmp(whole.error, cut.error) == 0);
        ASSERT(strpbrk(whole.error, "\r\n") == NULL);
    }
    check_commands(&whole.commands);
    buffer_deinit(&whole.commands);
    buffer_deinit(&cut.commands);
}

const struct fuzz_target fuzz_resp = {
    .name = "resp", .input_max = 4096, .run = run, .memory_base = 16384, .memory_each = 64};
