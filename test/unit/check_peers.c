/* check_peers.c - tests of server/peers/, with real instances on 127.0.0.1 on both sides. */
#include "server/peers/peers.h"

#include <sys/resource.h>
#include <unistd.h>

#include "test/unit/peers_unit.h"

START_TEST(peers__messages_arrive_in_order)
{
    struct house *house = house_create(3);
    for (u32 i = 0; i < 3; i++)
        node_start(house, i);
    for (u32 i = 0; i < 3; i++) {
        /* Which of the two is first is chance. */
        for (int j = 0; j < 2; j++)
            mail_destroy(node_take(&house->node[i], MAIL_CONNECTED));
    }
    enum { COUNT = 2000 };
    for (u64 n = 1; n <= COUNT; n++) {
        for (u32 i = 0; i < 3; i++)
            ck_assert(send_numbered(&house->node[i], (i + 1) % 3 + 1, n, 10));
    }
    for (u64 n = 1; n <= COUNT; n++) {
        for (u32 i = 0; i < 3; i++)
            ck_assert_uint_eq(take_numbered(&house->node[i], 10), n);
    }
    house_destroy(house);
}
END_TEST

START_TEST(peers__messages_of_all_sizes)
{
    struct house *house = house_of_two();
    static const u32 sizes[] = {2, 100, 5000, 16 * KIB, 60 * KIB, 64 * KIB, 70 * KIB, 700 * KIB};
    enum { ROUNDS = 20 };
    for (u64 n = 1; n <= ROUNDS * ARRAY_LENGTH(sizes); n++) {
        u32 size = sizes[n % ARRAY_LENGTH(sizes)];
        ck_assert(send_numbered(&house->node[0], 2, n, size));
        ck_assert_uint_eq(take_numbered(&house->node[1], size), n);
    }
    struct peer_status status;
    status_of(&house->node[0], &status);
    ck_assert(status.connected_to);
    ck_assert_uint_eq(status.messages_dropped, 0);
    ck_assert_uint_gt(status.bytes_sent, ROUNDS * 700 * KIB);
    status_of(&house->node[1], &status);
    ck_assert(status.connected_from);
    ck_assert_uint_gt(status.bytes_received, ROUNDS * 700 * KIB);
    house_destroy(house);
}
END_TEST

/* The large ones are the writer's, the small ones could go at once. */
START_TEST(peers__small_messages_never_overtake_large_ones)
{
    struct house *house = house_of_two();
    enum { LARGE = 600 * KIB, SMALL = 10, COUNT = 200 };
    u64 taken = 0;
    for (u64 n = 1; n <= COUNT; n++) {
        u32 size = n % 2 == 0 ? LARGE : SMALL;
        while (!send_numbered(&house->node[0], 2, n, size)) /* no room until some have gone */
            taken +=
                take_numbered(&house->node[1], (taken + 1) % 2 == 0 ? LARGE : SMALL) == taken + 1;
    }
    while (taken < COUNT) {
        ck_assert_uint_eq(take_numbered(&house->node[1], (taken + 1) % 2 == 0 ? LARGE : SMALL),
                          taken + 1);
        taken++;
    }
    house_destroy(house);
}
END_TEST

START_TEST(peers__unknown_or_absent_receiver_is_a_definite_loss)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    ck_assert(!send_numbered(&house->node[0], 2, 1, 10));
    ck_assert(!send_numbered(&house->node[0], 9, 1, 10));
    node_await_line(&house->node[0], "no connection to server 2");
    ck_assert_uint_eq(node_lines_with(&house->node[0], "no connection to server 2"), 1);
    house_destroy(house);
}
END_TEST

START_TEST(peers__too_large_for_a_frame)
{
    struct house *house = house_of_two();
    ck_assert(!send_numbered(&house->node[0], 2, 1, FRAME_MAX));
    ck_assert(!send_numbered(&house->node[0], 2, 2, FRAME_MAX));
    ck_assert_uint_eq(node_lines_with(&house->node[0], "cannot be sent a message with"), 1);
    ck_assert(send_numbered(&house->node[0], 2, 3, FRAME_MAX - FRAME_HEAD_SIZE_MAX));
    ck_assert_uint_eq(take_numbered(&house->node[1], FRAME_MAX - FRAME_HEAD_SIZE_MAX), 3);
    house_destroy(house);
}
END_TEST

START_TEST(peers__reconnect_after_a_restart)
{
    struct house *house = house_of_two();
    for (u64 n = 1; n <= 5; n++) {
        node_stop(house, 1);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
        mail_pile_clear(&house->node[1].pile);
        node_start(house, 1);
        node_await(&house->node[0], MAIL_CONNECTED, 2);
        node_await(&house->node[1], MAIL_CONNECTED, 1);
        ck_assert(send_numbered(&house->node[0], 2, n, 100));
        ck_assert_uint_eq(take_numbered(&house->node[1], 100), n);
        ck_assert(send_numbered(&house->node[1], 1, n, 100));
        ck_assert_uint_eq(take_numbered(&house->node[0], 100), n);
    }
    ck_assert_uint_eq(node_lines_with(&house->node[0], "data directory"), 0);
    house_destroy(house);
}
END_TEST

