/* check_peers.c - tests of server/peers/, with real instances on 127.0.0.1. */
#include "server/peers/peers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/memory.h"
#include "common/sync.h"
#include "test/unit/unit.h"

enum { NODES_MAX = 3, LINES_MAX = 256, PATIENCE_S = 30, FRAME_MAX = 1 << 20, TRIES_MAX = 100 };

static const u64 HANDSHAKE_NS = 2 * NS_PER_S;

/* ---- one server's end: a slot that keeps mail, a report that keeps lines ---- */

struct node {
    struct mail_slot slot;
    struct report report;
    struct mutex lock;
    struct condition changed;
    struct mail_pile pile; /* Guarded by lock, as all below. */
    u32 mail_count;        /* ever posted */
    bool full;             /* whoever posts a message waits */
    bool closed;
    char lines[LINES_MAX][512];
    u32 line_count;
    struct peers *peers;
    server_id id;
};

static bool node_post(struct mail_slot *slot, struct mail *mail)
{
    struct node *node = CONTAINER_OF(slot, struct node, slot);
    mutex_lock(&node->lock);
    while (node->full && !node->closed && mail_is_message(mail))
        condition_wait(&node->changed, &node->lock);
    bool taken = !node->closed;
    if (taken) {
        mail_pile_put(&node->pile, mail);
        node->mail_count++;
        condition_broadcast(&node->changed);
    }
    mutex_unlock(&node->lock);
    if (!taken)
        mail_destroy(mail);
    return taken;
}

static bool node_try_post(struct mail_slot *slot, struct mail *mail)
{
    return node_post(slot, mail);
}

static const struct mail_slot_ops NODE_OPS = {.post = node_post, .try_post = node_try_post};

static void node_write(void *context, enum report_level level, const char *line, size_t size)
{
    struct node *node = context;
    (void)level;
    if (getenv("MAILRAFT_TEST_LINES") != NULL)
        fprintf(stderr, "%.*s", (int)size, line);
    mutex_lock(&node->lock);
    if (node->line_count < LINES_MAX) {
        size_t kept = size < sizeof(node->lines[0]) ? size : sizeof(node->lines[0]) - 1;
        memcpy(node->lines[node->line_count], line, kept);
        node->lines[node->line_count++][kept] = '\0';
    }
    condition_broadcast(&node->changed);
    mutex_unlock(&node->lock);
}

static u64 patience(void)
{
    return clock_monotonic_ns() + PATIENCE_S * NS_PER_S;
}

/* The next mail of that kind; other kinds on the way are destroyed. */
static struct mail *node_take(struct node *node, enum mail_kind kind)
{
    u64 deadline_ns = patience();
    mutex_lock(&node->lock);
    for (;;) {
        struct mail *mail;
        while ((mail = mail_pile_take(&node->pile)) != NULL) {
            if (mail->kind == kind)
                break;
            mail_destroy(mail);
        }
        if (mail != NULL) {
            mutex_unlock(&node->lock);
            return mail;
        }
        bool in_time = condition_wait_until(&node->changed, &node->lock, deadline_ns);
        ck_assert_msg(in_time, "server %u: no %s came", node->id, mail_kind_word(kind));
    }
}

/* Waits for mail that says that of that peer. */
static void node_await(struct node *node, enum mail_kind kind, server_id peer)
{
    for (;;) {
        struct mail *mail = node_take(node, kind);
        server_id whose = mail->as.peer;
        mail_destroy(mail);
        if (whose == peer)
            return;
    }
}

static u32 node_mail_count(struct node *node)
{
    mutex_lock(&node->lock);
    u32 count = node->mail_count;
    mutex_unlock(&node->lock);
    return count;
}

static u32 lines_with_locked(struct node *node, const char *text)
{
    u32 count = 0;
    for (u32 i = 0; i < node->line_count; i++)
        count += strstr(node->lines[i], text) != NULL;
    return count;
}

static u32 node_lines_with(struct node *node, const char *text)
{
    mutex_lock(&node->lock);
    u32 count = lines_with_locked(node, text);
    mutex_unlock(&node->lock);
    return count;
}

static void node_await_line(struct node *node, const char *text)
{
    u64 deadline_ns = patience();
    mutex_lock(&node->lock);
    while (lines_with_locked(node, text) == 0) {
        bool in_time = condition_wait_until(&node->changed, &node->lock, deadline_ns);
        ck_assert_msg(in_time, "server %u never said '%s'", node->id, text);
    }
    mutex_unlock(&node->lock);
}

/* ---- a cluster of them ---- */

struct house {
    struct configuration configuration;
    struct peers_options options;
    struct node node[NODES_MAX]; /* node[i] is server i + 1 */
    u32 count;
    u16 port[NODES_MAX];
};

