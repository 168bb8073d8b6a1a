/* kv_execute_scan.c - SCAN, and the patterns that it may look for.
 *
 * A cursor is the number of the next table to look into; 0 at the start and at the end. Each call
 * looks through whole tables until it has seen COUNT keys. Which table a key is in depends on the
 * key alone, so that whatever is there from the first call to the last is answered, once, however
 * much is set and removed meanwhile, and any server can go on where another one stopped. The price:
 * a call may look at more keys than COUNT, by what one table holds (1/4096 of all).
 *
 * COUNT is a hint in Redis, too: here it is bounded, so that no client stops the server thread. */
#include "server/machine/kv_answer.h"
#include "server/machine/kv_store.h"

struct scan {
    const struct kv_scan_options *options;
    struct buffer *gathered; /* the keys that match, as RESP values */
    u64 seen;
    u64 steps_left; /* of comparing keys with the pattern */
    u32 matches;
};

static void scan_key(void *context, const struct kv_argument *key)
{
    struct scan *scan = context;
    scan->seen++;
    if (scan->options->none || scan->steps_left == 0)
        return;
    if (scan->options->match != NULL &&
        !kv_glob_match(scan->options->match, key, &scan->steps_left))
        return;
    scan->matches++;
    kv_answer_bulk(scan->gathered, key->data, key->size);
}

void kv_execute_scan(struct kv *kv, const struct kv_argument *arguments, u32 count,
                     struct buffer *answer)
{
    struct kv_scan_options options;
    const char *error = kv_scan_options_parse(arguments, count, &options);
    if (error != NULL) {
        kv_answer_error(answer, error);
        return;
    }
    if (answer == NULL)
        return;

    u64 keys_wanted = u64_min(options.count, KV_SCAN_KEYS_MAX);
    struct scan scan = {
        .options = &options, .gathered = &kv->gathered, .steps_left = KV_SCAN_STEPS_MAX};
    buffer_clear(&kv->gathered);
    u64 table = options.cursor;
    while (table < KV_TABLES && scan.seen < keys_wanted && kv->gathered.size < KV_SCAN_BYTES_MAX &&
           scan.steps_left > KV_SCAN_STEPS_MAX / 2) {
        kv_table_visit(kv, (u32)table, scan_key, &scan);
        table++;
    }
    kv_note_work(kv, scan.seen * KV_KEY_WORK);
    kv_note_work(kv, (KV_SCAN_STEPS_MAX - scan.steps_left) * KV_GLOB_WORK);
    if (scan.steps_left == 0) {
        kv_answer_error(answer, "ERR this pattern takes too long to be compared with the keys that "
                                "are here; make it shorter, or give it fewer '*'");
        return;
    }
    u8 cursor[KV_NUMBER_TEXT_SIZE];
    u32 cursor_size = kv_number_format(table < KV_TABLES ? (i64)table : 0, cursor);

    kv_answer_array(answer, 2);
    kv_answer_bulk(answer, cursor, cursor_size);
    kv_answer_array(answer, scan.matches);
    buffer_append(answer, kv->gathered.data, kv->gathered.size);
}

/* ---- patterns ---- */

/* Reads the class behind a '[' at `*at`, and moves `*at` behind its ']'. Says whether `c` is in it.
 * As in Redis: '^' in front inverts, '\' takes the next character as it is, a range may be written
 * backwards, an immediate ']' ends an empty class, and the end of the pattern ends any. */
static bool class_has(const struct kv_argument *pattern, u32 *at, u8 c)
{
    const u8 *p = pattern->data;
    u32 size = pattern->size;
    u32 i = *at;
    bool inverted = i < size && p[i] == '^';
    if (inverted)
        i++;
    bool found = false;
    while (i < size && p[i] != ']') {
        if (p[i] == '\\' && size - i >= 2) {
            found |= p[i + 1] == c;
            i += 2;
        } else if (size - i >= 3 && p[i + 1] == '-') {
            u8 low = p[i] < p[i + 2] ? p[i] : p[i + 2];
            u8 high = p[i] < p[i + 2] ? p[i + 2] : p[i];
            found |= c >= low && c <= high;
            i += 3;
        } else {
            found |= p[i] == c;
            i++;
        }
    }
    *at = i < size ? i + 1 : i;
    return found != inverted;
}

/* Whether the element of the pattern at `*at`, which is no '*', matches `c`; moves behind it. */
static bool element_matches(const struct kv_argument *pattern, u32 *at, u8 c)
{
    u8 element = pattern->data[(*at)++];
    if (element == '?')
        return true;
    if (element == '[')
        return class_has(pattern, at, c);
    if (element == '\\' && *at < pattern->size)
        element = pattern->data[(*at)++];
    return element == c;
}

static void take_steps(u64 *steps_left, u64 steps)
{
    *steps_left -= u64_min(*steps_left, steps);
}

bool kv_glob_match(const struct kv_argument *pattern, const struct kv_argument *text,
                   u64 *steps_left)
{
    u32 p = 0;
    u32 t = 0;
    /* Every other element takes exactly one character, so that when the rest fails only the last
     * '*' has to take one more: earlier ones can gain nothing. That bounds the time by the product
     * of the sizes, where trying all of them again would take for ever. */
    bool starred = false;
    u32 p_star = 0;
    u32 t_star = 0;
    while (t<text->size && * steps_left> 0) {
        u32 at = p;
        bool star = p < pattern->size && pattern->data[p] == '*';
        bool matches = !star && p < pattern->size && element_matches(pattern, &p, text->data[t]);
        take_steps(steps_left, 1 + (u64)(p - at)); /* a class may be long */
        if (star) {
            starred = true;
            p_star = ++p;
            t_star = t;
        } else if (matches) {
            t++;
        } else if (starred) {
            p = p_star;
            t = ++t_star;
        } else {
            return false;
        }
    }
    u32 at = p;
    while (p < pattern->size && pattern->data[p] == '*')
        p++;
    take_steps(steps_left, p - at);
    return p == pattern->size && t == text->size;
}

bool kv_glob_match_word(const struct kv_argument *pattern, const char *word)
{
    u64 steps_left = 16 * 1024;
    struct kv_argument text = {(const u8 *)word, (u32)strlen(word)};
    return kv_glob_match(pattern, &text, &steps_left) && steps_left > 0;
}
