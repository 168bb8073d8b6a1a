/* check_mail.c - messages and piles, and what all messages have in common. */
#include "server/mail/mail.h"

#include "test/unit/unit.h"

static const enum mail_kind all_kinds[] = {MAIL_PRE_VOTE,
                                           MAIL_PRE_VOTE_REPLY,
                                           MAIL_REQUEST_VOTE,
                                           MAIL_REQUEST_VOTE_REPLY,
                                           MAIL_APPEND_ENTRIES,
                                           MAIL_APPEND_ENTRIES_REPLY,
                                           MAIL_FORWARD,
                                           MAIL_FORWARD_REPLY,
                                           MAIL_INSTALL_SNAPSHOT,
                                           MAIL_INSTALL_SNAPSHOT_REPLY,
                                           MAIL_PIECE_READ,
                                           MAIL_SNAPSHOT,
                                           MAIL_TIMEOUT_NOW,
                                           MAIL_COMMANDS,
                                           MAIL_CONNECTED,
                                           MAIL_ROOM,
                                           MAIL_DISCONNECTED,
                                           MAIL_MET,
                                           MAIL_UNRECOGNISED,
                                           MAIL_ENTRIES_READ,
                                           MAIL_CAMPAIGN,
                                           MAIL_ELECTION_TIMEOUT,
                                           MAIL_STOP};

struct counting_sink {
    struct command_sink sink;
    int answers;
    char text[128];
};

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    struct counting_sink *counting = CONTAINER_OF(sink, struct counting_sink, sink);
    ck_assert_uint_lt(size, sizeof(counting->text));
    memcpy(counting->text, answer, size);
    counting->text[size] = '\0';
    counting->answers++;
    command_destroy(command);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer};

static void put_command(struct counting_sink *sink, struct mail *mail, struct block *body)
{
    struct span span = span_of(body, body->data, body->size);
    command_list_put(&mail->as.commands, command_create(COMMAND_WRITE, span, &sink->sink));
}

START_TEST(mail_create__zeroes_the_body)
{
    for (u32 i = 0; i < ARRAY_LENGTH(all_kinds); i++) {
        struct mail *mail = mail_create(all_kinds[i]);
        ck_assert_int_eq((int)mail->kind, (int)all_kinds[i]);
        ck_assert_ptr_null(mail->next);
        if (mail_is_message(mail)) {
            ck_assert_int_eq((int)mail->as.message.kind, (int)all_kinds[i]);
            ck_assert_uint_eq(mail->as.message.term, 0);
            ck_assert_uint_eq(mail->as.message.span_count, 0);
        }
        mail_destroy(mail);
    }
}
END_TEST