static u16 free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void node_start(struct house *house, u32 which)
{
    struct node *node = &house->node[which];
    house->options.identity.from = which + 1;
    house->options.identity.directory_id = 1000 + which;
    house->options.identity.start_count++;
    node->closed = false;
    struct error error;
    enum error_code code = ERROR_UNAVAILABLE;
    for (int i = 0; i < TRIES_MAX && code == ERROR_UNAVAILABLE; i++) {
        code = peers_create(&house->options, &node->slot, &node->report, &node->peers, &error);
        if (code == ERROR_UNAVAILABLE)
            usleep(50000); /* somebody was lent the port for a moment */
    }
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
}

static void node_stop(struct house *house, u32 which)
{
    struct node *node = &house->node[which];
    mutex_lock(&node->lock);
    node->closed = true;
    condition_broadcast(&node->changed);
    mutex_unlock(&node->lock);
    peers_destroy(node->peers);
    node->peers = NULL;
}

/* Prepares servers 1 .. count, and starts none of them. */
static struct house *house_create(u32 count)
{
    struct house *house = memory_alloc_zero(1, sizeof(*house));
    house->count = count;
    for (u32 i = 0; i < count; i++) {
        struct node *node = &house->node[i];
        node->slot.ops = &NODE_OPS;
        node->id = i + 1;
        mutex_init(&node->lock);
        condition_init(&node->changed);
        node->report.server = node->id;
        atomic_store(&node->report.level, REPORT_DEBUG);
        node->report.write = node_write;
        node->report.context = node;
        char address[ADDRESS_SIZE];
        struct error error;
        house->port[i] = free_port();
        snprintf(address, sizeof(address), "127.0.0.1:%u", house->port[i]);
        ck_assert_int_eq(configuration_add(&house->configuration, i + 1, address, "", &error),
                         ERROR_NONE);
    }
    house->options = (struct peers_options){
        .identity = {.cluster_id = "test", .seed_crc = 77},
        .configuration = &house->configuration,
        .frame_bytes_max = FRAME_MAX,
        .queue_bytes_max = 256 * KIB,
        .reconnect_ns_min = 5 * NS_PER_MS,
        .reconnect_ns_max = 50 * NS_PER_MS,
        .handshake_ns_max = HANDSHAKE_NS,
    };
    return house;
}

static void house_destroy(struct house *house)
{
    for (u32 i = 0; i < house->count; i++) {
        struct node *node = &house->node[i];
        if (node->peers != NULL)
            node_stop(house, i);
        mail_pile_clear(&node->pile);
        condition_deinit(&node->changed);
        mutex_deinit(&node->lock);
    }
    memory_free(house);
}

static struct house *house_of_two(void)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    node_start(house, 1);
    node_await(&house->node[0], MAIL_CONNECTED, 2);
    node_await(&house->node[1], MAIL_CONNECTED, 1);
    return house;
}

/* A FORWARD whose call is its number and whose payload has that size. */
static bool send_numbered(struct node *from, server_id to, u64 number, u32 size)
{
    struct message message = {
        .kind = MESSAGE_FORWARD, .from = from->id, .to = to, .term = 1, .call = number};
    message.as.forward_request = (struct forward_request){.start = 1, .serial = number, .count = 1};
    struct block *payload = block_create(size);
    memset(payload->data, (int)('a' + number % 26), size);
    message.spans[0] = span_of(payload, payload->data, size / 2);
    message.spans[1] = span_of(payload, payload->data + size / 2, size - size / 2);
    message.span_count = 2;
    block_release(payload);
    struct transport *transport = peers_transport(from->peers);
    bool sent = transport->ops->send(transport, &message);
    ck_assert_uint_eq(message.span_count, 0);
    return sent;
}

/* Takes the next numbered message, checks it, and returns its number. */
static u64 take_numbered(struct node *to, u32 size)
{
    struct mail *mail = node_take(to, MAIL_FORWARD);
    u64 number = mail->as.message.call;
    ck_assert_uint_eq(message_payload_size(&mail->as.message), size);
    for (u32 i = 0; i < mail->as.message.span_count; i++) {
        const struct span *span = &mail->as.message.spans[i];
        ck_assert_int_eq(span->data[0], (int)('a' + number % 26));
        ck_assert_int_eq(span->data[span->size - 1], (int)('a' + number % 26));
    }
    mail_destroy(mail);
    return number;
}

static void status_of(struct node *node, struct peer_status *status)
{
    ck_assert_uint_ge(peers_status(node->peers, status, 1), 1);
}

/* ---- a hand-made other side ---- */

