/* scenario_steps.c - the statements that act and judge, each by its own function. */
#include "test/sim/scenario_words.h"

/* ---- faults of the network ---- */

static bool parse_partition(struct line_reader *reader, struct statement *statement)
{
    statement->groups =
        scenario_alloc(reader->scenario, LINE_WORDS_MAX, sizeof(struct server_list));
    do {
        if (!take_servers(reader, &statement->groups[statement->group_count++]))
            return false;
    } while (line_accept(reader, "/"));
    if (statement->group_count < 2 && reader->at == reader->count)
        return line_fail(reader, "one part is no partition, expected \"/\" and another part");
    return true;
}

static bool parse_servers(struct line_reader *reader, struct statement *statement)
{
    return take_servers(reader, &statement->who);
}

static bool parse_server(struct line_reader *reader, struct statement *statement)
{
    return take_server(reader, &statement->who);
}

static bool parse_directed(struct line_reader *reader, struct statement *statement)
{
    return take_directed_links(reader, &statement->links);
}

static bool parse_nothing(struct line_reader *reader, struct statement *statement)
{
    (void)reader;
    (void)statement;
    return true;
}

static bool parse_delay(struct line_reader *reader, struct statement *statement)
{
    return take_links(reader, &statement->links) && take_duration_range(reader, &statement->delay);
}

static bool parse_chance(struct line_reader *reader, struct statement *statement)
{
    return take_links(reader, &statement->links) && take_percent(reader, &statement->ppm);
}

static bool parse_hold(struct line_reader *reader, struct statement *statement)
{
    return take_directed_links(reader, &statement->links) &&
           take_message_kind(reader, &statement->messages);
}

static bool parse_release(struct line_reader *reader, struct statement *statement)
{
    if (!take_directed_links(reader, &statement->links))
        return false;
    statement->on = line_accept(reader, "reverse");
    return true;
}

static bool parse_reset(struct line_reader *reader, struct statement *statement)
{
    return take_servers(reader, &statement->links.from) && take_this(reader, "-") &&
           take_servers(reader, &statement->links.to);
}

/* ---- faults of servers, disks and clocks ---- */

static bool parse_timers(struct line_reader *reader, struct statement *statement)
{
    statement->on = line_accept(reader, "on");
    if (statement->on || line_accept(reader, "off"))
        return true;
    return line_fail(reader, "timers are \"%s\", expected on or off", line_peek(reader));
}

static bool parse_place(struct line_reader *reader, struct statement *statement)
{
    static const struct {
        const char *word;
        enum cluster_place place;
    } places[] = {{"log", CLUSTER_LOG},     {"replaced", CLUSTER_REPLACED},
                  {"spare", CLUSTER_SPARE}, {"metadata", CLUSTER_METADATA},
                  {"slot", CLUSTER_SLOT},   {"snapshot", CLUSTER_SNAPSHOT}};
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        if (!line_accept(reader, places[i].word))
            continue;
        statement->place = places[i].place;
        return (statement->place != CLUSTER_LOG && statement->place != CLUSTER_REPLACED) ||
               take_number(reader, "the index of an entry, 1 or more", 1, UINT64_MAX,
                           &statement->count);
    }
    return line_fail(
        reader,
        "\"%s\" cannot be damaged, expected log N, replaced N, spare, metadata, slot or snapshot",
        line_peek(reader));
}

static bool parse_damage(struct line_reader *reader, struct statement *statement)
{
    statement->disk = DISK_DAMAGE;
    if (statement->damage == CLUSTER_FLIP || statement->damage == CLUSTER_UNREADABLE)
        return parse_place(reader, statement);
    statement->place = CLUSTER_SNAPSHOT;
    return take_this(reader, "snapshot");
}

static bool parse_disk(struct line_reader *reader, struct statement *statement)
{
    static const struct {
        const char *word;
        enum disk_action action;
    } actions[] = {
        {"sync=EIO", DISK_SYNC_EIO},
        {"write=EIO", DISK_WRITE_EIO},
        {"write=ENOSPC", DISK_WRITE_ENOSPC},
        {"stall", DISK_STALL},
        {"heal", DISK_HEAL},
        {"copy", DISK_COPY},
        {"set-back", DISK_SET_BACK},
        {"stray", DISK_STRAY},
        {"own", DISK_OWN},
    };
    static const struct {
        const char *word;
        enum cluster_damage damage;
    } damages[] = {{"flip", CLUSTER_FLIP},
                   {"unreadable", CLUSTER_UNREADABLE},
                   {"tear", CLUSTER_TEAR},
                   {"remove", CLUSTER_REMOVE}};
    if (!take_servers(reader, &statement->who))
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
        if (line_accept(reader, actions[i].word)) {
            statement->disk = actions[i].action;
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(damages); i++) {
        if (line_accept(reader, damages[i].word)) {
            statement->damage = damages[i].damage;
            return parse_damage(reader, statement);
        }
    }
    bool slow = strncmp(line_peek(reader), "slow=", 5) == 0;
    if (slow || strncmp(line_peek(reader), "read=", 5) == 0) {
        statement->disk = slow ? DISK_SLOW : DISK_READ;
        reader->words[reader->at].text += 5;
        return take_time(reader, &statement->time_ns);
    }
    return line_fail(reader,
                     "a disk does not do \"%s\", expected sync=EIO, write=EIO, "
                     "write=ENOSPC, slow=TIME, read=TIME, stall, heal, flip, unreadable, tear, "
                     "remove, copy, set-back, stray or own",
                     line_peek(reader));
}