START_TEST(mail_destroy__gives_back_what_is_inside)
{
    struct block *block = block_create_copy("records", 7);

    struct mail *message = mail_create(MAIL_APPEND_ENTRIES);
    message->as.message.spans[0] = span_of(block, block->data, 3);
    message->as.message.spans[1] = span_of(block, block->data + 3, 4);
    message->as.message.span_count = 2;
    struct mail *read = mail_create(MAIL_ENTRIES_READ);
    read->as.read.records = span_of(block, block->data, 7);
    ck_assert_uint_eq(block->references, 4);
    mail_destroy(message);
    mail_destroy(read);
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

START_TEST(mail_destroy__fails_commands_as_stopping)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct block *block = block_create_copy("ab", 2);
    struct mail *mail = mail_create(MAIL_COMMANDS);
    put_command(&sink, mail, block);
    put_command(&sink, mail, block);
    mail_destroy(mail);
    ck_assert_int_eq(sink.answers, 2);
    ck_assert_ptr_nonnull(strstr(sink.text, command_failure_text(COMMAND_STOPPING)));
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

START_TEST(mail_is_message__exactly_for_those_of_peers)
{
    int messages = 0;
    for (u32 i = 0; i < ARRAY_LENGTH(all_kinds); i++) {
        struct mail mail = {.kind = all_kinds[i]};
        bool expected = all_kinds[i] < MAIL_COMMANDS;
        ck_assert_int_eq(mail_is_message(&mail), expected);
        messages += expected;
    }
    ck_assert_int_eq(messages, MESSAGE_KIND_END - 1);
}
END_TEST

START_TEST(mail_weigh__counts_the_message_and_what_it_holds)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct block *block = block_create_copy("0123456789", 10);
    struct mail *commands = mail_create(MAIL_COMMANDS);
    ck_assert_uint_eq(mail_weigh(commands), sizeof(struct mail));
    put_command(&sink, commands, block);
    put_command(&sink, commands, block);
    ck_assert_uint_eq(mail_weigh(commands), sizeof(struct mail) + 20 + 2 * sizeof(struct command));
    mail_destroy(commands);

    struct mail *message = mail_create(MAIL_FORWARD);
    message->as.message.spans[0] = span_of(block, block->data, 4);
    message->as.message.spans[1] = span_of(block, block->data, 10);
    message->as.message.span_count = 2;
    ck_assert_uint_eq(mail_weigh(message), sizeof(struct mail) + 14);
    mail_destroy(message);
    block_release(block);
}
END_TEST

START_TEST(mail_kind_word__is_known_and_different_for_all)
{
    for (u32 i = 0; i < ARRAY_LENGTH(all_kinds); i++) {
        ck_assert_str_ne(mail_kind_word(all_kinds[i]), "unknown");
        for (u32 j = 0; j < i; j++)
            ck_assert_str_ne(mail_kind_word(all_kinds[i]), mail_kind_word(all_kinds[j]));
    }
    ck_assert_str_eq(mail_kind_word(MAIL_APPEND_ENTRIES_REPLY), "append-reply");
    ck_assert_str_eq(mail_kind_word(MAIL_COMMANDS), "commands");
    ck_assert_str_eq(mail_kind_word((enum mail_kind)0), "unknown");
    ck_assert_str_eq(mail_kind_word((enum mail_kind)31), "unknown");
}
END_TEST

START_TEST(mail_pile_take__oldest_first)
{
    struct mail_pile pile = {0};
    ck_assert(mail_pile_is_empty(&pile));
    ck_assert_ptr_null(mail_pile_peek(&pile));
    ck_assert_ptr_null(mail_pile_take(&pile));
    for (server_id peer = 1; peer <= 3; peer++) {
        struct mail *mail = mail_create(MAIL_CONNECTED);
        mail->as.peer = peer;
        mail_pile_put(&pile, mail);
    }
    for (server_id peer = 1; peer <= 3; peer++) {
        ck_assert_uint_eq(mail_pile_peek(&pile)->as.peer, peer);
        struct mail *mail = mail_pile_take(&pile);
        ck_assert_uint_eq(mail->as.peer, peer);
        mail_destroy(mail);
    }
    ck_assert(mail_pile_is_empty(&pile));
    mail_pile_put(&pile, mail_create(MAIL_STOP));
    ck_assert_int_eq((int)mail_pile_peek(&pile)->kind, MAIL_STOP);
    mail_pile_clear(&pile);
    ck_assert(mail_pile_is_empty(&pile));
}
END_TEST