START_TEST(peers__slow_reader_never_blocks_the_sender)
{
    struct house *house = house_of_two();
    struct node *slow = &house->node[1];
    mutex_lock(&slow->lock);
    slow->full = true;
    mutex_unlock(&slow->lock);
    enum { SIZE = 64 * 1024, COUNT = 2000 };
    u64 accepted[COUNT];
    u32 count = 0;
    bool refused = false;
    for (u64 n = 1; n < COUNT; n++) {
        if (send_numbered(&house->node[0], 2, n, SIZE))
            accepted[count++] = n;
        else
            refused = true;
    }
    ck_assert_msg(refused, "nothing was dropped: the sockets hold it all");
    struct peer_status status;
    status_of(&house->node[0], &status);
    ck_assert_uint_gt(status.messages_dropped, 0);
    ck_assert_uint_le(status.queue_bytes, 256 * KIB);
    mutex_lock(&slow->lock);
    slow->full = false;
    condition_broadcast(&slow->changed);
    mutex_unlock(&slow->lock);
    for (u32 i = 0; i < count; i++)
        ck_assert_uint_eq(take_numbered(slow, SIZE), accepted[i]);
    house_destroy(house);
}
END_TEST

/* It is said once there is room, and not before; what is given while there is some is not lost. */
START_TEST(peers__room_for_answers)
{
    struct house *house = house_of_two();
    struct transport *transport = peers_transport(house->node[0].peers);
    struct node *slow = &house->node[1];
    mutex_lock(&slow->lock);
    slow->full = true;
    mutex_unlock(&slow->lock);
    ck_assert_uint_eq(transport->ops->room(transport, 2), 128 * KIB);
    ck_assert_uint_eq(transport->ops->room(transport, 9), UINT64_MAX);
    enum { SIZE = 64 * 1024, COUNT_MAX = 5000 };
    u64 count = 0;
    while (transport->ops->room(transport, 2) > 0 && count < COUNT_MAX)
        ck_assert(send_numbered(&house->node[0], 2, ++count, SIZE));
    ck_assert_msg(count < COUNT_MAX, "the sockets hold it all");
    mutex_lock(&slow->lock);
    slow->full = false;
    condition_broadcast(&slow->changed);
    mutex_unlock(&slow->lock);
    struct mail *mail = node_take(&house->node[0], MAIL_ROOM);
    ck_assert_uint_eq(mail->as.peer, 2);
    mail_destroy(mail);
    ck_assert_uint_ge(transport->ops->room(transport, 2), 64 * KIB);
    for (u64 n = 1; n <= count; n++)
        ck_assert_uint_eq(take_numbered(slow, SIZE), n);
    house_destroy(house);
}
END_TEST

/* Answers to writes cannot wait: they go far beyond the bound of all others, and what is lost
 * behind that is said. */
START_TEST(peers__answers_go_beyond_the_queue)
{
    struct house *house = house_of_two();
    mutex_lock(&house->node[1].lock);
    house->node[1].full = true;
    mutex_unlock(&house->node[1].lock);
    struct transport *transport = peers_transport(house->node[0].peers);
    struct block *answer = block_create(700 * KIB);
    memset(answer->data, 'a', answer->size);
    bool sent = true;
    for (u64 count = 0; sent; count++) {
        struct message reply = {.kind = MESSAGE_FORWARD_REPLY, .from = 1, .to = 2, .term = 1};
        ck_assert_uint_lt(count, 1000);
        reply.as.forward_reply = (struct forward_reply){.result = FORWARD_DONE, .count = 1};
        reply.spans[0] = span_of(answer, answer->data, answer->size);
        reply.span_count = 1;
        sent = transport->ops->send(transport, &reply);
    }
    block_release(answer);
    struct peer_status status;
    status_of(&house->node[0], &status);
    ck_assert_uint_gt(status.queue_bytes, 30 * MIB);
    ck_assert_uint_lt(status.queue_bytes, 33 * MIB);
    node_await_line(&house->node[0], "answers to commands that server 2 has forwarded are lost");
    ck_assert(!send_numbered(&house->node[0], 2, 1, 10)); /* others do not */
    house_destroy(house);
}
END_TEST

