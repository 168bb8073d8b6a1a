/* step_table.c - writes server/step/TABLE.md: what each event does in each state, from the running
 * code. `make table` builds it in a variant of its own, in which rules say that they act (rule.h),
 * and linked with nothing but the machine's rooms.
 *
 * Each cell is a new machine, put into the state, told one event, and then told that it may settle
 * and that the disk has everything: what follows from each of the three, and the rules that acted.
 */
#include "test/unit/step_unit.h"

enum { TAGS_MAX = 32 };

static struct step_fixture f;

/* ---- rules that acted ---- */

static const char *tags[TAGS_MAX];
static u32 tag_count;
static bool watching;

void rule_witness(const char *tag);

void rule_witness(const char *tag)
{
    if (!watching)
        return;
    for (u32 i = 0; i < tag_count; i++) {
        if (strcmp(tags[i], tag) == 0)
            return;
    }
    ck_assert_uint_lt(tag_count, TAGS_MAX);
    tags[tag_count++] = tag;
}

/* ---- the events: a situation each, a row of the table ---- */

static struct message message_of(enum message_kind kind, server_id from, i64 terms_ahead)
{
    return (struct message){.kind = kind,
                            .from = from,
                            .to = 1,
                            .term = (u64)((i64)f.raft.current_term + terms_ahead),
                            .call = 900};
}

static struct entry_id last_entry(void)
{
    return log_last(&f.raft.log);
}

static const char *append(u64 room_bytes, bool forwarded, enum step_event_kind kind)
{
    tell_room(&f, room_bytes);
    struct block *block = block_create_copy("x", 1);
    struct step_event event = {.kind = kind};
    event.as.client = (struct step_client){.token = 11,
                                           .body = {block, block->data, 1},
                                           .arrived_ns = f.now_ns,
                                           .forwarded = forwarded,
                                           .serial = ++f.serial};
    const char *story = tell(&f, event);
    block_release(block);
    return story;
}

static const char *append_plain(void)
{
    return append(MIB, false, ON_APPEND);
}
static const char *append_full(void)
{
    return append(0, false, ON_APPEND);
}
static const char *append_forwarded(void)
{
    return append(MIB, true, ON_APPEND);
}
static const char *read_plain(void)
{
    return append(MIB, false, ON_READ);
}

static const char *order_plain(void)
{
    return tell_order(&f, 2, 12);
}
static const char *order_then_append(void)
{
    watching = false;
    order_plain();
    watching = true;
    return append(MIB, false, ON_APPEND);
}
static const char *order_in_vain(void)
{
    order_then_append();
    tell_kind(&f, ON_BATCH_END);
    f.now_ns = f.step.lead.transfer.deadline_ns;
    return tell_kind(&f, ON_BATCH_END);
}

static const char *timeout_early(void)
{
    return tell_kind(&f, ON_TIMEOUT);
}
static const char *timeout_due(void)
{
    watching = false;
    pass_silence(&f, u64_max(f.step.deadline_ns, f.now_ns + 10000 * T_MS));
    watching = true;
    return tell_kind(&f, ON_TIMEOUT);
}

/* A FORWARD has gone to the leader, where there is one. */
static const char *timeout_forwarded(void)
{
    watching = false;
    append(MIB, false, ON_APPEND);
    tell_kind(&f, ON_BATCH_END);
    watching = true;
    f.now_ns += f.step.settings.forward_timeout_ns;
    f.step.deadline_ns = f.now_ns + 1;
    return tell_kind(&f, ON_TIMEOUT);
}

static const char *entries_stale(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term - 1, last_entry(), "", 2));
}
static const char *entries_heartbeat(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term, last_entry(), "", 3));
}
static const char *entries_new(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term, last_entry(), "9 9", 2));
}
static const char *entries_known(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term, (struct entry_id){1, 2}, "2", 2));
}
static const char *entries_conflict(void)
{
    return tell_message(&f,
                        append_of(2, f.raft.current_term + 1, (struct entry_id){1, 2}, "1 9", 2));
}
static const char *entries_missing(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term + 1, (struct entry_id){9, 9}, "", 2));
}
static const char *entries_contradiction(void)
{
    return tell_message(&f, append_of(2, f.raft.current_term + 1, (struct entry_id){2, 2}, "", 2));
}

static const char *accepted(void)
{
    /* An entry of the leader's own to be accepted. */
    watching = false;
    if (f.step.state == RAFT_LEADER) {
        tell_command(&f, ON_APPEND, 11);
        tell_kind(&f, ON_BATCH_END);
        tell_persisted(&f);
    }
    watching = true;
    return tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 2, true));
}
static const char *refused(void)
{
    return tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 2, false));
}
static const char *refused_newer(void)
{
    struct message reply = message_of(MESSAGE_APPEND_ENTRIES_REPLY, 2, 1);
    reply.as.append_reply.result = APPEND_REFUSED_TERM;
    return tell_message(&f, reply);
}