/* Before: 1 2. The first is taken and put back: 1 2, and what comes then is 3. */
START_TEST(mail_pile_put_back__is_the_oldest_again)
{
    struct mail_pile pile = {0};
    for (server_id peer = 1; peer <= 3; peer++) {
        struct mail *mail = mail_create(MAIL_CONNECTED);
        mail->as.peer = peer;
        mail_pile_put(&pile, mail);
        if (peer == 2)
            mail_pile_put_back(&pile, mail_pile_take(&pile));
    }
    for (server_id peer = 1; peer <= 3; peer++) {
        struct mail *mail = mail_pile_take(&pile);
        ck_assert_uint_eq(mail->as.peer, peer);
        mail_destroy(mail);
    }
    ck_assert(mail_pile_is_empty(&pile));
    /* On an empty pile it is the last one, too. */
    mail_pile_put_back(&pile, mail_create(MAIL_JOIN));
    mail_pile_put(&pile, mail_create(MAIL_STOP));
    mail_pile_put_back(&pile, mail_pile_take(&pile));
    ck_assert_int_eq((int)pile.first->kind, MAIL_JOIN);
    ck_assert_int_eq((int)pile.last->kind, MAIL_STOP);
    mail_pile_clear(&pile);
}
END_TEST

START_TEST(mail_pile_move__joins_in_order_whichever_is_empty)
{
    for (server_id first = 0; first <= 2; first++) {
        for (server_id second = 0; second <= 2; second++) {
            struct mail_pile to = {0};
            struct mail_pile from = {0};
            for (server_id i = 0; i < first + second; i++) {
                struct mail *mail = mail_create(MAIL_CONNECTED);
                mail->as.peer = i;
                mail_pile_put(i < first ? &to : &from, mail);
            }
            mail_pile_move(&to, &from);
            ck_assert(mail_pile_is_empty(&from));
            ck_assert_ptr_null(from.last);
            mail_pile_put(&to, mail_create(MAIL_STOP));
            for (server_id i = 0; i < first + second; i++) {
                struct mail *mail = mail_pile_take(&to);
                ck_assert_uint_eq(mail->as.peer, i);
                mail_destroy(mail);
            }
            mail_pile_clear(&to);
        }
    }
}
END_TEST

START_TEST(message_kind_word__is_known_for_all)
{
    ck_assert_str_eq(message_kind_word(MESSAGE_PRE_VOTE), "pre-vote");
    ck_assert_str_eq(message_kind_word(MESSAGE_TIMEOUT_NOW), "timeout-now");
    ck_assert_str_eq(message_kind_word(MESSAGE_NONE), "unknown");
    ck_assert_str_eq(message_kind_word(MESSAGE_KIND_END), "unknown");
    ck_assert_str_eq(message_kind_word((enum message_kind)200), "unknown");
}
END_TEST

START_TEST(message_is_reply__agrees_with_the_word)
{
    for (u32 i = MESSAGE_NONE; i <= MESSAGE_KIND_END; i++) {
        enum message_kind kind = (enum message_kind)i;
        ck_assert_int_eq(message_is_reply(kind), strstr(message_kind_word(kind), "-reply") != NULL);
    }
}
END_TEST

START_TEST(message_release__gives_back_all_spans)
{
    struct block *block = block_create(100);
    struct message message = {.kind = MESSAGE_APPEND_ENTRIES};
    ck_assert_uint_eq(message_payload_size(&message), 0);
    for (u32 i = 0; i < MESSAGE_SPANS_MAX; i++)
        message.spans[message.span_count++] = span_of(block, block->data, i);
    ck_assert_uint_eq(message_payload_size(&message),
                      MESSAGE_SPANS_MAX * (MESSAGE_SPANS_MAX - 1) / 2);
    message_release(&message);
    ck_assert_uint_eq(message.span_count, 0);
    ck_assert_uint_eq(block->references, 1);
    message_release(&message);
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

UNIT_MAIN("mail", mail_create__zeroes_the_body, mail_destroy__gives_back_what_is_inside,
          mail_destroy__fails_commands_as_stopping, mail_is_message__exactly_for_those_of_peers,
          mail_weigh__counts_the_message_and_what_it_holds,
          mail_kind_word__is_known_and_different_for_all, mail_pile_take__oldest_first,
          mail_pile_put_back__is_the_oldest_again,
          mail_pile_move__joins_in_order_whichever_is_empty, message_kind_word__is_known_for_all,
          message_is_reply__agrees_with_the_word, message_release__gives_back_all_spans)
