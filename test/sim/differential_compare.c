/* differential_compare.c - what must be equal.
 *
 * After one event and rest, in each world and on each server: the state, the term, the vote, the
 * known leader, the log (terms, and the records that are in memory), what is durable, committed and
 * applied, the machine; what clients were answered; and every message that was sent, as the bytes
 * that it is on the wire.
 *
 * Three things may differ. The *numbers* by which a server tells its own messages apart, that is
 * `call` and a FORWARD's serial: a message that cannot be sent uses up a number, and a FORWARD is
 * tried again whenever the design happens to wake up. Each world has names of its own for them,
 * learnt from the requests; replies must echo the right one. Everything else is equal to the bit.
 * The *order* of the messages to one peer within one rest: a design may send what needs no disk
 * before what does, or the other way round, and the network gives no order to rely on; all worlds
 * then go on with the order of the first. And the order of *answers* within one rest: the commands
 * are different clients'.
 *
 * After a pile is settled: the committed entries, with their terms and payloads, as a set within
 * each term (commands that came in by different servers may overtake each other; what order they
 * had for one key shows in the machine, since keys belong to servers: see differential_draw.c), the
 * machines, the state of each server, and all answers.
 *
 * When messages were sent is not compared: servers are told apart by what they do, and all of a
 * rest is one instant. Nor is what is private to a design, such as when its election timer is due.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/peers/codec.h"
#include "test/sim/checks_see.h"
#include "test/sim/differential_inside.h"

#define U64 "%" PRIu64

static const char *const world_words[DIFFER_WORLDS] = {"per-state", "dispatch", "step"};

static const struct sim_server *server_in(const struct differ *differ, u32 world, server_id id)
{
    return &differ->worlds[world].cluster->servers[id];
}

/* ---- a server's state ---- */

/* X(words, value, is it compared after piles, too?). `s` is the struct sim_server, `r` its struct
 * raft; it is alive. When snapshots are taken depends on the piles. */
#define FIELDS(X)                                             \
    X("state", (u64)s->server->state, true)                   \
    X("term", r->current_term, true)                          \
    X("vote", r->voted_for, true)                             \
    X("known leader", r->leader, true)                        \
    X("last entry", r->log.last_index, true)                  \
    X("last entry's term", log_last(&r->log).term, true)      \
    X("durable index", r->log.durable_index, true)            \
    X("unsaved term or vote", (u64)r->metadata_unsaved, true) \
    X("commit index", r->commit_index, true)                  \
    X("applied index", r->last_applied, true)                 \
    X("snapshot's index", r->snapshot.last.index, false)      \
    X("snapshot's checksum", r->snapshot.checksum, false)     \
    X("incoming bytes", r->incoming.received, false)          \
    X("log's base", r->log.base.index, false)                 \
    X("promised index", r->acked_through.index, true)         \
    X("machine's digest", s->server->machine->ops->digest(s->server->machine), true)

enum { FIELDS_MAX = 24 };

static u32 look(const struct sim_server *s, bool piles, u64 *values, const char **words)
{
    u32 count = 0;
    values[count] = (u64)s->state;
    words[count++] = "process";
    values[count] = (u64)s->stop_reason.code;
    words[count++] = "reason to stop";
    if (s->server == NULL)
        return count;
    const struct raft *r = &s->server->raft;
#define X(word, value, in_piles) \
    if ((in_piles) || !piles) {  \
        values[count] = (value); \
        words[count++] = (word); \
    }
    FIELDS(X)
#undef X
    ASSERT(count <= FIELDS_MAX);
    return count;
}

static void compare_state(struct differ *differ, server_id id)
{
    u64 values[DIFFER_WORLDS][FIELDS_MAX];
    u32 counts[DIFFER_WORLDS];
    const char *words[FIELDS_MAX];
    for (u32 world = 0; world < DIFFER_WORLDS; world++)
        counts[world] =
            look(server_in(differ, world, id), differ->options->pile_max > 1, values[world], words);
    u32 count = counts[0];
    for (u32 world = 1; world < DIFFER_WORLDS; world++)
        count = counts[world] < count ? counts[world] : count;
    for (u32 i = 0; i < count; i++) {
        if (values[0][i] != values[1][i] || values[0][i] != values[2][i])
            differ_complain(differ,
                            "server %u, %s: per-state " U64 ", dispatch " U64 ", step " U64 "\n",
                            id, words[i], values[0][i], values[1][i], values[2][i]);
    }
}

/* ---- logs ---- */