static bool parse_crash_at_write(struct line_reader *reader, struct statement *statement)
{
    if (!take_servers(reader, &statement->who))
        return false;
    return line_accept(reader, "off") ||
           take_number(reader, "which write from now, 1 or more, or off", 1, UINT32_MAX,
                       &statement->count);
}

static bool parse_exhaust(struct line_reader *reader, struct statement *statement)
{
    static const char *const words[] = {[EXHAUST_MEMORY] = "memory",
                                        [EXHAUST_THREADS] = "threads",
                                        [EXHAUST_DESCRIPTORS] = "descriptors"};
    if (!take_servers(reader, &statement->who))
        return false;
    size_t resource = 0;
    while (resource < ARRAY_LENGTH(words) && !line_accept(reader, words[resource]))
        resource++;
    if (resource == ARRAY_LENGTH(words))
        return line_fail(reader,
                         "a server does not run out of \"%s\", expected memory, threads or "
                         "descriptors",
                         line_peek(reader));
    statement->resource = (enum scenario_resource)resource;
    if (line_accept(reader, "off"))
        return true;
    if (!take_this(reader, "at") ||
        !take_number(reader, "which use from now, 1 or more", 1, UINT32_MAX, &statement->count))
        return false;
    statement->on = line_accept(reader, "once");
    return true;
}

static bool parse_clock(struct line_reader *reader, struct statement *statement)
{
    if (!take_servers(reader, &statement->who))
        return false;
    if (line_accept(reader, "rate"))
        return take_rate(reader, &statement->ppm);
    if (line_accept(reader, "jump"))
        return take_jump(reader, &statement->jump_ns);
    return line_fail(reader, "a clock does not do \"%s\", expected rate or jump",
                     line_peek(reader));
}

static bool parse_chaos(struct line_reader *reader, struct statement *statement)
{
    return take_time(reader, &statement->time_ns);
}

/* ---- work ---- */

/* What a client asks, from its first word on; `via` only where the client waits. */
static bool parse_client_command(struct line_reader *reader, struct scenario_command *command)
{
    if (line_accept(reader, "set")) {
        command->operation = OPERATION_SET;
        if (!take_text(reader, "a key", &command->key) ||
            !take_text(reader, "a value", &command->value))
            return false;
    } else if (line_accept(reader, "cas")) {
        command->operation = OPERATION_CAS;
        if (!take_text(reader, "a key", &command->key) ||
            !take_text(reader, "the old value", &command->old) ||
            !take_text(reader, "the new value", &command->value))
            return false;
    } else {
        if (line_accept(reader, "get"))
            command->operation = OPERATION_GET;
        else if (line_accept(reader, "incr"))
            command->operation = OPERATION_INCR;
        else if (line_accept(reader, "del"))
            command->operation = OPERATION_DEL;
        else
            return line_fail(reader,
                             "\"%s\" is no command of a client, expected set, get, incr, "
                             "cas or del",
                             line_peek(reader));
        if (!take_text(reader, "a key", &command->key))
            return false;
    }
    return !line_accept(reader, "via") || take_server(reader, &command->via);
}

static bool parse_command(struct line_reader *reader, struct statement *statement)
{
    reader->at--; /* its first word tells which */
    return parse_client_command(reader, &statement->command);
}

static bool parse_async(struct line_reader *reader, struct statement *statement)
{
    return take_text(reader, "the name of a client", &statement->client) &&
           parse_client_command(reader, &statement->command);
}

static bool parse_once(struct line_reader *reader, struct statement *statement)
{
    return take_text(reader, "the name of a session", &statement->client) &&
           take_number(reader, "a serial, 1 or more", 1, UINT64_MAX, &statement->count) &&
           parse_client_command(reader, &statement->command);
}

static bool parse_load(struct line_reader *reader, struct statement *statement)
{
    static const char *const expected = "a rate like 50/s";
    if (reader->at < reader->count) {
        const char *word = line_peek(reader);
        size_t size = strlen(word);
        if (size < 3 || strcmp(word + size - 2, "/s") != 0)
            return line_fail(reader, "\"%s\" is no rate, expected one like 50/s", word);
        reader->words[reader->at].text = scenario_copy(reader->scenario, word, size - 2);
    }
    return take_number(reader, expected, 1, 1000000, &statement->per_second) &&
           take_this(reader, "for") && take_time(reader, &statement->time_ns);
}

