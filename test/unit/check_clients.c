/* check_clients.c - the client port: its opening, the way of a command to the machine and back, the
 * order of the answers, the bytes that come in, and the ends of connections. */
#include "server/clients/clients.h"

#include "test/unit/clients_unit.h"

/* ---- opening ---- */

static enum error_code open_at(struct rig *rig, const char *address, struct error *error)
{
    struct clients *clients = NULL;
    struct clients_options options = {.configuration = &rig->configuration,
                                      .listen_address = address,
                                      .connections_max = 1,
                                      .input_bytes_max = MIB,
                                      .output_bytes_max = MIB,
                                      .arguments_max = 16};
    error_clear(error);
    enum error_code code = clients_create(&options, &rig->slot, &rig->report, &clients, error);
    if (code == ERROR_NONE)
        clients_destroy(clients);
    return code;
}

START_TEST(create__says_what_is_wrong_with_the_address)
{
    struct rig *rig = rig_create_usual();
    struct error error;
    char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", clients_port(rig->clients));
    ck_assert_int_eq(open_at(rig, taken, &error), ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, taken));
    ck_assert_int_eq(open_at(rig, "no such host:0", &error), ERROR_CONFIG);
    ck_assert_int_eq(open_at(rig, "127.0.0.1:0", &error), ERROR_NONE);
    rig_destroy(rig);
}
END_TEST

/* ---- the machine's commands ---- */