static const char *vote(i64 terms_ahead, struct entry_id last, bool transfer)
{
    struct message request = message_of(MESSAGE_REQUEST_VOTE, 3, terms_ahead);
    request.as.vote_request = (struct vote_request){last, transfer};
    return tell_message(&f, request);
}
static const char *vote_stale(void)
{
    return vote(-1, last_entry(), false);
}
static const char *vote_same(void)
{
    return vote(0, last_entry(), false);
}
static const char *vote_newer(void)
{
    return vote(1, last_entry(), false);
}
static const char *vote_transfer(void)
{
    return vote(1, last_entry(), true);
}
static const char *vote_alone(void)
{
    f.now_ns += 10000 * T_MS;
    return vote(1, last_entry(), false);
}
static const char *vote_behind(void)
{
    f.now_ns += 10000 * T_MS;
    return vote(1, (struct entry_id){1, 9}, false);
}

static const char *vote_reply(enum message_kind kind, i64 terms_ahead, bool yes)
{
    struct message reply = reply_of(&f, kind, 3, yes);
    reply.term = (u64)((i64)reply.term + terms_ahead);
    return tell_message(&f, reply);
}
static const char *vote_yes(void)
{
    return vote_reply(MESSAGE_REQUEST_VOTE_REPLY, 0, true);
}
static const char *votes_no(void)
{
    (void)tell_message(&f, reply_of(&f, MESSAGE_REQUEST_VOTE_REPLY, 2, false));
    return vote_reply(MESSAGE_REQUEST_VOTE_REPLY, 0, false);
}
static const char *vote_no_newer(void)
{
    return vote_reply(MESSAGE_REQUEST_VOTE_REPLY, 1, false);
}
static const char *pre_vote_yes(void)
{
    return vote_reply(MESSAGE_PRE_VOTE_REPLY, 0, true);
}
static const char *pre_votes_no(void)
{
    (void)tell_message(&f, reply_of(&f, MESSAGE_PRE_VOTE_REPLY, 2, false));
    return vote_reply(MESSAGE_PRE_VOTE_REPLY, 0, false);
}

static const char *pre_vote(struct entry_id last)
{
    struct message request = message_of(MESSAGE_PRE_VOTE, 3, 1);
    request.as.vote_request.last = last;
    return tell_message(&f, request);
}
static const char *pre_vote_heard(void)
{
    return pre_vote(last_entry());
}
static const char *pre_vote_alone(void)
{
    f.now_ns += 10000 * T_MS;
    return pre_vote(last_entry());
}
static const char *pre_vote_behind(void)
{
    f.now_ns += 10000 * T_MS;
    return pre_vote((struct entry_id){1, 9});
}

#include "test/unit/step_table_others.h"

static const char *timeout_now(void)
{
    return tell_message(&f, message_of(MESSAGE_TIMEOUT_NOW, 2, 0));
}
static const char *campaign(void)
{
    return tell(&f, (struct step_event){.kind = ON_CAMPAIGN,
                                        .as.campaign = {false, "an election was ordered"}});
}
static const char *connected(void)
{
    return tell(&f, (struct step_event){.kind = ON_CONNECTED, .as.peer = 2});
}
static const char *connected_forwarding(void)
{
    (void)forwarded_call();
    return connected();
}
static const char *connection_lost(void)
{
    return tell(&f, (struct step_event){.kind = ON_CONNECTION_LOST, .as.peer = 2});
}

static const char *applied(void)
{
    return tell(&f, (struct step_event){.kind = ON_APPLIED, .as.work = 1});
}

static const char *persisted_entries(void)
{
    watching = false;
    if (f.step.state == RAFT_LEADER) {
        tell_command(&f, ON_APPEND, 11);
        tell_kind(&f, ON_BATCH_END);
        tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 2, true));
    } else if (f.step.state == RAFT_FOLLOWER) {
        tell_message(&f, append_of(2, f.raft.current_term, last_entry(), "9", 2));
    } else if (f.step.election.pre_vote) {
        tell_message(&f, reply_of(&f, MESSAGE_PRE_VOTE_REPLY, 3, true));
    }
    watching = true;
    return tell_persisted(&f);
}

static const char *entries_read(void)
{
    /* A peer that needs an entry which is no longer in memory. */
    if (f.step.state == RAFT_LEADER) {
        struct progress *peer = leadership_peer(&f.step.lead.leadership, 2);
        peer->next_index = 3;
        peer->reading = 7;
    }
    struct block *block = block_create_copy("record", 6);
    struct entries_read read = {
        .order = 7, .peer = 2, .first = 3, .count = 1, .records = {block, block->data, 6}};
    const char *story = tell(&f, (struct step_event){.kind = ON_ENTRIES_READ, .as.read = &read});
    block_release(block);
    return story;
}