static bool parse_member(struct line_reader *reader, struct statement *statement)
{
    if (line_accept(reader, "set")) {
        statement->member = MEMBER_SET;
        return take_servers(reader, &statement->who);
    }
    if (line_accept(reader, "add"))
        statement->member = MEMBER_ADD;
    else if (line_accept(reader, "remove"))
        statement->member = MEMBER_REMOVE;
    else if (line_accept(reader, "promote"))
        statement->member = MEMBER_PROMOTE;
    else
        return line_fail(reader,
                         "\"%s\" is no change of members, expected add, remove, promote or "
                         "set",
                         line_peek(reader));
    return take_server(reader, &statement->who);
}

/* ---- the table ---- */

struct step_rule {
    const char *word;
    enum statement_kind kind;
    bool (*parse)(struct line_reader *reader, struct statement *statement);
};

static const struct step_rule step_rules[] = {
    {"partition", STATEMENT_PARTITION, parse_partition},
    {"isolate", STATEMENT_ISOLATE, parse_servers},
    {"cut", STATEMENT_CUT, parse_directed},
    {"join", STATEMENT_JOIN, parse_directed},
    {"bridge", STATEMENT_BRIDGE, parse_server},
    {"ring", STATEMENT_RING, parse_nothing},
    {"heal", STATEMENT_HEAL, parse_nothing},
    {"delay", STATEMENT_DELAY, parse_delay},
    {"loss", STATEMENT_LOSS, parse_chance},
    {"full", STATEMENT_FULL, parse_chance},
    {"duplicate", STATEMENT_DUPLICATE, parse_chance},
    {"reorder", STATEMENT_REORDER, parse_chance},
    {"corrupt", STATEMENT_CORRUPT, parse_chance},
    {"hold", STATEMENT_HOLD, parse_hold},
    {"release", STATEMENT_RELEASE, parse_release},
    {"crash", STATEMENT_CRASH, parse_servers},
    {"kill", STATEMENT_KILL, parse_servers},
    {"reset", STATEMENT_RESET, parse_reset},
    {"stop", STATEMENT_STOP, parse_servers},
    {"timers", STATEMENT_TIMERS, parse_timers},
    {"restart", STATEMENT_RESTART, parse_servers},
    {"pause", STATEMENT_PAUSE, parse_servers},
    {"resume", STATEMENT_RESUME, parse_servers},
    {"wipe", STATEMENT_WIPE, parse_servers},
    {"swap", STATEMENT_SWAP, parse_servers},
    {"disk", STATEMENT_DISK, parse_disk},
    {"crash-at-write", STATEMENT_CRASH_AT_WRITE, parse_crash_at_write},
    {"kill-at-write", STATEMENT_KILL_AT_WRITE, parse_crash_at_write},
    {"exhaust", STATEMENT_EXHAUST, parse_exhaust},
    {"clock", STATEMENT_CLOCK, parse_clock},
    {"chaos", STATEMENT_CHAOS, parse_chaos},
    {"elect", STATEMENT_ELECT, parse_server},
    {"timeout", STATEMENT_TIMEOUT, parse_servers},
    {"set", STATEMENT_COMMAND, parse_command},
    {"get", STATEMENT_COMMAND, parse_command},
    {"incr", STATEMENT_COMMAND, parse_command},
    {"cas", STATEMENT_COMMAND, parse_command},
    {"del", STATEMENT_COMMAND, parse_command},
    {"async", STATEMENT_ASYNC, parse_async},
    {"pipe", STATEMENT_PIPE, parse_async},
    {"once", STATEMENT_ONCE, parse_once},
    {"load", STATEMENT_LOAD, parse_load},
    {"transfer", STATEMENT_TRANSFER, parse_server},
    {"readmit", STATEMENT_READMIT, parse_server},
    {"member", STATEMENT_MEMBER, parse_member},
    {"snapshot", STATEMENT_SNAPSHOT, parse_servers},
};

bool parse_judgement(struct line_reader *reader, struct statement *statement)
{
    statement->kind = STATEMENT_EXPECT;
    statement->expectation.contrary = line_accept(reader, "not");
    return take_this(reader, "expect") && parse_expectation(reader, &statement->expectation);
}

bool parse_step(struct line_reader *reader, struct statement *statement)
{
    const char *word = line_peek(reader);
    if (strcmp(word, "expect") == 0 || strcmp(word, "not") == 0)
        return parse_judgement(reader, statement);
    for (size_t i = 0; i < ARRAY_LENGTH(step_rules); i++) {
        if (line_accept(reader, step_rules[i].word)) {
            statement->kind = step_rules[i].kind;
            return step_rules[i].parse(reader, statement);
        }
    }
    if (reader->at == reader->count)
        return line_fail(reader, "the line ends too early, expected an action or an expectation");
    return line_fail(reader,
                     "\"%s\" is no statement that can stand here, expected an action such "
                     "as crash, partition or set, or an expectation",
                     word);
}