START_TEST(machine__resp2)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "SET k v\r\n", "+OK\r\n");
    ask(fd, "GET k\r\n", "$1\r\nv\r\n");
    ask(fd, "GET none\r\n", "$-1\r\n");
    ask(fd, "MGET k none k\r\n", "*3\r\n$1\r\nv\r\n$-1\r\n$1\r\nv\r\n");
    ask(fd, "INCR k\r\n", "-ERR value is not an integer or out of range\r\n");
    ask(fd, "GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
    static const char binary[] = "*3\r\n$3\r\nSET\r\n$4\r\n\0\r\n\xff\r\n$0\r\n\r\n"
                                 "*2\r\n$3\r\nGET\r\n$4\r\n\0\r\n\xff\r\n";
    say_bytes(fd, binary, sizeof(binary) - 1);
    expect(fd, "+OK\r\n$0\r\n\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(machine__refused_commands_are_not_posted)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
    ask(fd, "SET k v FROB\r\n", "-ERR syntax error\r\n");
    ck_assert_uint_eq(rig_posted(rig), 0);
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(machine__large_value)
{
    enum { SIZE = 5 * 1024 * 1024 };
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    char *value = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)(i * 2654435761U >> 24);
    say(fd, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5242880\r\n");
    say_bytes(fd, value, SIZE);
    ask(fd, "\r\n", "+OK\r\n");
    ask(fd, "GET k\r\n", "$5242880\r\n");
    char *got = malloc(SIZE);
    hear_bytes(fd, got, SIZE);
    ck_assert(memcmp(value, got, SIZE) == 0);
    expect(fd, "\r\n");
    free(got);
    free(value);
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(machine__full_mailbox_answers_busy)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->refuses, true);
    ask(fd, "SET k v\r\nPING\r\nGET k\r\n",
        "-BUSY too many commands are waiting; nothing was executed, try again\r\n+PONG\r\n"
        "-BUSY too many commands are waiting; nothing was executed, try again\r\n");
    rig_set(rig, &rig->refuses, false);
    ask(fd, "SET k v\r\nGET k\r\n", "+OK\r\n$1\r\nv\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

/* ---- order ---- */

START_TEST(order__answers_have_the_order_of_the_commands)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->backwards, true);
    rig_set(rig, &rig->held, true);
    say(fd, "GET a\r\nPING\r\nMGET a b\r\nINFO server\r\nGET b\r\nDBSIZE\r\nECHO x\r\n");
    rig_wait_posted(rig, 4);
    rig_set(rig, &rig->held, false);
    expect(fd, "$-1\r\n+PONG\r\n*2\r\n$-1\r\n$-1\r\n");
    free(hear_bulk(fd));
    expect(fd, "$-1\r\n:0\r\n$1\r\nx\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(order__write_waits_for_reads)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    int other = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "GET k\r\nGET k\r\nSET k 1\r\nGET k\r\nPING\r\n");
    rig_wait_posted(rig, 2);
    ask(other, "PING\r\n", "+PONG\r\n");
    ck_assert_uint_eq(rig_posted(rig), 2);
    rig_set(rig, &rig->held, false);
    expect(fd, "$-1\r\n$-1\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n");
    ck_assert_str_eq(rig->story, "RRWr");
    close(fd);
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(order__long_pipeline_of_reads_and_writes)
{
    enum { ROUNDS = 3000 };
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    struct buffer request;
    struct buffer expected;
    buffer_init(&request);
    buffer_init(&expected);
    for (int i = 1; i <= ROUNDS; i++) {
        buffer_append_format(&request, "INCR n\r\n*2\r\n$3\r\nGET\r\n$1\r\nn\r\n");
        char number[16];
        (void)snprintf(number, sizeof(number), "%d", i);
        buffer_append_format(&expected, ":%d\r\n$%zu\r\n%s\r\n", i, strlen(number), number);
    }
    buffer_append(&expected, "", 1);
    say_bytes(fd, request.data, request.size);
    expect(fd, (const char *)expected.data);
    buffer_deinit(&request);
    buffer_deinit(&expected);
    close(fd);
    rig_destroy(rig);
}
END_TEST

/* ---- fragments, and what is no RESP ---- */

static const char mix[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\nva\r\nl$*e\r\n"
                          "PING\r\nGET key\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n\r\n*0\r\n"
                          "SET key \"a\\x41\"\r\n*2\r\n$4\r\nMGET\r\n$3\r\nkey\r\n";
static const char mix_answers[] = "+OK\r\n+PONG\r\n$8\r\nva\r\nl$*e\r\n$0\r\n\r\n+OK\r\n"
                                  "*1\r\n$2\r\naA\r\n";

START_TEST(input__every_split_gives_the_same_answers)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    for (size_t cut = 0; cut < sizeof(mix); cut++) {
        say_bytes(fd, mix, cut);
        /* Another connection's answer: the port has met the first part by now. */
        int other = dial(rig);
        ask(other, "PING\r\n", "+PONG\r\n");
        close(other);
        say_bytes(fd, mix + cut, sizeof(mix) - 1 - cut);
        expect(fd, mix_answers);
    }
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(input__byte_by_byte)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    for (size_t i = 0; i < sizeof(mix) - 1; i++)
        say_bytes(fd, mix + i, 1);
    expect(fd, mix_answers);
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(input__protocol_errors_end_the_connection)
{
    static const char *const cases[][2] = {
        {"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$16777216\r\n", "-ERR Protocol error: the command is larger than 16777216 bytes "
                                "(client-input-bytes in cluster.conf)\r\n"},
        {"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n:5\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
        {"*9999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"SET k \"x\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
        {"PING\r\n*z\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"},
        {"GET k\r\n*z\r\n", "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n"},
    };
    struct rig *rig = rig_create_usual();
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        int fd = dial(rig);
        ask(fd, cases[i][0], cases[i][1]);
        expect_end(fd);
    }
    int fd = dial(rig);
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_end(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(input__half_closed_client_gets_its_answers)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    say(fd, "SET k 1\r\nGET k\r\nINCR k\r\nPING\r\n*1\r\n$4\r\nPI");
    (void)shutdown(fd, SHUT_WR);
    expect(fd, "+OK\r\n$1\r\n1\r\n:2\r\n+PONG\r\n");
    expect_end(fd);
    rig_destroy(rig);
}
END_TEST

/* ---- ends ---- */

/* Closes so that the port learns it at once, whatever it is waiting for. */
static void hang_up(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

/* Asks for the list of clients until the one who asks is alone. */
static void wait_until_alone(int fd)
{
    for (bool alone = false; !alone;) {
        say(fd, "CLIENT LIST\r\n");
        char *list = hear_bulk(fd);
        alone = strchr(list, '\n') == strrchr(list, '\n');
        free(list);
    }
}

START_TEST(end__answers_to_closed_connections_are_dropped)
{
    struct rig *rig = rig_create_usual();
    int other = dial(rig);
    for (u32 i = 1; i <= 20; i++) {
        int fd = dial(rig);
        rig_set(rig, &rig->held, true);
        u32 before = rig_posted(rig);
        say(fd, "GET k\r\nINFO\r\nMGET a b\r\nSET k 1\r\n");
        rig_wait_posted(rig, before + 3);
        hang_up(fd);
        wait_until_alone(other);
        rig_set(rig, &rig->held, false);
    }
    /* The write waited for the reads, and nobody was left to send it. */
    ask(other, "DBSIZE\r\n", ":0\r\n");
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(end__quit_waits_for_answers)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "GET k\r\nQUIT\r\nSET k 1\r\n");
    rig_wait_posted(rig, 1);
    rig_set(rig, &rig->held, false);
    expect(fd, "$-1\r\n+OK\r\n");
    expect_end(fd);
    ck_assert_uint_eq(rig_posted(rig), 1);
    rig_destroy(rig);
}
END_TEST

START_TEST(end__stop_lets_answers_out)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "SET k v\r\n");
    rig_wait_posted(rig, 1);
    clients_stop(rig->clients);
    say(fd, "SET k w\r\n");
    rig_set(rig, &rig->held, false);
    expect(fd, "+OK\r\n");
    ck_assert_uint_eq(rig_posted(rig), 1);
    rig_destroy(rig);
    expect_end(fd);
}
END_TEST

START_TEST(end__commands_left_are_answered)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "SET k v\r\n");
    rig_wait_posted(rig, 1);
    clients_stop(rig->clients);
    mutex_lock(&rig->lock);
    struct command_list left = {0};
    command_list_move(&left, &rig->waiting);
    mutex_unlock(&rig->lock);
    command_list_fail(&left, COMMAND_STOPPING);
    rig_destroy(rig);
    expect(fd, "-CLUSTERDOWN this server is stopping; nothing was executed\r\n");
    expect_end(fd);
}
END_TEST

UNIT_MAIN("clients", create__says_what_is_wrong_with_the_address, machine__resp2,
          machine__refused_commands_are_not_posted, machine__large_value,
          machine__full_mailbox_answers_busy, order__answers_have_the_order_of_the_commands,
          order__write_waits_for_reads, order__long_pipeline_of_reads_and_writes,
          input__every_split_gives_the_same_answers, input__byte_by_byte,
          input__protocol_errors_end_the_connection, input__half_closed_client_gets_its_answers,
          end__answers_to_closed_connections_are_dropped, end__quit_waits_for_answers,
          end__stop_lets_answers_out, end__commands_left_are_answered)