/* Records are compared when both are in memory. */
static bool entries_differ(const struct sim_server *a, const struct sim_server *b, u64 index)
{
    bool a_known;
    bool b_known;
    u32 a_crc = checks_record_crc(a, index, &a_known);
    u32 b_crc = checks_record_crc(b, index, &b_known);
    return log_term_at(&a->server->raft.log, index) != log_term_at(&b->server->raft.log, index) ||
           (a_known && b_known && a_crc != b_crc);
}

static void compare_logs(struct differ *differ, server_id id)
{
    const struct sim_server *first = server_in(differ, 0, id);
    for (u32 world = 1; world < DIFFER_WORLDS && first->server != NULL; world++) {
        const struct sim_server *other = server_in(differ, world, id);
        if (other->server == NULL)
            continue;
        const struct log *a = &first->server->raft.log;
        const struct log *b = &other->server->raft.log;
        u64 base = u64_max(a->base.index, b->base.index);
        u64 last = u64_min(a->last_index, b->last_index);
        for (u64 index = base + 1; index <= last; index++) {
            if (!entries_differ(first, other, index))
                continue;
            differ_complain(differ,
                            "server %u, entry " U64 ": per-state term " U64 ", %s term " U64
                            ", or another record\n",
                            id, index, log_term_at(a, index), world_words[world],
                            log_term_at(b, index));
            break;
        }
    }
}

/* ---- messages ---- */

/* What a server numbered `first` in the first world it has numbered `other` in this one. */
static void learn_call(struct differ_world *world, server_id of, u64 first, u64 other)
{
    if (world->call_count == world->call_capacity) {
        world->call_capacity = world->call_capacity * 2 + 64;
        world->calls = sim_resize(world->calls, world->call_capacity * sizeof(*world->calls));
    }
    world->calls[world->call_count++] = (struct differ_call){of, first, other};
}

static u64 call_of(const struct differ_world *world, server_id of, u64 first)
{
    for (u32 i = world->call_count; i > 0; i--) {
        const struct differ_call *known = &world->calls[i - 1];
        if (known->of == of && known->first == first)
            return known->other;
    }
    return first;
}

/* Whether the message is the first world's once its numbers are called as they are there. */
static bool renamed_is_same(struct differ_world *world, const struct message *first,
                            struct message *other, const struct frame *wanted)
{
    server_id of = message_is_reply(first->kind) ? first->to : first->from;
    u64 call = other->call;
    if (message_is_reply(first->kind) && call_of(world, of, first->call) != call)
        return false;
    other->call = first->call;
    if (other->kind == MESSAGE_FORWARD) {
        other->as.forward_request.serial = first->as.forward_request.serial;
        other->as.forward_request.attempt = first->as.forward_request.attempt;
    }
    struct frame_head head;
    message_encode(other, &head);
    u64 payload = message_payload_size(other);
    if (head.size + payload != wanted->size || memcmp(head.bytes, wanted->bytes, head.size) != 0)
        return false; /* the head's checksum covers the payload, too */
    if (!message_is_reply(first->kind))
        learn_call(world, of, first->call, call);
    return true;
}

static bool same_frame(struct differ_world *world, const struct frame *wanted,
                       const struct frame *found)
{
    struct message first;
    struct message other;
    struct error error = {0};
    if (wanted->size == found->size && memcmp(wanted->bytes, found->bytes, found->size) == 0)
        return true;
    if (wanted->kind != found->kind)
        return false;
    ASSERT(message_decode_copy(wanted->bytes, wanted->size, &first, &error) == ERROR_NONE);
    ASSERT(message_decode_copy(found->bytes, found->size, &other, &error) == ERROR_NONE);
    bool same = renamed_is_same(world, &first, &other, wanted);
    message_release(&first);
    message_release(&other);
    return same;
}

static struct frame **new_frames(const struct differ_world *world, u32 at, struct frame_list *held)
{
    struct frame **first = &held->first;
    for (u32 i = 0; i < world->known[at]; i++)
        first = &(*first)->next;
    return first;
}

static void complain_messages(struct differ *differ, u32 at, u32 world)
{
    const struct link *link = &differ->worlds[0].cluster->links[at];
    for (u32 which = 0; which < DIFFER_WORLDS; which += world) {
        struct link *side = &differ->worlds[which].cluster->links[at];
        const struct frame *frame = *new_frames(&differ->worlds[which], at, &side->held);
        differ_complain(differ, "from %u to %u, %s sent%s\n", link->from, link->to,
                        world_words[which], frame == NULL ? " nothing" : ":");
        for (; frame != NULL; frame = frame->next) {
            char words[256];
            differ_message_words(frame, words, sizeof(words));
            differ_complain(differ, "    %s\n", words);
        }
        if (which == world)
            return;
    }
}

