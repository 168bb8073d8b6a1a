/* scenario_judge.c - expectations against the cluster as it is.
 *
 * Each judge_* function says whether its expectation holds, and writes to `why` how things are,
 * whether it holds or not: with `not expect` the contrary is told. */
#include <inttypes.h>

#include "test/sim/scenario_player.h"

/* ---- helpers ---- */

static bool compares(enum comparison comparison, u64 value, u64 with)
{
    switch (comparison) {
    case COMPARE_AT_LEAST:
        return value >= with;
    case COMPARE_AT_MOST:
        return value <= with;
    case COMPARE_EQUAL:
        return value == with;
    case COMPARE_LESS:
        return value < with;
    case COMPARE_MORE:
        return value > with;
    }
    UNREACHABLE();
}

/* The highest term of the live servers. */
static u64 highest_term(const struct cluster *cluster)
{
    u64 highest = 0;
    for (server_id id = 1; id <= cluster_server_count(cluster); id++)
        if (cluster_is_live(cluster, id))
            highest = u64_max(highest, cluster_term(cluster, id));
    return highest;
}

/* Whether all of the expectation's servers satisfy `judge`; stops at the first that does not. */
static bool judge_each(struct player *player, const struct expectation *expectation,
                       bool (*judge)(struct player *player, const struct expectation *expectation,
                                     server_id id, struct buffer *why),
                       struct buffer *why)
{
    cluster_set set;
    const char *clause;
    if (!player_servers(player, &expectation->who, &set, &clause)) {
        buffer_append_string(why, clause);
        return false;
    }
    for (server_id id = 1; id <= cluster_server_count(player->cluster); id++)
        if (cluster_set_has(set, id) && !judge(player, expectation, id, why))
            return false;
    return true;
}

/* ---- leaders, states, terms ---- */

static bool judge_leader(struct player *player, const struct expectation *expectation,
                         struct buffer *why)
{
    struct cluster *cluster = player->cluster;
    cluster_set leaders = cluster_leaders(cluster);
    server_id leader = cluster_leader(cluster);
    cluster_set set = 0;
    const char *clause;
    if (leaders == 0)
        buffer_append_string(why, "there is no leader");
    for (server_id id = 1; id <= cluster_server_count(cluster); id++)
        if (cluster_set_has(leaders, id))
            buffer_append_format(why, "%sserver %u leads in term %" PRIu64,
                                 why->size == 0 ? "" : ", ", id, cluster_term(cluster, id));
    switch (expectation->leader) {
    case LEADER_ONE:
        return cluster_set_count(leaders) == 1;
    case LEADER_NONE:
        return leaders == 0;
    case LEADER_IS:
    case LEADER_NOT:
        if (leader == SERVER_NONE || !player_servers(player, &expectation->who, &set, &clause))
            return false;
        return cluster_set_has(set, leader) == (expectation->leader == LEADER_IS);
    }
    UNREACHABLE();
}

static bool judge_state(struct player *player, const struct expectation *expectation, server_id id,
                        struct buffer *why)
{
    enum raft_state state = cluster_state(player->cluster, id);
    bool live = cluster_is_live(player->cluster, id);
    buffer_clear(why);
    buffer_append_format(why, "server %u is %s%s", id, live ? "" : "not alive; it last was ",
                         raft_state_word(state));
    return live && state == expectation->state;
}

static bool judge_term(struct player *player, const struct expectation *expectation,
                       struct buffer *why)
{
    u64 term = highest_term(player->cluster);
    u64 expected = expectation->same ? player->mark.term : expectation->number;
    buffer_append_format(why, "the term is %" PRIu64 ", and should be %" PRIu64, term, expected);
    return term == expected;
}

static bool judge_stopped(struct player *player, const struct expectation *expectation,
                          server_id id, struct buffer *why)
{
    buffer_clear(why);
    if (cluster_process(player->cluster, id) != PROCESS_STOPPED) {
        buffer_append_format(why, "server %u did not stop", id);
        return false;
    }
    const struct error *reason = cluster_stop_reason(player->cluster, id);
    buffer_append_format(why, "server %u stopped: %s", id,
                         reason->code == ERROR_NONE ? "it was told to" : reason->text);
    if (expectation->text == NULL)
        return true;
    return reason->code != ERROR_NONE && strstr(reason->text, expectation->text) != NULL;
}

