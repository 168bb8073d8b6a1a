/* check_snapshot_thread.c - files that a slow peer is fed from, while newer ones are taken and old
 * ones go: the rules, the thread of snapshot_thread.c and the one of fetch_thread.c together. */
#include "common/memory.h"
#include "server/jobs/fetch_thread.h"
#include "server/jobs/snapshot_thread.h"
#include "server/mail/mailbox.h"
#include "server/rules/install.h"
#include "test/unit/leader_unit.h"
#include "test/unit/snapshot_unit.h"
#include "test/unit/storage_world.h"
#include "test/unit/unit.h"

enum { STATE_SIZE = 50000, PIECE = 10000, NO_SPARE = 1000 };

static const struct entry_id ids[] = {{3, 40}, {3, 60}, {4, 80}};

struct rig {
    struct world world;
    struct mailbox mailbox;
    struct snapshot_thread snapshots;
    struct fetcher fetcher;
    struct snapshot_name names[ARRAY_LENGTH(ids)];
};

static void rig_init(struct rig *rig)
{
    rig->world = world_of(1 * MIB);
    world_open(&rig->world);
    mailbox_init(&rig->mailbox, MIB, MIB);
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        struct snapshot_info info;
        ck_assert_int_eq(sample_write(&rig->world.memory->vfs, ids[i], STATE_SIZE, 65536, &info,
                                      &rig->world.error),
                         ERROR_NONE);
        rig->names[i] = (struct snapshot_name){info.last, info.size, info.checksum};
    }
    snapshot_thread_init(&rig->snapshots, &rig->world.memory->vfs, &rig->mailbox.slot,
                         &rig->world.report);
    fetcher_init(&rig->fetcher, rig->world.storage, &rig->mailbox.slot, &rig->world.report);
}

static void rig_deinit(struct rig *rig)
{
    fetcher_deinit(&rig->fetcher);
    snapshot_thread_deinit(&rig->snapshots);
    mailbox_deinit(&rig->mailbox);
    world_end(&rig->world);
}

static struct mail *next_mail(struct rig *rig)
{
    struct mail_pile pile = {0};
    while (pile.first == NULL)
        (void)mailbox_collect(&rig->mailbox, &pile, MIB, UINT64_MAX);
    struct mail *mail = mail_pile_take(&pile);
    ck_assert_ptr_null(pile.first);
    return mail;
}

static bool is_there(struct rig *rig, struct entry_id id)
{
    struct entry_id *listed = NULL;
    size_t count = 0;
    bool there = false;
    ck_assert_int_eq(snapshot_list(&rig->world.memory->vfs, &listed, &count, &rig->world.error),
                     ERROR_NONE);
    for (size_t i = 0; i < count; i++)
        there |= listed[i].index == id.index && listed[i].term == id.term;
    memory_free(listed);
    return there;
}

/* Lets the thread remove what nobody uses, and waits until it has. */
static void remove_old(struct rig *rig)
{
    struct entry_id used[ARRAY_LENGTH(ids)];
    u32 count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        if (install_uses(&leadership, ids[i]))
            used[count++] = ids[i];
    }
    snapshot_thread_remove_old(&rig->snapshots, NO_SPARE, used, count);
    /* Orders are carried out one after the other: when this one has news, that one is done. */
    static u64 number = 1000;
    struct snapshot_head head = sample_head((struct entry_id){4, 90});
    ck_assert(snapshot_thread_begin(&rig->snapshots, ++number, &head));
    snapshot_thread_put(&rig->snapshots, "x", 1);
    snapshot_thread_give_up(&rig->snapshots);
    struct mail *mail = next_mail(rig);
    ck_assert_int_eq(mail->kind, MAIL_SNAPSHOT);
    ck_assert_int_eq(mail->as.snapshot.news, SNAPSHOT_PROGRESS);
    ck_assert_uint_eq(mail->as.snapshot.order, number);
    mail_destroy(mail);
}

static void answer(const struct message *request, enum install_result result, u64 next)
{
    struct message reply = {.kind = MESSAGE_INSTALL_SNAPSHOT_REPLY,
                            .from = 2,
                            .to = 1,
                            .term = request->term,
                            .call = request->call};
    reply.as.install_reply = (struct install_reply){.result = result, .next_offset = next};
    install_reply(&raft, peer(2), &reply, T_BEGIN);
}

