/* check_pulse.c - tests of server/peers/pulse.c, and of the two threads that use it: whoever waits
 * for its disk, or sends a message that takes long, is heard. */
#include "server/peers/pulse.h"

#include "test/unit/peers_unit.h"

enum { PULSE_MS = 20, LARGE = 1000 * 1024, PART = PULSE_PROGRESS + 1000, PARTS = LARGE / PART - 1 };

static struct message heartbeat(server_id from, server_id to, u64 call)
{
    struct message message = {
        .kind = MESSAGE_APPEND_ENTRIES, .from = from, .to = to, .term = 3, .call = call};
    message.as.append_request =
        (struct append_request){.prev = {2, 7}, .leader_commit = 6, .round = 9};
    return message;
}

START_TEST(pulse_beat__tells_the_newest_again_without_its_entries)
{
    struct pulse pulse = {0};
    struct message message = heartbeat(1, 2, 5);
    ck_assert(!pulse_beat(&pulse, 10, 1000, &message)); /* nothing was said */
    message.as.append_request.count = 3;
    pulse_note(&pulse, &message);
    struct message other = {.kind = MESSAGE_REQUEST_VOTE, .from = 1, .to = 2, .term = 4};
    pulse_note(&pulse, &other); /* a vote is no sign: it is not asked for twice */
    struct message again;
    ck_assert(pulse_beat(&pulse, 10, 1000, &again));
    ck_assert_int_eq(again.kind, MESSAGE_APPEND_ENTRIES);
    ck_assert_uint_eq(again.term, 3);
    ck_assert_uint_eq(again.call, 5);
    ck_assert_uint_eq(again.as.append_request.prev.index, 7);
    ck_assert_uint_eq(again.as.append_request.leader_commit, 6);
    ck_assert_uint_eq(again.as.append_request.count, 0);
    ck_assert_uint_eq(again.span_count, 0);
    ck_assert(!pulse_beat(&pulse, 10, 1009, &again));
    ck_assert(pulse_beat(&pulse, 10, 1010, &again));
    message = (struct message){.kind = MESSAGE_APPEND_ENTRIES_REPLY, .term = 3, .call = 6};
    message.as.append_reply =
        (struct append_reply){.result = APPEND_ACCEPTED, .match_index = 8, .round = 9};
    pulse_note(&pulse, &message);
    ck_assert(pulse_beat(&pulse, 10, 2000, &again));
    ck_assert_int_eq(again.kind, MESSAGE_APPEND_ENTRIES_REPLY);
    ck_assert_uint_eq(again.as.append_reply.match_index, 8);
}
END_TEST

static struct house *house_with_pulse(u64 pulse_ms_max)
{
    struct house *house = house_create(2);
    house->options.pulse_ns = PULSE_MS * NS_PER_MS;
    house->options.pulse_ns_max = pulse_ms_max * NS_PER_MS;
    return house;
}

/* How many come within the time. */
static u32 signs_within(struct node *node, u64 ms)
{
    u32 before = node_mail_count(node);
    usleep((useconds_t)ms * 1000);
    return node_mail_count(node) - before;
}

START_TEST(busy__the_peer_hears_the_newest_again_but_not_for_ever)
{
    struct house *house = house_with_pulse(400);
    node_start(house, 0);
    node_start(house, 1);
    node_await(&house->node[0], MAIL_CONNECTED, 2);
    node_await(&house->node[1], MAIL_CONNECTED, 1);
    struct transport *transport = peers_transport(house->node[1].peers);
    struct message message = heartbeat(2, 1, 11);
    ck_assert(transport->ops->send(transport, &message));
    mail_destroy(node_take(&house->node[0], MAIL_APPEND_ENTRIES));
    ck_assert_uint_eq(signs_within(&house->node[0], 200),
                      0); /* who works says what it has to say */
    transport->ops->busy(transport, true);
    for (u32 i = 0; i < 3; i++) {
        struct mail *mail = node_take(&house->node[0], MAIL_APPEND_ENTRIES);
        ck_assert_uint_eq(mail->as.message.call, 11);
        mail_destroy(mail);
    }
    usleep(600 * 1000);
    ck_assert_uint_eq(signs_within(&house->node[0], 300), 0); /* that disk does not come back */
    transport->ops->busy(transport, false);
    transport->ops->busy(transport, true);
    mail_destroy(node_take(&house->node[0], MAIL_APPEND_ENTRIES));
    transport->ops->busy(transport, false);
    house_destroy(house);
}
END_TEST