static bool judge_unrecognised(struct player *player, const struct expectation *expectation,
                               server_id id, struct buffer *why)
{
    cluster_set on = cluster_set_of(id);
    const char *clause;
    if (!server_list_is_empty(&expectation->on) &&
        !player_servers(player, &expectation->on, &on, &clause)) {
        buffer_append_string(why, clause);
        return false;
    }
    buffer_clear(why);
    for (server_id by = 1; by <= cluster_server_count(player->cluster); by++) {
        if (!cluster_set_has(on, by))
            continue;
        bool distrusts = cluster_distrusts(player->cluster, by, id);
        if (by == id)
            buffer_append_format(why, "server %u %s that it may not vote", id,
                                 distrusts ? "knows" : "does not know");
        else
            buffer_append_format(why, "%sserver %u %s server %u", why->size == 0 ? "" : ", ", by,
                                 distrusts ? "does not recognise" : "recognises, or is down,", id);
        if (!distrusts)
            return false;
    }
    return true;
}

static bool judge_snapshot(struct player *player, const struct expectation *expectation,
                           server_id id, struct buffer *why)
{
    u64 index = cluster_snapshot_index(player->cluster, id);
    buffer_clear(why);
    if (index > 0)
        buffer_append_format(why, "server %u has the snapshot of entry %" PRIu64, id, index);
    else
        buffer_append_format(why, "server %u has no snapshot, or is down", id);
    return compares(expectation->comparison, index, expectation->number);
}

/* ---- answers and values ---- */

static bool judge_answer(struct player *player, const struct expectation *expectation,
                         struct buffer *why)
{
    static const char *const words[] = {
        [ANSWER_NONE] = "none",   [ANSWER_OK] = "OK",       [ANSWER_NIL] = "nil",
        [ANSWER_ERROR] = "error", [ANSWER_MOVED] = "moved", [ANSWER_UNKNOWN] = "timeout",
    };
    struct client *client = expectation->client == NULL
                                ? player->waiter
                                : cluster_client(player->cluster, expectation->client);
    const struct client_answer *answer = client_answer(client);
    const char *text = answer->kind == ANSWER_NIL ? "nil" : answer->text;
    /* A client that waits has no answer to its last command, whatever it was told before. */
    enum client_answer_kind kind = client_is_idle(client) ? answer->kind : ANSWER_NONE;
    buffer_append_format(why, "the answer is %s \"%s\"", words[kind], text);
    switch (expectation->answer) {
    case SAYS_OK:
        return kind == ANSWER_OK;
    case SAYS_ERROR:
        return kind == ANSWER_ERROR;
    case SAYS_MOVED:
        return kind == ANSWER_MOVED;
    case SAYS_TIMEOUT:
        return kind == ANSWER_UNKNOWN;
    case SAYS_TEXT:
        if (kind == ANSWER_OK || kind == ANSWER_NIL)
            return strcmp(text, expectation->text) == 0;
        return kind != ANSWER_NONE && strstr(text, expectation->text) != NULL;
    }
    UNREACHABLE();
}

static bool judge_value_on(struct player *player, const struct expectation *expectation,
                           server_id id, struct buffer *why)
{
    struct buffer value;
    buffer_init(&value);
    bool found = cluster_machine_value(player->cluster, id, expectation->key, &value);
    buffer_clear(why);
    if (!found)
        buffer_append_format(why, "server %u holds nothing under %s", id, expectation->key);
    else
        buffer_append_format(why, "server %u holds \"%.*s\" under %s", id,
                             (int)u64_min(value.size, 64), (const char *)value.data,
                             expectation->key);
    bool held = expectation->text == NULL
                    ? !found && cluster_is_live(player->cluster, id)
                    : found && value.size == strlen(expectation->text) &&
                          memcmp(value.data, expectation->text, value.size) == 0;
    buffer_deinit(&value);
    return held;
}

