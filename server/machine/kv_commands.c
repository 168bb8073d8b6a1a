/* kv_commands.c - the table of commands, what they may look like, and their encoding.
 *
 * The client port checks a command before it costs a log entry; the machine, which must have an
 * answer to anything that a log can hold, reads options and numbers with the same functions. */
#include "server/machine/kv_answer.h"
#include "server/machine/kv_store.h"

#define CLASS_READ  false
#define CLASS_WRITE true

static const struct kv_command_info infos[KV_COMMAND_END] = {
    [KV_NONE] = {KV_NONE, "", false, 0, 0, 0},
#define X(NAME, name, class, min, max, keys) \
    [KV_##NAME] = {KV_##NAME, name, CLASS_##class, min, max, keys},
    KV_COMMANDS(X)
#undef X
};

static u8 lower(u8 c)
{
    return c >= 'A' && c <= 'Z' ? (u8)(c + ('a' - 'A')) : c;
}

bool kv_word_is(const struct kv_argument *argument, const char *word)
{
    u32 i = 0;
    while (i < argument->size && word[i] != '\0' && lower(argument->data[i]) == (u8)word[i])
        i++;
    return i == argument->size && word[i] == '\0';
}

const struct kv_command_info *kv_command_find(const u8 *name, size_t size)
{
    if (size > UINT32_MAX)
        return NULL;
    struct kv_argument word = {name, (u32)size};
    for (u32 i = KV_NONE + 1; i < KV_COMMAND_END; i++) {
        if (kv_word_is(&word, infos[i].name))
            return &infos[i];
    }
    return NULL;
}

const struct kv_command_info *kv_command_info(enum kv_command command)
{
    ASSERT((u32)command > KV_NONE && (u32)command < KV_COMMAND_END);
    return &infos[command];
}

static bool count_is_allowed(const struct kv_command_info *info, u32 count)
{
    if (count < (u32)info->arguments_min)
        return false;
    if (info->arguments_max >= 0 && count > (u32)info->arguments_max)
        return false;
    return info->command != KV_MSET || count % 2 == 0;
}

/* ---- what only checking needs ---- */

static bool refuse_size(struct buffer *answer, const char *what, u32 limit, const char *setting)
{
    buffer_append_format(answer, "-ERR %s is larger than %u bytes (%s)\r\n", what, limit, setting);
    return false;
}

static bool is_key(const struct kv_command_info *info, u32 position)
{
    switch (info->key_step) {
    case 0:
        return false;
    case 1:
        return position == 0;
    case 2:
        return position % 2 == 0;
    default:
        return true;
    }
}

static bool check_sizes(const struct kv_limits *limits, const struct kv_command_info *info,
                        const struct kv_argument *arguments, u32 count, struct buffer *answer)
{
    for (u32 i = 0; i < count; i++) {
        if (is_key(info, i)) {
            if (arguments[i].size > limits->key_bytes_max)
                return refuse_size(answer, "key", limits->key_bytes_max, "max-key-bytes");
        } else if (arguments[i].size > limits->value_bytes_max) {
            return refuse_size(answer, "value", limits->value_bytes_max, "max-value-bytes");
        }
    }
    return true;
}

static const char *number_error(const struct kv_argument *argument, bool negated)
{
    i64 number;
    if (!kv_number_parse(argument->data, argument->size, &number))
        return "ERR value is not an integer or out of range";
    return negated && number == INT64_MIN ? "ERR decrement would overflow" : NULL;
}

/* The first error that the arguments show without a look at any value, or NULL. */
static const char *options_error(enum kv_command command, const struct kv_argument *arguments,
                                 u32 count)
{
    struct kv_set_options set;
    struct kv_scan_options scan;
    switch (command) {
    case KV_SET:
        return kv_set_options_parse(arguments + 2, count - 2, &set);
    case KV_SCAN:
        return kv_scan_options_parse(arguments, count, &scan);
    case KV_FLUSHALL:
        return kv_flushall_parse(arguments, count);
    case KV_INCRBY:
        return number_error(&arguments[1], false);
    case KV_DECRBY:
        return number_error(&arguments[1], true);
    case KV_NONE:
    case KV_GET:
    case KV_MGET:
    case KV_MSET:
    case KV_DEL:
    case KV_EXISTS:
    case KV_INCR:
    case KV_DECR:
    case KV_APPEND:
    case KV_STRLEN:
    case KV_GETDEL:
    case KV_CAS:
    case KV_DBSIZE:
    case KV_COMMAND_END:
        break; /* nothing but keys and values */
    }
    return NULL;
}

bool kv_command_check(const struct kv_limits *limits, const struct kv_command_info *info,
                      const struct kv_argument *arguments, u32 count, struct buffer *answer)
{
    if (!count_is_allowed(info, count)) {
        buffer_append_format(answer, "-ERR wrong number of arguments for '%s' command\r\n",
                             info->name);
        return false;
    }
    if (count > KV_ARGUMENTS_MAX) {
        buffer_append_format(answer, "-ERR number of arguments is larger than %d\r\n",
                             KV_ARGUMENTS_MAX);
        return false;
    }
    const char *error = options_error(info->command, arguments, count);
    if (error != NULL) {
        kv_answer_error(answer, error);
        return false;
    }
    return check_sizes(limits, info, arguments, count, answer);
}

/* ---- numbers and options ---- */

bool kv_number_parse(const u8 *data, size_t size, i64 *number)
{
    size_t at = 0;
    bool negative = size > 0 && data[0] == '-';
    if (negative)
        at++;
    if (at == size || data[at] < '0' || data[at] > '9')
        return false;
    if (data[at] == '0') {
        *number = 0;
        return size == 1; /* neither "-0" nor "01" */
    }

    u64 limit = negative ? (u64)INT64_MAX + 1 : (u64)INT64_MAX;
    u64 value = 0;
    for (; at < size; at++) {
        if (data[at] < '0' || data[at] > '9')
            return false;
        u64 digit = (u64)(data[at] - '0');
        if (value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = (i64)(negative ? 0 - value : value);
    return true;
}

/* SET's options that need keys which expire; ours do not. A client that asks for one of them would
 * rely on it, so it is told, and nothing is set. */
static const char *expiry_error(const struct kv_argument *argument)
{
    static const char *const words[] = {"ex", "px", "exat", "pxat", "keepttl"};
    for (u32 i = 0; i < ARRAY_LENGTH(words); i++) {
        if (kv_word_is(argument, words[i]))
            return "ERR keys do not expire here: EX, PX, EXAT, PXAT and KEEPTTL are not supported";
    }
    return NULL;
}

const char *kv_set_options_parse(const struct kv_argument *arguments, u32 count,
                                 struct kv_set_options *options)
{
    *options = (struct kv_set_options){0};
    for (u32 i = 0; i < count; i++) {
        const char *error = expiry_error(&arguments[i]);
        if (error != NULL)
            return error;
        if (kv_word_is(&arguments[i], "nx"))
            options->if_absent = true;
        else if (kv_word_is(&arguments[i], "xx"))
            options->if_present = true;
        else if (kv_word_is(&arguments[i], "get"))
            options->get = true;
        else
            return "ERR syntax error";
    }
    return options->if_absent && options->if_present ? "ERR syntax error" : NULL;
}

/* Redis reads a cursor with strtoul: nothing at all is 0, and there may be a sign. */
static bool cursor_parse(const struct kv_argument *argument, u64 *cursor)
{
    bool negative = argument->size > 0 && argument->data[0] == '-';
    u32 first = negative || (argument->size > 0 && argument->data[0] == '+') ? 1 : 0;
    *cursor = 0;
    if (first == 1 && argument->size == 1)
        return false;
    for (u32 i = first; i < argument->size; i++) {
        u8 c = argument->data[i];
        if (c < '0' || c > '9')
            return false;
        u64 digit = (u64)(c - '0');
        if (*cursor > (UINT64_MAX - digit) / 10)
            return false;
        *cursor = *cursor * 10 + digit;
    }
    if (negative)
        *cursor = 0 - *cursor;
    return true;
}

const char *kv_scan_options_parse(const struct kv_argument *arguments, u32 count,
                                  struct kv_scan_options *options)
{
    *options = (struct kv_scan_options){.count = 10};
    if (!cursor_parse(&arguments[0], &options->cursor))
        return "ERR invalid cursor";
    for (u32 i = 1; i < count; i += 2) {
        if (i + 1 == count)
            return "ERR syntax error";
        const struct kv_argument *value = &arguments[i + 1];
        i64 number;
        if (kv_word_is(&arguments[i], "count")) {
            if (!kv_number_parse(value->data, value->size, &number))
                return "ERR value is not an integer or out of range";
            if (number < 1)
                return "ERR syntax error";
            options->count = (u64)number;
        } else if (kv_word_is(&arguments[i], "match")) {
            options->match = value;
        } else if (kv_word_is(&arguments[i], "type")) {
            options->none = !kv_word_is(value, "string");
        } else {
            return "ERR syntax error";
        }
    }
    return NULL;
}

const char *kv_flushall_parse(const struct kv_argument *arguments, u32 count)
{
    if (count == 0)
        return NULL;
    if (count == 1 && (kv_word_is(&arguments[0], "async") || kv_word_is(&arguments[0], "sync")))
        return NULL;
    return "ERR syntax error";
}

/* ---- the encoding ---- */

size_t kv_command_size(const struct kv_argument *arguments, u32 count)
{
    size_t size = KV_ENCODING_HEADER_SIZE;
    for (u32 i = 0; i < count; i++)
        size += sizeof(u32) + arguments[i].size;
    return size;
}

void kv_command_encode(const struct kv_limits *limits, enum kv_command command,
                       const struct kv_argument *arguments, u32 count, u8 *to)
{
    ASSERT((u32)command > KV_NONE && (u32)command < KV_COMMAND_END);
    ASSERT(count <= KV_ARGUMENTS_MAX);
    to[0] = (u8)command;
    to[1] = (u8)(count >> 16);
    store_u16(to + 2, (u16)count);
    store_u32(to + 4, infos[command].writes ? limits->value_bytes_max : limits->answer_bytes_max);
    to += KV_ENCODING_HEADER_SIZE;
    for (u32 i = 0; i < count; i++) {
        store_u32(to, arguments[i].size);
        to += sizeof(u32);
        if (arguments[i].size > 0)
            memcpy(to, arguments[i].data, arguments[i].size);
        to += arguments[i].size;
    }
}

u32 kv_command_count(const u8 *data)
{
    return (u32)data[1] << 16 | load_u16(data + 2);
}

int kv_command_decode(const u8 *data, size_t size, enum kv_command *command,
                      struct kv_argument *arguments, u32 capacity)
{
    if (size < KV_ENCODING_HEADER_SIZE)
        return -1;
    if (data[0] == KV_NONE || data[0] >= KV_COMMAND_END)
        return -1;
    u32 count = kv_command_count(data);
    if (count > KV_ARGUMENTS_MAX || !count_is_allowed(&infos[data[0]], count))
        return -1;

    size_t at = KV_ENCODING_HEADER_SIZE;
    for (u32 i = 0; i < count; i++) {
        if (size - at < sizeof(u32))
            return -1;
        u32 argument_size = load_u32(data + at);
        at += sizeof(u32);
        if (size - at < argument_size)
            return -1;
        if (i < capacity)
            arguments[i] = (struct kv_argument){data + at, argument_size};
        at += argument_size;
    }
    if (at != size)
        return -1;
    *command = (enum kv_command)data[0];
    return (int)(count < capacity ? count : capacity);
}
