/* check_peers_reader.c - what a server makes of the connections that come in: hands shaken or
 * refused, frames good and bad. The other side is made by hand, and says what no server would. */
#include "common/crc32c.h"
#include "server/peers/peers.h"

#include "test/unit/peers_unit.h"

START_TEST(handshake__every_refusal_says_why)
{
    static const char *const whys[] = {
        "this is cluster 'test', not 'tset'",
        "this is server 1, not 3",
        "server 7 is no member here",
        "server 1 is this server itself",
        "initialised with another configuration",
        "no common protocol version: 1 to 2 here, 3 to 9 there",
    };
    struct house *house = house_create(3);
    node_start(house, 0);
    for (u32 i = 0; i < ARRAY_LENGTH(whys); i++) {
        struct hello hello = raw_identity(house, 2, 1);
        if (i == 0)
            memcpy(hello.cluster_id, "tset", 4);
        else if (i == 1)
            hello.to = 3;
        else if (i == 2)
            hello.from = 7;
        else if (i == 3)
            hello.from = 1;
        else if (i == 4)
            hello.seed_crc++;
        else
            hello.version_min = 3, hello.version_max = 9;
        int fd = raw_connect(house->port[0]);
        struct hello answer = raw_greet(fd, &hello);
        ck_assert_uint_eq(answer.version, 0);
        ck_assert_msg(strstr(answer.refusal, whys[i]) != NULL, "%s", answer.refusal);
        raw_await_end(fd);
    }
    node_await_line(&house->node[0], whys[5]);
    close(raw_peer(house));
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    house_destroy(house);
}
END_TEST

START_TEST(handshake__garbage_is_closed_and_others_unharmed)
{
    struct house *house = house_of_two();
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct hello hello = raw_identity(house, 2, 1);
    for (int i = 0; i < 5; i++) {
        struct frame_head head;
        hello_encode(&hello, false, &head);
        int fd = raw_connect(house->port[0]);
        if (i == 0) {
            raw_send(fd, http, sizeof(http) - 1);
        } else if (i == 1) { /* an enormous length */
            store_u32(head.bytes, UINT32_MAX);
            raw_send(fd, head.bytes, head.size);
        } else if (i == 2) { /* a length that only a message may have */
            store_u32(head.bytes, HELLO_FRAME_MAX + 1);
            raw_send(fd, head.bytes, head.size);
        } else if (i == 3) { /* damaged */
            head.bytes[head.size - 1] ^= 1;
            raw_send(fd, head.bytes, head.size);
        } else { /* speaks before it was answered */
            head.bytes[head.size] = 0;
            raw_send(fd, head.bytes, head.size + 1);
        }
        raw_await_end(fd);
    }
    ck_assert_uint_gt(node_lines_with(&house->node[0], "closed a connection from 127.0.0.1"), 0);
    ck_assert(send_numbered(&house->node[1], 1, 1, 10));
    ck_assert_uint_eq(take_numbered(&house->node[0], 10), 1);
    house_destroy(house);
}
END_TEST

START_TEST(handshake__slow_loris)
{
    struct house *house = house_create(2);
    house->options.handshake_ns_max = 500 * NS_PER_MS;
    node_start(house, 0);
    enum { SLOW = 40 };
    int fds[SLOW];
    for (int i = 0; i < SLOW; i++) {
        fds[i] = raw_connect(house->port[0]);
        raw_send(fds[i], "\x40", 1);
    }
    /* With all places taken, an honest server still comes in. */
    house->options.handshake_ns_max = HANDSHAKE_NS;
    node_start(house, 1);
    node_await(&house->node[1], MAIL_CONNECTED, 1);
    for (int i = 0; i < SLOW; i++)
        raw_await_end(fds[i]);
    ck_assert(send_numbered(&house->node[1], 1, 1, 10));
    ck_assert_uint_eq(take_numbered(&house->node[0], 10), 1);
    house_destroy(house);
}
END_TEST