/* Puts the new messages of `world` into the order that they have in the first. Returns false when
 * they are not the same. */
static bool order_as_first(struct differ *differ, u32 at, u32 world)
{
    struct link *first = &differ->worlds[0].cluster->links[at];
    struct link *other = &differ->worlds[world].cluster->links[at];
    if (first->held.count != other->held.count)
        return false;
    bool reordered = false;
    const struct frame *wanted = *new_frames(&differ->worlds[0], at, &first->held);
    struct frame **place = new_frames(&differ->worlds[world], at, &other->held);
    for (; wanted != NULL; wanted = wanted->next, place = &(*place)->next) {
        struct frame **found = place;
        while (*found != NULL && !same_frame(&differ->worlds[world], wanted, *found))
            found = &(*found)->next;
        if (*found == NULL)
            return false;
        if (found == place)
            continue;
        reordered = true;
        struct frame *moved = *found;
        *found = moved->next;
        moved->next = *place;
        *place = moved;
    }
    for (struct frame *frame = other->held.first; frame != NULL; frame = frame->next)
        other->held.last = frame;
    differ->result->reordered += reordered;
    return true;
}

static void compare_messages(struct differ *differ)
{
    const struct cluster *cluster = differ->worlds[0].cluster;
    u32 size = cluster->count + 1;
    for (u32 at = 0; at < size * size; at++) {
        for (u32 world = 1; world < DIFFER_WORLDS; world++) {
            if (!order_as_first(differ, at, world))
                complain_messages(differ, at, world);
        }
        for (u32 world = 0; world < DIFFER_WORLDS; world++)
            differ->worlds[world].known[at] = differ->worlds[world].cluster->links[at].held.count;
    }
}

/* ---- answers ---- */

/* Those that were sent first, by command. */
static int compare_commands(const void *a, const void *b)
{
    const struct differ_answer *left = a;
    const struct differ_answer *right = b;
    if (left->sent != right->sent)
        return left->sent ? -1 : 1;
    return left->command < right->command ? -1 : left->command > right->command;
}

/* The `at`th answer that was sent; past the end one to no command. */
static const struct differ_answer *answer_at(const struct differ_world *world, u32 at)
{
    static const struct differ_answer none = {.command = UINT64_MAX};
    return at < world->answer_count && world->answers[at].sent ? &world->answers[at] : &none;
}

/* What was compared goes, and so does what its server will never send. */
static void forget_answers(struct differ_world *world)
{
    u32 kept = 0;
    for (u32 i = 0; i < world->answer_count; i++) {
        if (!world->answers[i].sent && cluster_is_live(world->cluster, world->answers[i].by))
            world->answers[kept++] = world->answers[i];
    }
    world->answer_count = kept;
}

static void complain_answers(struct differ *differ, u32 world, const struct differ_answer *first,
                             const struct differ_answer *other)
{
    u64 command = u64_min(first->command, other->command);
    differ_complain(differ, "command " U64 " is answered by per-state: %s, by %s: %s\n", command,
                    first->command == command ? first->text : "(not)", world_words[world],
                    other->command == command ? other->text : "(not)");
}

/* A server that lost its power within the event has answered before that, or it has not: of several
 * pieces of mail that one event brings, a loop makes one pile, and a handler takes one by one. */
static void excuse_the_dead(struct differ_world *world)
{
    for (u32 i = 0; i < world->answer_count; i++) {
        if (!cluster_is_live(world->cluster, world->answers[i].by))
            world->answers[i].sent = false;
    }
}

static void compare_answers(struct differ *differ)
{
    for (u32 world = 0; world < DIFFER_WORLDS; world++) {
        struct differ_world *w = &differ->worlds[world];
        excuse_the_dead(w);
        if (w->answer_count > 1)
            qsort(w->answers, w->answer_count, sizeof(*w->answers), compare_commands);
    }
    const struct differ_world *first = &differ->worlds[0];
    for (u32 world = 1; world < DIFFER_WORLDS; world++) {
        const struct differ_world *other = &differ->worlds[world];
        for (u32 i = 0;; i++) {
            const struct differ_answer *a = answer_at(first, i);
            const struct differ_answer *b = answer_at(other, i);
            if (!a->sent && !b->sent)
                break;
            if (a->command == b->command && a->size == b->size && a->crc == b->crc)
                continue;
            complain_answers(differ, world, a, b);
            break;
        }
    }
    for (u32 i = 0; answer_at(first, i)->sent; i++)
        differ->result->answers++;
    for (u32 world = 0; world < DIFFER_WORLDS; world++)
        forget_answers(&differ->worlds[world]);
}