/* Settings of the timers change while the server runs, and the writer may be in a long sleep. */
START_TEST(pulse__follows_the_settings)
{
    struct house *house = house_create(2);
    house->options.pulse_ns = 600 * NS_PER_S;
    house->options.pulse_ns_max = 1200 * NS_PER_S;
    node_start(house, 0);
    node_start(house, 1);
    node_await(&house->node[0], MAIL_CONNECTED, 2);
    node_await(&house->node[1], MAIL_CONNECTED, 1);
    struct transport *transport = peers_transport(house->node[1].peers);
    struct message message = heartbeat(2, 1, 11);
    ck_assert(transport->ops->send(transport, &message));
    mail_destroy(node_take(&house->node[0], MAIL_APPEND_ENTRIES));
    transport->ops->busy(transport, true);
    ck_assert_uint_eq(signs_within(&house->node[0], 300), 0);
    transport->ops->pulse(transport, PULSE_MS * NS_PER_MS, 600 * NS_PER_S);
    mail_destroy(node_take(&house->node[0], MAIL_APPEND_ENTRIES));
    transport->ops->pulse(transport, PULSE_MS * NS_PER_MS, 1); /* and for how long */
    usleep(200 * 1000);
    ck_assert_uint_eq(signs_within(&house->node[0], 300), 0);
    transport->ops->busy(transport, false);
    house_destroy(house);
}
END_TEST

/* A frame of LARGE bytes from server 2, whose payload is not sent yet. Returns its head. */
static struct frame_head large_head(struct block **payload)
{
    struct message message = {.kind = MESSAGE_FORWARD, .from = 2, .to = 1, .term = 3, .call = 12};
    message.as.forward_request = (struct forward_request){.start = 1, .serial = 1, .count = 1};
    *payload = block_create(LARGE);
    memset((*payload)->data, 'c', LARGE);
    message.spans[0] = span_of(*payload, (*payload)->data, LARGE);
    message.span_count = 1;
    struct frame_head head;
    message_encode(&message, &head);
    message_release(&message);
    return head;
}

START_TEST(reader__a_large_frame_that_comes_slowly_is_a_sign_of_life)
{
    struct house *house = house_with_pulse(400);
    house->options.frame_bytes_max = MIB;
    node_start(house, 0);
    int fd = raw_peer(house);
    struct message message = heartbeat(2, 1, 11);
    struct frame_head head;
    message_encode(&message, &head);
    raw_send(fd, head.bytes, head.size);
    mail_destroy(node_take(&house->node[0], MAIL_APPEND_ENTRIES));
    struct block *payload;
    head = large_head(&payload);
    raw_send(fd, head.bytes, head.size);
    u32 before = node_mail_count(&house->node[0]);
    u32 sent = 0;
    for (u32 i = 0; i < PARTS; i++) {
        usleep(2 * PULSE_MS * 1000);
        raw_send(fd, payload->data + sent, PART);
        sent += PART;
    }
    for (u32 i = 0; i < PARTS / 4; i++) { /* some may be read together */
        struct mail *mail = node_take(&house->node[0], MAIL_APPEND_ENTRIES);
        ck_assert_uint_eq(mail->as.message.call, 11);
        ck_assert_uint_eq(mail->as.message.as.append_request.round, 9);
        mail_destroy(mail);
    }
    ck_assert_uint_le(node_mail_count(&house->node[0]) - before, PARTS);
    /* A few bytes are none: so slow is nobody who is of use. */
    for (u32 i = 0; i < 10; i++) {
        usleep(2 * PULSE_MS * 1000);
        raw_send(fd, payload->data + sent++, 1);
    }
    ck_assert_uint_le(node_mail_count(&house->node[0]) - before, PARTS);
    raw_send(fd, payload->data + sent, LARGE - sent);
    struct mail *mail = node_take(&house->node[0], MAIL_FORWARD);
    ck_assert_uint_eq(message_payload_size(&mail->as.message), LARGE);
    mail_destroy(mail);
    block_release(payload);
    close(fd);
    house_destroy(house);
}
END_TEST

UNIT_MAIN("pulse", pulse_beat__tells_the_newest_again_without_its_entries,
          busy__the_peer_hears_the_newest_again_but_not_for_ever, pulse__follows_the_settings,
          reader__a_large_frame_that_comes_slowly_is_a_sign_of_life)