/* What peer 2 is to get is read; returns whether it is sent. */
static bool feed(struct rig *rig, struct message *message)
{
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN, message),
                     REPLICATE_READ_SNAPSHOT);
    struct fetch_order order = {.number = peer(2)->reading,
                                .peer = 2,
                                .snapshot = peer(2)->snapshot,
                                .first = peer(2)->snapshot_offset,
                                .bytes_max = PIECE};
    ck_assert(fetcher_order(&rig->fetcher, &order));
    struct mail *mail = next_mail(rig);
    ck_assert_int_eq(mail->kind, MAIL_PIECE_READ);
    const struct piece_read *read = &mail->as.piece;
    ck_assert(!read->put_off);
    bool sent = install_read_done(&raft, &leadership, peer(2), read->order, read->offset,
                                  &read->piece, T_BEGIN, message);
    if (sent)
        message_release(message);
    mail_destroy(mail);
    return sent;
}

START_TEST(snapshots_remove_old__leaves_what_a_slow_peer_is_fed_from)
{
    struct rig rig;
    rig_init(&rig);
    lead(3, "1 1", 5);
    raft.snapshot = rig.names[0];
    install_begin(&raft, peer(2));
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN, &message), REPLICATE_SEND);
    answer(&message, INSTALL_CONTINUE, 0);
    /* It has nothing of the file yet; but its first piece is about to be read. */
    struct message piece;
    ck_assert(feed(&rig, &piece));
    raft.snapshot = rig.names[2];
    remove_old(&rig);
    ck_assert(is_there(&rig, ids[0]));
    ck_assert(!is_there(&rig, ids[1]));
    ck_assert(is_there(&rig, ids[2]));
    answer(&piece, INSTALL_CONTINUE, PIECE);
    ck_assert(feed(&rig, &piece));
    ck_assert_uint_eq(peer(2)->snapshot.last.index, ids[0].index);
    answer(&piece, INSTALL_CONTINUE, 2 * PIECE);
    remove_old(&rig);
    ck_assert(is_there(&rig, ids[0]));

    /* Somebody removes it all the same: no byte of another file comes, and the peer gets the newest
     * one from its beginning. (One more piece may have been read ahead by then.) */
    ck_assert_int_eq(snapshot_remove(&rig.world.memory->vfs, ids[0], &rig.world.error), ERROR_NONE);
    if (feed(&rig, &piece)) {
        answer(&piece, INSTALL_CONTINUE, 3 * PIECE);
        ck_assert(!feed(&rig, &piece));
    }
    ck_assert(!raft.snapshot_unusable);
    ck_assert_uint_eq(peer(2)->snapshot.last.index, ids[2].index);
    ck_assert_uint_eq(peer(2)->snapshot_offset, 0);
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN, &message), REPLICATE_SEND);
    answer(&message, INSTALL_CONTINUE, 0);
    ck_assert(feed(&rig, &piece));
    answer(&piece, INSTALL_DONE, peer(2)->snapshot.size);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PROBE);
    remove_old(&rig);
    ck_assert(is_there(&rig, ids[2])); /* the newest stays, whoever uses it */
    release();
    rig_deinit(&rig);
}
END_TEST

/* The one that was begun first has failed, and that is told after the second was begun. */
START_TEST(snapshots_begin__its_news_say_which_one_they_are_of)
{
    struct rig rig;
    rig_init(&rig);
    for (u64 number = 7; number <= 8; number++) {
        struct snapshot_head head = sample_head((struct entry_id){4, 90 + number});
        ck_assert(snapshot_thread_begin(&rig.snapshots, number, &head));
        snapshot_thread_put(&rig.snapshots, "x", 1);
        snapshot_thread_end(&rig.snapshots);
    }
    for (u64 i = 0; i < 4;) {
        struct mail_pile pile = {0};
        (void)mailbox_collect(&rig.mailbox, &pile, MIB, UINT64_MAX);
        struct mail *mail;
        while ((mail = mail_pile_take(&pile)) != NULL) {
            ck_assert_int_eq(mail->as.snapshot.news,
                             i % 2 == 0 ? SNAPSHOT_PROGRESS : SNAPSHOT_TAKEN);
            ck_assert_uint_eq(mail->as.snapshot.order, 7 + i / 2);
            mail_destroy(mail);
            i++;
        }
    }
    rig_deinit(&rig);
}
END_TEST

UNIT_MAIN("snapshots", snapshots_remove_old__leaves_what_a_slow_peer_is_fed_from,
          snapshots_begin__its_news_say_which_one_they_are_of)