/* Whoever waits for room is told when the connection has ended: what it sends now is lost. */
START_TEST(peers__room_when_the_connection_ends)
{
    struct house *house = house_of_two();
    struct transport *transport = peers_transport(house->node[0].peers);
    mutex_lock(&house->node[1].lock);
    house->node[1].full = true;
    mutex_unlock(&house->node[1].lock);
    for (u64 n = 1; transport->ops->room(transport, 2) > 0; n++)
        ck_assert(send_numbered(&house->node[0], 2, n, 64 * 1024));
    node_stop(house, 1);
    mail_destroy(node_take(&house->node[0], MAIL_ROOM));
    house_destroy(house);
}
END_TEST

START_TEST(peers__destroyed_while_a_queue_is_full)
{
    struct house *house = house_of_two();
    mutex_lock(&house->node[1].lock);
    house->node[1].full = true;
    mutex_unlock(&house->node[1].lock);
    for (u64 n = 1; n < 500; n++)
        (void)send_numbered(&house->node[0], 2, n, 64 * 1024);
    house_destroy(house);
}
END_TEST

START_TEST(peers__two_servers_of_different_clusters)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    memcpy(house->options.identity.cluster_id, "other", sizeof("other"));
    node_start(house, 1);
    node_await_line(&house->node[0], "refused a connection from server 2");
    node_await_line(&house->node[0], "this is cluster 'test', not 'other'");
    node_await_line(&house->node[1], "it refuses this server: this is cluster 'test'");
    node_await_line(&house->node[1], "refused a connection from server 1");
    /* They go on trying, and say no more of it. */
    usleep(300000);
    ck_assert_uint_eq(node_lines_with(&house->node[0], "refused a connection from server 2"), 1);
    ck_assert_uint_eq(node_lines_with(&house->node[1], "it refuses this server"), 1);
    ck_assert(!send_numbered(&house->node[0], 2, 1, 10));
    ck_assert_uint_eq(node_mail_count(&house->node[0]), 0);
    house_destroy(house);
}
END_TEST

START_TEST(peers_create__address_in_use)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    struct peers *second;
    struct error error;
    struct node *node = &house->node[0];
    ck_assert_int_eq(peers_create(&house->options, &node->slot, &node->report, &second, &error),
                     ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "listen on 127.0.0.1:"));
    house->options.identity.from = 9;
    ck_assert_int_eq(peers_create(&house->options, &node->slot, &node->report, &second, &error),
                     ERROR_CONFIG);
    house_destroy(house);
}
END_TEST

START_TEST(peers_create__no_descriptor)
{
    struct house *house = house_create(2);
    struct node *node = &house->node[0];
    house->options.identity.from = 1;
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest_free = dup(STDERR_FILENO);
    (void)close(lowest_free);
    /* One for the socket that listens, one to be woken by, one to wake a peer's writer. */
    for (int more = 0; more <= 2; more++) {
        struct peers *peers;
        struct error error;
        struct rlimit few = {.rlim_cur = (rlim_t)(lowest_free + more), .rlim_max = before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        enum error_code code =
            peers_create(&house->options, &node->slot, &node->report, &peers, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        ck_assert_int_eq(code, ERROR_SYSTEM);
        ck_assert_ptr_nonnull(strstr(error.text, "Too many open files"));
    }
    house_destroy(house);
}
END_TEST

START_TEST(peers_create__address_of_no_form)
{
    static const char *const bad[] = {
        "127.0.0.1", ":7000", "host:", "h:123456789", "[]:1", "127.0.0.1:port"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct house *house = house_create(1);
        struct node *node = &house->node[0];
        strcpy(house->configuration.members[0].peer_address, bad[i]);
        house->options.identity.from = 1;
        struct error error;
        ck_assert_int_eq(
            peers_create(&house->options, &node->slot, &node->report, &node->peers, &error),
            ERROR_CONFIG);
        ck_assert_ptr_nonnull(strstr(error.text, bad[i]));
        house_destroy(house);
    }
}
END_TEST

START_TEST(peers_destroy__at_any_moment)
{
    for (u32 i = 0; i < 30; i++) {
        struct house *house = house_create(3);
        for (u32 j = 0; j < 3; j++) {
            node_start(house, j);
            if (j < i % 4)
                usleep(i * 200);
        }
        house_destroy(house);
    }
}
END_TEST

UNIT_MAIN("peers", peers__messages_arrive_in_order, peers__messages_of_all_sizes,
          peers__small_messages_never_overtake_large_ones,
          peers__unknown_or_absent_receiver_is_a_definite_loss, peers__too_large_for_a_frame,
          peers__reconnect_after_a_restart, peers__slow_reader_never_blocks_the_sender,
          peers__room_for_answers, peers__answers_go_beyond_the_queue,
          peers__room_when_the_connection_ends, peers__destroyed_while_a_queue_is_full,
          peers__two_servers_of_different_clusters, peers_create__address_in_use,
          peers_create__no_descriptor, peers_create__address_of_no_form,
          peers_destroy__at_any_moment)