/* ---- the judges of the worlds ---- */

static void ask_judges(struct differ *differ)
{
    for (u32 world = 0; world < DIFFER_WORLDS; world++) {
        const struct cluster_failure *failure = cluster_failure(differ->worlds[world].cluster);
        if (failure != NULL)
            differ_complain(differ, "%s breaks \"%s\": %s\n", world_words[world], failure->property,
                            failure->text);
    }
}

void differ_compare(struct differ *differ)
{
    const struct cluster *cluster = differ->worlds[0].cluster;
    ask_judges(differ);
    for (server_id id = 1; id <= cluster->count; id++) {
        compare_state(differ, id);
        compare_logs(differ, id);
    }
    compare_answers(differ);
    compare_messages(differ);
}

/* ---- after piles ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct differ_entry *left = a;
    const struct differ_entry *right = b;
    if (left->term != right->term)
        return left->term < right->term ? -1 : 1;
    if (left->type != right->type)
        return left->type < right->type ? -1 : 1;
    return left->crc < right->crc ? -1 : left->crc > right->crc;
}

static void compare_committed(struct differ *differ)
{
    const struct differ_world *first = &differ->worlds[0];
    for (u32 world = 0; world < DIFFER_WORLDS; world++)
        qsort(differ->worlds[world].entries, differ->worlds[world].entry_count,
              sizeof(struct differ_entry), compare_entries);
    for (u32 world = 1; world < DIFFER_WORLDS; world++) {
        const struct differ_world *other = &differ->worlds[world];
        u64 count = u64_min(first->entry_count, other->entry_count);
        u64 same = 0;
        while (same < count && compare_entries(&first->entries[same], &other->entries[same]) == 0)
            same++;
        if (same < count || first->entry_count != other->entry_count)
            differ_complain(differ,
                            "per-state has committed " U64 " entries, %s " U64 "; in the order of "
                            "terms and payloads, " U64 " are equal before the first that is not\n",
                            first->entry_count, world_words[world], other->entry_count, same);
    }
}

void differ_compare_settled(struct differ *differ)
{
    const struct cluster *cluster = differ->worlds[0].cluster;
    ask_judges(differ);
    for (u32 world = 0; world < DIFFER_WORLDS; world++) {
        if (differ->worlds[world].unsettled)
            differ_complain(differ, "%s does not settle\n", world_words[world]);
    }
    for (server_id id = 1; id <= cluster->count; id++)
        compare_state(differ, id);
    compare_committed(differ);
    compare_answers(differ);
}

/* ---- telling ---- */

void differ_server_words(const struct sim_server *s, char *text, size_t size)
{
    static const char *const process_words[] = {"off", "running", "paused", "dead", "stopped"};
    if (s->server == NULL) {
        (void)snprintf(text, size, "%s", process_words[s->state]);
        return;
    }
    const struct raft *raft = &s->server->raft;
    struct entry_id last = log_last(&raft->log);
    (void)snprintf(text, size,
                   "%s t" U64 ", vote %u, leader %u, log to " U64 ".t" U64 ", commit " U64,
                   raft_state_word(s->server->state), raft->current_term, raft->voted_for,
                   raft->leader, last.index, last.term, raft->commit_index);
}

void differ_tell(struct differ *differ, FILE *to)
{
    struct differ_world *world = &differ->worlds[0];
    struct cluster *cluster = world->cluster;
    for (u32 i = 0; i < world->answer_count; i++)
        if (world->answers[i].sent)
            (void)fprintf(to, "          command " U64 ": %s\n", world->answers[i].command,
                          world->answers[i].text);
    for (u32 at = 0; at < (cluster->count + 1) * (cluster->count + 1); at++) {
        struct link *link = &cluster->links[at];
        const struct frame *frame = *new_frames(world, at, &link->held);
        for (; frame != NULL; frame = frame->next) {
            char words[256];
            differ_message_words(frame, words, sizeof(words));
            (void)fprintf(to, "          %u -> %u  %s\n", link->from, link->to, words);
        }
    }
}