bool player_must_read(const struct expectation *expectation)
{
    return expectation->kind == EXPECT_VALUE && server_list_is_empty(&expectation->who);
}

static bool reader_is_idle(void *context)
{
    return client_is_idle(context);
}

bool player_reads(struct player *player, const struct expectation *expectation, u64 deadline_ns,
                  struct buffer *why)
{
    struct client_request request = {.op = CLIENT_GET, .key = expectation->key};
    u64 patience_ns = cluster_now_ns(player->cluster) + 2 * CLIENT_TIMEOUT_MS * NS_PER_MS;
    client_send(player->reader, &request);
    if (!cluster_run_until(player->cluster, reader_is_idle, player->reader,
                           u64_min(deadline_ns, patience_ns))) {
        buffer_append_format(why, "reading %s was not answered", expectation->key);
        return false;
    }
    const struct client_answer *answer = client_answer(player->reader);
    if (answer->kind != ANSWER_OK && answer->kind != ANSWER_NIL) {
        buffer_append_format(why, "reading %s failed: %s", expectation->key, answer->text);
        return false;
    }
    bool same;
    if (answer->kind == ANSWER_NIL) {
        buffer_append_format(why, "there is no value of %s", expectation->key);
        same = expectation->text == NULL;
    } else {
        buffer_append_format(why, "the value of %s is \"%s\"", expectation->key, answer->text);
        same = expectation->text != NULL && strcmp(answer->text, expectation->text) == 0;
    }
    return same != expectation->contrary;
}

/* ---- logs ---- */

static bool judge_committed(struct player *player, const struct expectation *expectation,
                            struct buffer *why)
{
    u64 highest = 0;
    for (server_id id = 1; id <= cluster_server_count(player->cluster); id++)
        highest = u64_max(highest, cluster_commit_index(player->cluster, id));
    buffer_append_format(why, "the highest commit index is %" PRIu64, highest);
    return highest >= expectation->number;
}

static bool judge_commit_on(struct player *player, const struct expectation *expectation,
                            server_id id, struct buffer *why)
{
    u64 commit_index = cluster_commit_index(player->cluster, id);
    buffer_clear(why);
    buffer_append_format(why, "the commit index on server %u is %" PRIu64, id, commit_index);
    return compares(expectation->comparison, commit_index, expectation->number);
}

static bool judge_log_bytes(struct player *player, const struct expectation *expectation,
                            server_id id, struct buffer *why)
{
    u64 bytes = cluster_log_bytes(player->cluster, id);
    buffer_clear(why);
    buffer_append_format(why, "the log of server %u takes %" PRIu64 " bytes of its disk", id,
                         bytes);
    return compares(expectation->comparison, bytes, expectation->number);
}

static bool judge_log(struct player *player, const struct expectation *expectation, server_id id,
                      struct buffer *why)
{
    enum { LOG_TOLD_MAX = 64 };
    u64 last = cluster_last_index(player->cluster, id);
    bool same = last == expectation->term_count;
    buffer_clear(why);
    buffer_append_format(why, "the log of server %u is \"", id);
    for (u64 index = 1; index <= last; index++) {
        u64 term = cluster_log_term(player->cluster, id, index);
        same = same && term == expectation->terms[index - 1];
        if (index <= LOG_TOLD_MAX)
            buffer_append_format(why, "%s%" PRIu64, index == 1 ? "" : " ", term);
    }
    buffer_append_string(why, last > LOG_TOLD_MAX ? " ...\"" : "\"");
    return same;
}

static bool judge_said(struct player *player, const struct expectation *expectation, server_id id,
                       struct buffer *why)
{
    u32 count = cluster_said(player->cluster, id, expectation->text);
    buffer_clear(why);
    buffer_append_format(why, "server %u said so in %u lines", id, count);
    return compares(expectation->comparison, count, expectation->number);
}

/* ---- messages ---- */

