/* peers_unit.h - servers on 127.0.0.1 for the tests of server/peers/, each with a slot that keeps
 * its mail and a report that keeps its lines; and a hand-made other side that may say anything. */
#ifndef MAILRAFT_TEST_UNIT_PEERS_UNIT_H
#define MAILRAFT_TEST_UNIT_PEERS_UNIT_H

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
#include "server/peers/peers.h"
#include "test/unit/unit.h"

enum { NODES_MAX = 3, LINES_MAX = 256, PATIENCE_S = 120, FRAME_MAX = 1 << 20, TRIES_MAX = 100 };

static const u64 HANDSHAKE_NS = 10 * NS_PER_S;
static const u64 STALL_NS = 300 * NS_PER_MS;

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

UNIT_HELPER bool node_post(struct mail_slot *slot, struct mail *mail)
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

UNIT_HELPER bool node_try_post(struct mail_slot *slot, struct mail *mail)
{
    return node_post(slot, mail);
}

static const struct mail_slot_ops NODE_OPS = {.post = node_post, .try_post = node_try_post};

UNIT_HELPER void node_write(void *context, enum report_level level, const char *line, size_t size)
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

UNIT_HELPER u64 patience(void)
{
    return clock_monotonic_ns() + PATIENCE_S * NS_PER_S;
}

/* The next mail of that kind; other kinds on the way are destroyed. */
UNIT_HELPER struct mail *node_take(struct node *node, enum mail_kind kind)
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
UNIT_HELPER void node_await(struct node *node, enum mail_kind kind, server_id peer)
{
    for (;;) {
        struct mail *mail = node_take(node, kind);
        server_id whose = mail->as.peer;
        mail_destroy(mail);
        if (whose == peer)
            return;
    }
}

UNIT_HELPER u32 node_mail_count(struct node *node)
{
    mutex_lock(&node->lock);
    u32 count = node->mail_count;
    mutex_unlock(&node->lock);
    return count;
}

UNIT_HELPER u32 lines_with_locked(struct node *node, const char *text)
{
    u32 count = 0;
    for (u32 i = 0; i < node->line_count; i++)
        count += strstr(node->lines[i], text) != NULL;
    return count;
}

UNIT_HELPER u32 node_lines_with(struct node *node, const char *text)
{
    mutex_lock(&node->lock);
    u32 count = lines_with_locked(node, text);
    mutex_unlock(&node->lock);
    return count;
}

UNIT_HELPER void node_await_line(struct node *node, const char *text)
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

/* Nobody listens there. Below the ports that the system lends to connections that go out: a server
 * that tries to reach one not yet started would else be lent, now and then, that very port. */
UNIT_HELPER u16 free_port(void)
{
    enum { LOWEST = 12000, COUNT = 20000 };
    static u32 tried;
    for (u32 i = 0; i < COUNT; i++) {
        u16 port = (u16)(LOWEST + ((u32)getpid() * 37 + tried++) % COUNT);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_ge(fd, 0);
        bool is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        if (is_free)
            return port;
    }
    ck_abort_msg("no port is free");
}

UNIT_HELPER void node_start(struct house *house, u32 which)
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

UNIT_HELPER void node_stop(struct house *house, u32 which)
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
UNIT_HELPER struct house *house_create(u32 count)
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
        .stall_ns_max = STALL_NS,
    };
    return house;
}

UNIT_HELPER void house_destroy(struct house *house)
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

UNIT_HELPER struct house *house_of_two(void)
{
    struct house *house = house_create(2);
    node_start(house, 0);
    node_start(house, 1);
    node_await(&house->node[0], MAIL_CONNECTED, 2);
    node_await(&house->node[1], MAIL_CONNECTED, 1);
    return house;
}

/* A FORWARD whose call is its number and whose payload has that size. */
UNIT_HELPER bool send_numbered(struct node *from, server_id to, u64 number, u32 size)
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
UNIT_HELPER u64 take_numbered(struct node *to, u32 size)
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

UNIT_HELPER void status_of(struct node *node, struct peer_status *status)
{
    ck_assert_uint_ge(peers_status(node->peers, status, 1), 1);
}

/* ---- a hand-made other side ---- */

UNIT_HELPER int raw_connect(u16 port)
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

UNIT_HELPER void raw_send(int fd, const void *data, size_t size)
{
    ck_assert_int_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Reads to the end and checks that it comes: closed in order, or reset. */
UNIT_HELPER void raw_await_end(int fd)
{
    char bytes[256];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        continue;
    ck_assert_msg(got == 0 || errno == ECONNRESET, "the connection was not closed");
    close(fd);
}

UNIT_HELPER struct hello raw_identity(const struct house *house, server_id from, server_id to)
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
UNIT_HELPER struct hello raw_greet(int fd, const struct hello *hello)
{
    struct frame_head head;
    hello_encode(hello, false, &head);
    raw_send(fd, head.bytes, head.size);
    u8 bytes[HELLO_FRAME_MAX];
    ck_assert_int_eq(recv(fd, bytes, FRAME_PREFIX_SIZE_1, MSG_WAITALL), FRAME_PREFIX_SIZE_1);
    u32 size;
    enum frame_type type;
    struct error error;
    ck_assert_int_eq(frame_size(bytes, HELLO_FRAME_MAX, &size, &type, &error), ERROR_NONE);
    u32 rest = size - FRAME_PREFIX_SIZE_1;
    ck_assert_int_eq(recv(fd, bytes + FRAME_PREFIX_SIZE_1, rest, MSG_WAITALL), (ssize_t)rest);
    struct hello answer;
    ck_assert_int_eq(hello_decode(bytes, size, true, &answer, &error), ERROR_NONE);
    return answer;
}

/* Server 2's connection to server 1, hands shaken. */
UNIT_HELPER int raw_peer(struct house *house)
{
    int fd = raw_connect(house->port[0]);
    struct hello hello = raw_identity(house, 2, 1);
    struct hello answer = raw_greet(fd, &hello);
    ck_assert_str_eq(answer.refusal, "");
    ck_assert_uint_eq(answer.version, PROTOCOL_VERSION_MAX);
    ck_assert_uint_eq(answer.from, 1);
    return fd;
}

UNIT_HELPER void raw_send_vote(int fd, server_id from, server_id to, u64 call)
{
    struct message message = {
        .kind = MESSAGE_REQUEST_VOTE, .from = from, .to = to, .term = 1, .call = call};
    struct frame_head head;
    message_encode(&message, &head);
    raw_send(fd, head.bytes, head.size);
}

UNIT_HELPER int raw_listen(u16 port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int yes = 1;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

/* Takes server 1's connection in server 2's place, and shakes hands as one of that protocol version
 * does. */
UNIT_HELPER int raw_accept(int listener, const struct house *house, u32 version)
{
    int fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    u8 bytes[HELLO_FRAME_MAX];
    ck_assert_int_eq(recv(fd, bytes, FRAME_PREFIX_SIZE_1, MSG_WAITALL), FRAME_PREFIX_SIZE_1);
    u32 rest = load_u32(bytes) + 4 - FRAME_PREFIX_SIZE_1;
    ck_assert_int_eq(recv(fd, bytes + FRAME_PREFIX_SIZE_1, rest, MSG_WAITALL), (ssize_t)rest);
    struct hello answer = raw_identity(house, 2, 1);
    answer.version_max = version;
    answer.version = version;
    struct frame_head head;
    hello_encode(&answer, true, &head);
    raw_send(fd, head.bytes, head.size);
    return fd;
}

#endif