static const char *room(void)
{
    return tell_room(&f, MIB);
}
static const char *settings(void)
{
    return tell(&f, (struct step_event){.kind = ON_SETTINGS, .as.settings = f.step.settings});
}
static const char *settle_idle(void)
{
    return tell_kind(&f, ON_BATCH_END);
}
static const char *settle_waiting(void)
{
    watching = false;
    append(MIB, false, ON_APPEND);
    watching = true;
    return tell_kind(&f, ON_BATCH_END);
}
static const char *settle_heartbeat(void)
{
    f.now_ns += f.raft.heartbeat_ns;
    return tell_kind(&f, ON_BATCH_END);
}
static const char *stop_waiting(void)
{
    watching = false;
    append(MIB, false, ON_APPEND);
    watching = true;
    return tell_kind(&f, ON_STOP);
}

static const struct situation {
    enum step_event_kind kind;
    const char *what;
    const char *(*tell)(void);
} situations[] = {
    {ON_APPEND, "", append_plain},
    {ON_APPEND, "the disk is full", append_full},
    {ON_APPEND, "another server has forwarded it", append_forwarded},
    {ON_READ, "", read_plain},
    {ON_TRANSFER, "to server 2", order_plain},
    {ON_APPEND, "leadership is being handed over", order_then_append},
    {ON_BATCH_END, "leadership was being handed over, in vain", order_in_vain},
    {ON_TIMEOUT, "nothing is due yet", timeout_early},
    {ON_TIMEOUT, "after a long silence", timeout_due},
    {ON_TIMEOUT, "a forwarded command has waited too long", timeout_forwarded},
    {ON_APPEND_ENTRIES_REQ, "of an older term", entries_stale},
    {ON_APPEND_ENTRIES_REQ, "a heartbeat; entry 3 is committed", entries_heartbeat},
    {ON_APPEND_ENTRIES_REQ, "two new entries", entries_new},
    {ON_APPEND_ENTRIES_REQ, "an entry that is there already", entries_known},
    {ON_APPEND_ENTRIES_REQ, "of a newer term; an entry is in conflict", entries_conflict},
    {ON_APPEND_ENTRIES_REQ, "of a newer term; the entry before is missing", entries_missing},
    {ON_APPEND_ENTRIES_REQ, "of a newer term; contradicts a committed entry",
     entries_contradiction},
    {ON_APPEND_ENTRIES_RESP, "it accepts the newest entry", accepted},
    {ON_APPEND_ENTRIES_RESP, "it refuses: conflict", refused},
    {ON_APPEND_ENTRIES_RESP, "it refuses: newer term", refused_newer},
    {ON_VOTE_REQ, "of an older term", vote_stale},
    {ON_VOTE_REQ, "of the same term", vote_same},
    {ON_VOTE_REQ, "of a newer term", vote_newer},
    {ON_VOTE_REQ, "of a newer term, handed over", vote_transfer},
    {ON_VOTE_REQ, "of a newer term, after a long silence", vote_alone},
    {ON_VOTE_REQ, "the same; its log is behind", vote_behind},
    {ON_VOTE_RESP, "yes", vote_yes},
    {ON_VOTE_RESP, "no, from both", votes_no},
    {ON_VOTE_RESP, "no: newer term", vote_no_newer},
    {ON_PRE_VOTE_REQ, "", pre_vote_heard},
    {ON_PRE_VOTE_REQ, "after a long silence", pre_vote_alone},
    {ON_PRE_VOTE_REQ, "the same; its log is behind", pre_vote_behind},
    {ON_PRE_VOTE_RESP, "yes", pre_vote_yes},
    {ON_PRE_VOTE_RESP, "no, from both", pre_votes_no},
    {ON_FORWARD_REQ, "", forward_new},
    {ON_FORWARD_REQ, "for the second time", forward_twice},
    {ON_FORWARD_REQ, "that cannot be decoded", forward_malformed},
    {ON_FORWARD_RESP, "with the answers", forward_done},
    {ON_FORWARD_RESP, "it does not lead", forward_elsewhere},
    {ON_TIMEOUT_NOW, "from the leader", timeout_now},
    {ON_CAMPAIGN, "", campaign},
    {ON_UNRECOGNISED, "it is about this start of this directory", unrecognised},
    {ON_MET, "for the first time", met_new},
    {ON_MET, "it has another data directory than before", met_wiped},
    {ON_CONNECTED, "", connected},
    {ON_CONNECTED, "a command has been forwarded", connected_forwarding},
    {ON_CONNECTION_LOST, "the leader's, if there is one", connection_lost},
    {ON_UNSENT, "", unsent},
    {ON_PERSISTED, "what this state was waiting for", persisted_entries},
    {ON_APPLIED, "", applied},
    {ON_ENTRIES_READ, "", entries_read},
    {ON_ROOM, "", room},
    {ON_SETTINGS, "", settings},
    {ON_BATCH_END, "", settle_idle},
    {ON_BATCH_END, "after a write", settle_waiting},
    {ON_BATCH_END, "heartbeats are due", settle_heartbeat},
    {ON_STOP, "a write waits", stop_waiting},
};