START_TEST(handshake__hello_in_single_bytes)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    int fd = raw_connect(house->port[0]);
    struct hello hello = raw_identity(house, 2, 1);
    struct frame_head head;
    hello_encode(&hello, false, &head);
    for (u32 i = 0; i < head.size; i++) {
        raw_send(fd, head.bytes + i, 1);
        usleep(500);
    }
    u8 answer[FRAME_PREFIX_SIZE];
    ck_assert_int_eq(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
    raw_send_vote(fd, 2, 1, 5);
    struct mail *mail = node_take(&house->node[0], MAIL_REQUEST_VOTE);
    ck_assert_uint_eq(mail->as.message.call, 5);
    mail_destroy(mail);
    close(fd);
    house_destroy(house);
}
END_TEST

/* The next meeting with server 2, and what it showed. */
static struct identity met_by(struct node *node)
{
    struct mail *mail = node_take(node, MAIL_MET);
    ck_assert_uint_eq(mail->as.met.peer, 2);
    struct identity identity = mail->as.met.identity;
    mail_destroy(mail);
    return identity;
}

START_TEST(handshake__who_has_come_is_told_before_anything_it_says)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    struct hello hello = raw_identity(house, 2, 1);
    for (u64 i = 0; i < 3; i++) {
        for (u64 start = 0; start < IDENTITY_STARTS; start++)
            hello.starts[start] = 1000 * i + start;
        hello.non_voter = i == 2;
        int fd = raw_connect(house->port[0]);
        (void)raw_greet(fd, &hello);
        struct identity shown = met_by(&house->node[0]);
        ck_assert_uint_eq(shown.directory_id, hello.directory_id);
        ck_assert_uint_eq(shown.start_count, hello.start_count);
        ck_assert_mem_eq(shown.starts, hello.starts, sizeof(shown.starts));
        ck_assert_int_eq(shown.non_voter, i == 2);
        close(fd);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
        hello.start_count--; /* the judgement is the server's: nobody is refused for it */
        hello.directory_id++;
    }
    house_destroy(house);
}
END_TEST

static void seal_prefix(struct frame_head *head)
{
    store_u32(head->bytes + 12, crc32c(0, head->bytes, 12));
}

/* A hello as servers say it that know only the first protocol version. */
static struct hello hello_of_before(const struct house *house)
{
    struct hello hello = raw_identity(house, 2, 1);
    hello.version_max = 1;
    hello.limits = (struct member_limits){0};
    return hello;
}

static u32 vote_frame(u32 protocol_version, u64 call, struct frame_head *head)
{
    struct message message = {
        .kind = MESSAGE_REQUEST_VOTE, .from = 2, .to = 1, .term = 1, .call = call};
    message_encode_for(&message, protocol_version, head);
    return head->size;
}

START_TEST(reader__one_flipped_bit_in_the_length_is_seen_at_once)
{
    struct house *house = house_create(2);
    house->options.stall_ns_max = 1000 * NS_PER_S; /* it is not found by waiting */
    node_start(house, 0);
    for (u32 bit = 0; bit < 32; bit++) {
        int fd = raw_peer(house);
        struct frame_head head;
        (void)vote_frame(PROTOCOL_VERSION_MAX, 1, &head);
        head.bytes[bit / 8] ^= (u8)(1 << bit % 8);
        raw_send(fd, head.bytes, head.size);
        raw_await_end(fd);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    }
    house_destroy(house);
}
END_TEST

START_TEST(reader__a_frame_that_does_not_go_on_ends_the_connection)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    for (u32 large = 0; large < 2; large++) {
        int fd = raw_connect(house->port[0]);
        struct hello hello = hello_of_before(house);
        ck_assert_uint_eq(raw_greet(fd, &hello).version, 1);
        struct frame_head head;
        (void)vote_frame(1, 1, &head);
        /* Nothing covers these four bytes alone: too many bytes are waited for. */
        head.bytes[large ? 2 : 1] ^= 1;
        raw_send(fd, head.bytes, head.size);
        raw_await_end(fd);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
        node_await_line(&house->node[0], "it sent a frame of");
    }
    /* But between two frames a peer may be silent. */
    int fd = raw_peer(house);
    usleep((useconds_t)(2 * STALL_NS / NS_PER_US));
    raw_send_vote(fd, 2, 1, 7);
    struct mail *mail = node_take(&house->node[0], MAIL_REQUEST_VOTE);
    ck_assert_uint_eq(mail->as.message.call, 7);
    mail_destroy(mail);
    close(fd);
    house_destroy(house);
}
END_TEST