static int raw_connect(u16 port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    struct timeval limit = {.tv_sec = PATIENCE_S};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void raw_send(int fd, const void *data, size_t size)
{
    ck_assert_int_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Reads to the end and checks that it comes: closed in order, or reset. */
static void raw_await_end(int fd)
{
    char bytes[256];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        continue;
    ck_assert_msg(got == 0 || errno == ECONNRESET, "the connection was not closed");
    close(fd);
}

static struct hello raw_identity(const struct house *house, server_id from, server_id to)
{
    struct hello hello = house->options.identity;
    hello.from = from;
    hello.to = to;
    hello.directory_id = 999 + from;
    hello.start_count = 100;
    hello.version_min = PROTOCOL_VERSION_MIN;
    hello.version_max = PROTOCOL_VERSION_MAX;
    return hello;
}

/* Says hello, and returns the answer. */
static struct hello raw_greet(int fd, const struct hello *hello)
{
    struct frame_head head;
    hello_encode(hello, false, &head);
    raw_send(fd, head.bytes, head.size);
    u8 bytes[HELLO_FRAME_MAX];
    ck_assert_int_eq(recv(fd, bytes, FRAME_PREFIX_SIZE, MSG_WAITALL), FRAME_PREFIX_SIZE);
    u32 size;
    enum frame_type type;
    struct error error;
    ck_assert_int_eq(frame_size(bytes, HELLO_FRAME_MAX, &size, &type, &error), ERROR_NONE);
    u32 rest = size - FRAME_PREFIX_SIZE;
    ck_assert_int_eq(recv(fd, bytes + FRAME_PREFIX_SIZE, rest, MSG_WAITALL), (ssize_t)rest);
    struct hello answer;
    ck_assert_int_eq(hello_decode(bytes, size, true, &answer, &error), ERROR_NONE);
    return answer;
}

/* Server 2's connection to server 1, hands shaken. */
static int raw_peer(struct house *house)
{
    int fd = raw_connect(house->port[0]);
    struct hello hello = raw_identity(house, 2, 1);
    struct hello answer = raw_greet(fd, &hello);
    ck_assert_str_eq(answer.refusal, "");
    ck_assert_uint_eq(answer.version, PROTOCOL_VERSION_MAX);
    ck_assert_uint_eq(answer.from, 1);
    return fd;
}

static void raw_send_vote(int fd, server_id from, server_id to, u64 call)
{
    struct message message = {
        .kind = MESSAGE_REQUEST_VOTE, .from = from, .to = to, .term = 1, .call = call};
    struct frame_head head;
    message_encode(&message, &head);
    raw_send(fd, head.bytes, head.size);
}

/* ---- tests ---- */

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
    ck_assert_uint_eq(node_lines_with(&house->node[0], "larger than a frame"), 1);
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

START_TEST(handshake__every_refusal_says_why)
{
    static const char *const whys[] = {
        "this is cluster 'test', not 'tset'",
        "this is server 1, not 3",
        "server 7 is no member here",
        "server 1 is this server itself",
        "initialised with another configuration",
        "no common protocol version: 1 to 1 here, 2 to 9 there",
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
            hello.version_min = 2, hello.version_max = 9;
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

START_TEST(handshake__directory_and_start_count_are_remembered)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    struct hello hello = raw_identity(house, 2, 1);
    int fd = raw_connect(house->port[0]);
    (void)raw_greet(fd, &hello);
    close(fd);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    hello.start_count--;
    fd = raw_connect(house->port[0]);
    (void)raw_greet(fd, &hello);
    close(fd);
    node_await_line(&house->node[0], "was set back");
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    hello.directory_id++;
    fd = raw_connect(house->port[0]);
    (void)raw_greet(fd, &hello);
    node_await_line(&house->node[0], "another data directory");
    close(fd);
    ck_assert_uint_eq(node_lines_with(&house->node[0], "data directory"), 2);
    house_destroy(house);
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
        } else if (i == 2) {
            store_u32(head.bytes, UINT32_MAX);
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
    /* That was no end of the peer's: two letters, and no third. */
    ck_assert_uint_eq(node_mail_count(&house->node[0]), 2);
    close(newer);
    node_await(&house->node[0], MAIL_DISCONNECTED, 2);
    ck_assert_uint_eq(node_mail_count(&house->node[0]), 3);
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
          peers__unknown_or_absent_receiver_is_a_definite_loss, peers__too_large_for_a_frame,
          peers__reconnect_after_a_restart, peers__slow_reader_never_blocks_the_sender,
          peers__destroyed_while_a_queue_is_full, peers__two_servers_of_different_clusters,
          handshake__every_refusal_says_why, handshake__garbage_is_closed_and_others_unharmed,
          handshake__slow_loris, handshake__hello_in_single_bytes,
          handshake__directory_and_start_count_are_remembered,
          reader__bad_frames_end_the_connection, reader__frames_in_pieces,
          reader__newer_connection_takes_the_place, reader__newer_life_ends_the_older_one,
          peers_create__address_in_use, peers_create__address_of_no_form,
          peers_destroy__at_any_moment)