/* ---- writing ---- */

static void put_story(const char *label, const char *story, bool *anything)
{
    if (story[0] == '\0')
        return;
    printf("%s", *anything ? "<br>" : "");
    *anything = true;
    if (label[0] != '\0')
        printf("*%s:* ", label);
    for (; *story != '\0'; story++) {
        if (story[0] == ';')
            printf("<br>");
        else if (story[0] != ' ' || story[-1] != ';')
            putchar(*story);
    }
}

/* What an event changes without asking for anything. */
static void put_kept(enum step_place where, enum step_event_kind kind, u64 alarm_ns, bool *anything)
{
    bool is_command = kind == ON_APPEND || kind == ON_READ;
    if (f.step.lead.held.count > 0 && where == PLACE_LEADER)
        put_story("", "it waits for the end of the transfer", anything);
    if (f.step.parked.count > 0 && (is_command || where == PLACE_FOLLOWER))
        put_story("", "it waits until a leader is known", anything);
    if (!*anything && f.step.alarm_ns < alarm_ns)
        put_story("", "a nearer deadline", anything);
}

static void write_cell(enum step_place where, const struct situation *situation)
{
    bool anything = false;
    place(&f, where);
    tag_count = 0;
    watching = true;
    u64 alarm_ns = f.step.alarm_ns;
    put_story("", situation->tell(), &anything);
    put_kept(where, situation->kind, alarm_ns, &anything);
    if (situation->kind != ON_BATCH_END)
        put_story("settled", tell_kind(&f, ON_BATCH_END), &anything);
    /* A vote that is saved may make a leader, who has something to say in turn. */
    for (u32 i = 0; i < 2 && f.step.stores.synced < f.step.stores.asked; i++) {
        put_story("stored", tell_persisted(&f), &anything);
        put_story("settled", tell_kind(&f, ON_BATCH_END), &anything);
    }
    watching = false;
    if (!anything)
        printf("nothing");
    for (u32 i = 0; i < tag_count; i++)
        printf("%s%s", i == 0 ? "<br>" : " ", tags[i]);
    leave_place(&f);
}

static void write_head(void)
{
    printf("# State and event: what the step machine does\n\n"
           "Generated by `make table` from the running code; a test keeps it true.\n\n"
           "Each cell is a new machine that is told one event: server 1 of three, log \"1 1 2\", "
           "entry 2 committed. After the event come what it does when it is told to *settle*, and "
           "when all that it asked to be *stored* is on the disk. In brackets are the rules that "
           "acted. Alarms are left out: nearly everything moves one.\n\n"
           "Columns:\n\n");
    static const char *const words[] = {
#define X(name, word, what) \
    "**" word "**"          \
    ": " what,
        STEP_PLACES(X)
#undef X
    };
    for (u32 where = 0; where < PLACE_STOPPED; where++)
        printf("- %s\n", words[where]);
    printf("\nA server that has *stopped* answers every `Append` and `Read` with "
           "`Refuse(STOPPING)`, and does nothing else.\n");
}

static void write_rows(enum step_event_kind kind)
{
    static const char *const words[] = {
#define X(name, word, what) word,
        STEP_PLACES(X)
#undef X
    };
    printf("\n## %s\n\n%c%s.\n\n|", step_event_word(kind), step_event_meaning(kind)[0] - 'a' + 'A',
           step_event_meaning(kind) + 1);
    printf(" |");
    for (u32 where = 0; where < PLACE_STOPPED; where++)
        printf(" %s |", words[where]);
    printf("\n|---|---|---|---|---|\n");
    for (u32 i = 0; i < ARRAY_LENGTH(situations); i++) {
        if (situations[i].kind != kind)
            continue;
        printf("| %s |", situations[i].what);
        for (u32 where = 0; where < PLACE_STOPPED; where++) {
            putchar(' ');
            write_cell((enum step_place)where, &situations[i]);
            printf(" |");
        }
        putchar('\n');
    }
}

/* The helpers assert: that wants a test around it. */
START_TEST(table)
{
    write_head();
    for (u32 kind = 0; kind <= ON_STOP; kind++)
        write_rows((enum step_event_kind)kind);
    fflush(stdout);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("step_table");
    TCase *tcase = tcase_create("table");
    tcase_add_test(tcase, table);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    if (failed > 0)
        srunner_print(runner, CK_NORMAL);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