START_TEST(handshake__with_a_server_from_before)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    /* What it sends is read, and frames of the other version are not. */
    int fd = raw_connect(house->port[0]);
    struct hello hello = hello_of_before(house);
    ck_assert_uint_eq(raw_greet(fd, &hello).version, 1);
    struct frame_head head;
    raw_send(fd, head.bytes, vote_frame(1, 9, &head));
    struct mail *mail = node_take(&house->node[0], MAIL_REQUEST_VOTE);
    ck_assert_uint_eq(mail->as.message.call, 9);
    mail_destroy(mail);
    raw_send(fd, head.bytes, vote_frame(2, 10, &head));
    raw_await_end(fd);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    /* What is sent to it is a frame of the first version. */
    int listener = raw_listen(house->port[1]);
    int other = raw_accept(listener, house, 1);
    node_await(&house->node[0], MAIL_CONNECTED, 2);
    struct message message = {
        .kind = MESSAGE_REQUEST_VOTE, .from = 1, .to = 2, .term = 1, .call = 11};
    ck_assert(peers_transport(house->node[0].peers)
                  ->ops->send(peers_transport(house->node[0].peers), &message));
    u8 frame[FRAME_HEAD_SIZE_MAX];
    message.from = 1;
    struct frame_head wanted;
    message_encode_for(&message, 1, &wanted);
    ck_assert_int_eq(recv(other, frame, wanted.size, MSG_WAITALL), (ssize_t)wanted.size);
    ck_assert_mem_eq(frame, wanted.bytes, wanted.size);
    close(other);
    close(listener);
    house_destroy(house);
}
END_TEST

START_TEST(handshake__limits_are_told_and_the_smaller_holds)
{
    struct house *house = house_create(2);
    struct limits limits;
    const struct member_limits own = {16 * MIB, 64 * KIB, 8 * MIB, 0};
    limits_init(&limits, &own);
    house->options.limits = &limits;
    node_start(house, 0);
    struct hello hello = raw_identity(house, 2, 1);
    hello.limits = (struct member_limits){32 * MIB, 64 * KIB, MIB, 0};
    for (u32 i = 0; i < 3; i++) {
        int fd = raw_connect(house->port[0]);
        struct hello answer = raw_greet(fd, &hello);
        ck_assert_uint_eq(answer.limits.command_bytes, 16 * MIB);
        ck_assert_uint_eq(answer.limits.value_bytes, 8 * MIB);
        ck_assert_uint_eq(answer.limits.frame_bytes, FRAME_MAX);
        close(fd);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    }
    ck_assert_uint_eq(limits_command_bytes(&limits), 16 * MIB);
    ck_assert_uint_eq(limits_key_bytes(&limits), 64 * KIB);
    ck_assert_uint_eq(limits_value_bytes(&limits), MIB);
    ck_assert_uint_eq(node_lines_with(&house->node[0], "the smaller one holds"), 2);
    ck_assert_uint_eq(node_lines_with(&house->node[0], "max-value-bytes is 8388608 here"), 1);
    /* It was given the same as the others; so was a third, which is from before and says nothing.
     */
    hello.limits.value_bytes = 8 * MIB;
    int fd = raw_connect(house->port[0]);
    (void)raw_greet(fd, &hello);
    close(fd);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    ck_assert_uint_eq(limits_value_bytes(&limits), 8 * MIB);
    hello = hello_of_before(house);
    fd = raw_connect(house->port[0]);
    (void)raw_greet(fd, &hello);
    close(fd);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    ck_assert_uint_eq(limits_command_bytes(&limits), 16 * MIB);
    house_destroy(house);
    limits_deinit(&limits);
}
END_TEST