/* What went over these links since the last expectation. */
static u64 count_messages(struct player *player, cluster_set from, cluster_set to,
                          message_set kinds, bool bytes)
{
    u64 total = 0;
    u32 servers = cluster_server_count(player->cluster);
    const struct player_mark *mark = &player->mark;
    for (server_id a = 1; a <= servers; a++) {
        for (server_id b = 1; b <= servers; b++) {
            if (!cluster_set_has(from, a) || !cluster_set_has(to, b) || a == b)
                continue;
            for (u32 kind = 1; kind < MESSAGE_KIND_END; kind++) {
                if ((kinds >> kind & 1) == 0)
                    continue;
                cluster_set one = cluster_set_of(a);
                cluster_set other = cluster_set_of(b);
                if (bytes)
                    total += cluster_message_bytes(player->cluster, one, other, 1U << kind) -
                             mark->bytes[a][b][kind];
                else
                    total += cluster_messages(player->cluster, one, other, 1U << kind) -
                             mark->messages[a][b][kind];
            }
        }
    }
    return total;
}

static bool judge_messages(struct player *player, const struct expectation *expectation,
                           struct buffer *why)
{
    cluster_set from;
    cluster_set to;
    const char *clause;
    if (!player_servers(player, &expectation->links.from, &from, &clause) ||
        !player_servers(player, &expectation->links.to, &to, &clause)) {
        buffer_append_string(why, clause);
        return false;
    }
    bool bytes = expectation->kind == EXPECT_BYTES;
    u64 count = count_messages(player, from, to, expectation->messages, bytes);
    buffer_append_format(why, "there were %" PRIu64, count);
    return compares(expectation->comparison, count, expectation->number);
}

void player_mark(struct player *player)
{
    u32 servers = cluster_server_count(player->cluster);
    player->mark.term = highest_term(player->cluster);
    for (server_id a = 1; a <= servers; a++) {
        for (server_id b = 1; b <= servers; b++) {
            for (u32 kind = 1; kind < MESSAGE_KIND_END && a != b; kind++) {
                cluster_set from = cluster_set_of(a);
                cluster_set to = cluster_set_of(b);
                player->mark.messages[a][b][kind] =
                    cluster_messages(player->cluster, from, to, 1U << kind);
                player->mark.bytes[a][b][kind] =
                    cluster_message_bytes(player->cluster, from, to, 1U << kind);
            }
        }
    }
}

/* ---- all ---- */

static bool judge(struct player *player, const struct expectation *expectation, struct buffer *why)
{
    switch (expectation->kind) {
    case EXPECT_LEADER:
        return judge_leader(player, expectation, why);
    case EXPECT_STATE:
        return judge_each(player, expectation, judge_state, why);
    case EXPECT_TERM:
        return judge_term(player, expectation, why);
    case EXPECT_ANSWER:
        return judge_answer(player, expectation, why);
    case EXPECT_VALUE:
        return judge_each(player, expectation, judge_value_on, why);
    case EXPECT_COMMITTED:
        return judge_committed(player, expectation, why);
    case EXPECT_COMMIT:
        return judge_each(player, expectation, judge_commit_on, why);
    case EXPECT_LOG:
        return judge_each(player, expectation, judge_log, why);
    case EXPECT_LOG_BYTES:
        return judge_each(player, expectation, judge_log_bytes, why);
    case EXPECT_SAID:
        return judge_each(player, expectation, judge_said, why);
    case EXPECT_STOPPED:
        return judge_each(player, expectation, judge_stopped, why);
    case EXPECT_UNRECOGNISED:
        return judge_each(player, expectation, judge_unrecognised, why);
    case EXPECT_SNAPSHOT:
        return judge_each(player, expectation, judge_snapshot, why);
    case EXPECT_AGREE:
        return cluster_agrees(player->cluster, why);
    case EXPECT_LINEARIZABLE:
        return cluster_is_linearizable(player->cluster, why);
    case EXPECT_MESSAGES:
    case EXPECT_BYTES:
        return judge_messages(player, expectation, why);
    /* scenario_supported keeps these away. */
    case EXPECT_MEMBERS:
        break;
    }
    UNREACHABLE();
}

bool player_holds(struct player *player, const struct expectation *expectation, struct buffer *why)
{
    return judge(player, expectation, why) != expectation->contrary;
}
