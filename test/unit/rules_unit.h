/* rules_unit.h - what the tests of server/rules share: literal logs, and messages between servers.
 *
 * raft_of(3, 2, "1 1 2") is server 2 of a cluster of three whose log has entries of those terms,
 * all saved, in a current term that is the last entry's. Entry 1 is a command here, so that logs
 * look like the paper's. */
#ifndef MAILRAFT_TEST_UNIT_RULES_UNIT_H
#define MAILRAFT_TEST_UNIT_RULES_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "server/rules/election.h"
#include "server/rules/replication.h"
#include "test/unit/unit.h"

#define T_MS NS_PER_MS

UNIT_HELPER struct entry command_entry(u64 term, const char *text)
{
    return (struct entry){.id.term = term,
                          .type = ENTRY_COMMAND,
                          .version = ENTRY_VERSION,
                          .payload = (const u8 *)text,
                          .payload_size = (u32)strlen(text)};
}

/* Appends an entry for each term in "1 1 2". */
UNIT_HELPER void log_add(struct log *log, const char *terms)
{
    char *end;
    for (const char *at = terms; *at != '\0'; at = end) {
        u64 term = strtoull(at, &end, 10);
        ck_assert_ptr_ne(at, end);
        struct entry entry = command_entry(term, "x");
        log_append(log, &entry, NULL, 0);
        while (*end == ' ')
            end++;
    }
}

UNIT_HELPER void raft_of(struct raft *raft, u32 servers, server_id self, const char *terms)
{
    raft_init(raft, self, 64 * MIB);
    struct error error;
    for (server_id id = 1; id <= servers; id++) {
        char peer[32];
        (void)snprintf(peer, sizeof(peer), "host:%u", 7000 + id);
        ck_assert_int_eq(configuration_add(&raft->configuration, id, peer, "", &error), ERROR_NONE);
    }
    raft->configuration.index = 1;
    raft->election_timeout_ns_min = 150 * T_MS;
    raft->election_timeout_ns_max = 300 * T_MS;
    raft->heartbeat_ns = 50 * T_MS;
    raft->message_bytes_max = MIB;
    raft->window_bytes_max = 8 * MIB;
    raft->round_bytes_max = MIB;
    raft->uncommitted_bytes_max = 64 * MIB;
    log_add(&raft->log, terms);
    log_saved(&raft->log, raft->log.last_index);
    raft->current_term = log_last(&raft->log).term;
}

/* The log's terms as "1 1 2"; the caller need not free it. */
UNIT_HELPER const char *terms_of(const struct log *log)
{
    static char text[4096];
    size_t used = 0;
    text[0] = '\0';
    for (u64 index = log->base.index + 1; index <= log->last_index; index++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%llu", used == 0 ? "" : " ",
                                 (unsigned long long)log_term_at(log, index));
    return text;
}

/* An AppendEntries from `from` with entries of the given terms behind `prev`. */
UNIT_HELPER struct message append_of(server_id from, u64 term, struct entry_id prev,
                                     const char *terms, u64 leader_commit)
{
    struct message message = {
        .kind = MESSAGE_APPEND_ENTRIES, .from = from, .term = term, .call = 1};
    message.as.append_request =
        (struct append_request){.prev = prev, .leader_commit = leader_commit, .round = 7};
    struct log log;
    log_init(&log, MIB);
    log.base = prev;
    log.last_index = prev.index;
    log.memory_first = prev.index + 1;
    log.unsaved_index = prev.index + 1;
    log_add(&log, terms);
    message.as.append_request.count = log_slice(&log, prev.index + 1, UINT64_MAX, message.spans,
                                                MESSAGE_SPANS_MAX, &message.span_count);
    log_deinit(&log);
    return message;
}

/* Hands the message to the follower's rule, and releases it. */
UNIT_HELPER struct append_reply append_to(struct raft *raft, struct message message)
{
    struct message reply;
    const char *why = "";
    if (message.term > raft->current_term)
        adopt_term(raft, message.term);
    ck_assert_msg(append_entries(raft, &message, UINT64_MAX, T_MS, &reply, &why), "%s", why);
    ck_assert_int_eq(reply.kind, MESSAGE_APPEND_ENTRIES_REPLY);
    ck_assert_uint_eq(reply.call, message.call);
    ck_assert_uint_eq(reply.to, message.from);
    message_release(&message);
    return reply.as.append_reply;
}

UNIT_HELPER struct message vote_of(server_id from, u64 term, struct entry_id last)
{
    return (struct message){.kind = MESSAGE_REQUEST_VOTE,
                            .from = from,
                            .term = term,
                            .call = 9,
                            .as.vote_request.last = last};
}

#endif