START_TEST(reader__bad_frames_end_the_connection)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    for (int i = 0; i < 6; i++) {
        int fd = raw_peer(house);
        raw_send_vote(fd, 2, 1, 1);
        mail_destroy(node_take(&house->node[0], MAIL_REQUEST_VOTE));
        u32 mail_count = node_mail_count(&house->node[0]);
        struct message message = {
            .kind = MESSAGE_REQUEST_VOTE, .from = 2, .to = 1, .term = 1, .call = 2};
        struct frame_head head;
        message_encode(&message, &head);
        if (i == 0) {
            head.bytes[head.size - 1] ^= 1;
        } else if (i == 1) {
            store_u32(head.bytes, FRAME_MAX);
            seal_prefix(&head);
        } else if (i == 2) {
            store_u32(head.bytes, UINT32_MAX);
            seal_prefix(&head);
        } else if (i == 3) {
            message.from = 3;
            message_encode(&message, &head);
        } else if (i == 4) {
            message.to = 3;
            message_encode(&message, &head);
        } else {
            struct hello hello = raw_identity(house, 2, 1);
            hello_encode(&hello, false, &head);
        }
        raw_send(fd, head.bytes, head.size);
        raw_await_end(fd);
        node_await(&house->node[0], MAIL_DISCONNECTED, 2);
        ck_assert_uint_eq(node_mail_count(&house->node[0]), mail_count + 1);
        ck_assert_uint_eq(node_lines_with(&house->node[0], "closed the connection from server 2"),
                          (u32)i + 1);
    }
    house_destroy(house);
}
END_TEST

START_TEST(reader__frames_in_pieces)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    int fd = raw_peer(house);
    u8 bytes[4096];
    size_t size = 0;
    for (u64 n = 1; n <= 20; n++) {
        struct message message = {
            .kind = MESSAGE_REQUEST_VOTE, .from = 2, .to = 1, .term = 1, .call = n};
        struct frame_head head;
        message_encode(&message, &head);
        memcpy(bytes + size, head.bytes, head.size);
        size += head.size;
    }
    for (size_t at = 0, step = 1; at < size; at += step, step = step % 50 + 1) {
        if (step > size - at)
            step = size - at;
        raw_send(fd, bytes + at, step);
        usleep(1000);
    }
    for (u64 n = 1; n <= 20; n++) {
        struct mail *mail = node_take(&house->node[0], MAIL_REQUEST_VOTE);
        ck_assert_uint_eq(mail->as.message.call, n);
        mail_destroy(mail);
    }
    close(fd);
    house_destroy(house);
}
END_TEST

START_TEST(reader__newer_connection_takes_the_place)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    int older = raw_peer(house);
    raw_send_vote(older, 2, 1, 1);
    mail_destroy(node_take(&house->node[0], MAIL_REQUEST_VOTE));
    int newer = raw_peer(house);
    raw_await_end(older);
    raw_send_vote(newer, 2, 1, 2);
    struct mail *mail = node_take(&house->node[0], MAIL_REQUEST_VOTE);
    ck_assert_uint_eq(mail->as.message.call, 2);
    mail_destroy(mail);
    /* That was no end of the peer's: two meetings and two letters, and nothing else. */
    ck_assert_uint_eq(node_mail_count(&house->node[0]), 4);
    close(newer);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    ck_assert_uint_eq(node_mail_count(&house->node[0]), 5);
    house_destroy(house);
}
END_TEST

START_TEST(reader__newer_life_ends_the_older_one)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    int older = raw_peer(house);
    raw_send_vote(older, 2, 1, 1);
    mail_destroy(node_take(&house->node[0], MAIL_REQUEST_VOTE));
    int newer = raw_connect(house->port[0]);
    struct hello hello = raw_identity(house, 2, 1);
    hello.start_count++;
    (void)raw_greet(newer, &hello);
    raw_await_end(older);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    close(newer);
    house_destroy(house);
}
END_TEST

UNIT_MAIN("peers_reader", handshake__every_refusal_says_why,
          handshake__garbage_is_closed_and_others_unharmed, handshake__slow_loris,
          handshake__hello_in_single_bytes, handshake__who_has_come_is_told_before_anything_it_says,
          reader__one_flipped_bit_in_the_length_is_seen_at_once,
          reader__a_frame_that_does_not_go_on_ends_the_connection,
          handshake__with_a_server_from_before, handshake__limits_are_told_and_the_smaller_holds,
          reader__bad_frames_end_the_connection, reader__frames_in_pieces,
          reader__newer_connection_takes_the_place, reader__newer_life_ends_the_older_one)
