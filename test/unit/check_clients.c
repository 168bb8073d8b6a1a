/* check_clients.c - the client port over real sockets, with a server of a few lines behind it: a
 * thread that carries out commands on a machine of its own, and that can be made to hold them,
 * to answer them backwards, to refuse them and to redirect. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/memory.h"
#include "server/clients/commands.h"
#include "test/unit/unit.h"

enum { SECONDS_MAX = 60 };

struct rig {
    struct mail_slot slot;
    struct report report;
    struct configuration configuration;
    struct clients *clients;
    struct machine *machine;
    struct thread thread;
    struct mutex lock;
    struct condition changed;
    struct command_list waiting; /* Guarded by lock, as all below. */
    u32 posted;                  /* commands, since the beginning */
    char story[256];             /* of the first ones: W, R, r (a read after a write), s, S */
    bool held;
    bool backwards;
    bool refuses;
    bool redirects;
    bool ended;
};

static bool rig_try_post(struct mail_slot *slot, struct mail *mail)
{
    struct rig *rig = CONTAINER_OF(slot, struct rig, slot);
    mutex_lock(&rig->lock);
    bool takes = !rig->refuses;
    if (takes) {
        for (struct command *at = mail->as.commands.first; at != NULL; at = at->next) {
            char letter = at->class == COMMAND_WRITE    ? 'W'
                          : at->class == COMMAND_READ   ? (at->after_write ? 'r' : 'R')
                          : at->class == COMMAND_STATUS ? 's'
                                                        : 'S';
            if (rig->posted < sizeof(rig->story) - 1)
                rig->story[rig->posted] = letter;
            rig->posted++;
        }
        command_list_move(&rig->waiting, &mail->as.commands);
        condition_broadcast(&rig->changed);
    }
    mutex_unlock(&rig->lock);
    if (takes)
        mail_destroy(mail);
    return takes;
}

static const struct mail_slot_ops rig_slot_ops = {rig_try_post, rig_try_post};

static const char status_text[] = "raft_state:follower\r\nraft_current_term:7\r\n"
                                  "raft_leader_id:2\r\nraft_commit_index:99\r\n";

static void rig_execute(struct rig *rig, struct command *command, bool redirects)
{
    static const struct machine_context context = {{1, 1}, 0};
    struct buffer answer;
    buffer_init(&answer);
    if (redirects && command->may_redirect) {
        command_redirect(command, 2);
        return;
    }
    switch (command->class) {
    case COMMAND_WRITE:
        rig->machine->ops->apply(rig->machine, &context, command->body.data, command->body.size,
                                 &answer);
        break;
    case COMMAND_READ:
        rig->machine->ops->read(rig->machine, command->body.data, command->body.size, &answer);
        break;
    case COMMAND_STATUS:
        buffer_append_string(&answer, status_text);
        break;
    case COMMAND_SETTING:
        buffer_append_format(&answer, "+%s=%s\r\n", (const char *)command->body.data,
                             (const char *)command->body.data +
                                 strlen((const char *)command->body.data) + 1);
        break;
    }
    command_answer(command, answer.data, answer.size);
    buffer_deinit(&answer);
}

/* Executes in order; answers in order, or the last one first. */
static void rig_work(struct rig *rig, struct command_list *list, bool backwards, bool redirects)
{
    struct command *command;
    struct command *stack = NULL;
    while ((command = command_list_take(list)) != NULL) {
        if (!backwards) {
            rig_execute(rig, command, redirects);
        } else {
            command->next = stack;
            stack = command;
        }
    }
    while (stack != NULL) {
        command = stack;
        stack = command->next;
        command->next = NULL;
        rig_execute(rig, command, redirects);
    }
}

static void rig_run(void *context)
{
    struct rig *rig = context;
    mutex_lock(&rig->lock);
    while (!rig->ended) {
        while (!rig->ended && (rig->held || rig->waiting.count == 0))
            condition_wait(&rig->changed, &rig->lock);
        struct command_list list = {0};
        command_list_move(&list, &rig->waiting);
        bool backwards = rig->backwards;
        bool redirects = rig->redirects;
        mutex_unlock(&rig->lock);
        struct command_sink *sink = list.first == NULL ? NULL : list.first->sink;
        rig_work(rig, &list, backwards, redirects);
        if (sink != NULL)
            sink->ops->flush(sink);
        mutex_lock(&rig->lock);
    }
    mutex_unlock(&rig->lock);
}

static void rig_set(struct rig *rig, bool *flag, bool value)
{
    mutex_lock(&rig->lock);
    *flag = value;
    condition_broadcast(&rig->changed);
    mutex_unlock(&rig->lock);
}

static void rig_wait_posted(struct rig *rig, u32 count)
{
    mutex_lock(&rig->lock);
    while (rig->posted < count)
        condition_wait(&rig->changed, &rig->lock);
    mutex_unlock(&rig->lock);
}

static u32 rig_posted(struct rig *rig)
{
    mutex_lock(&rig->lock);
    u32 posted = rig->posted;
    mutex_unlock(&rig->lock);
    return posted;
}

static u32 rig_config_get(void *context, const char *pattern, struct buffer *to)
{
    (void)context;
    if (strcmp(pattern, "heartbeat") != 0)
        return 0;
    buffer_append_string(to, "$9\r\nheartbeat\r\n$4\r\n50ms\r\n");
    return 1;
}

static enum error_code rig_config_check(void *context, const char *key, const char *value,
                                        struct error *error)
{
    (void)context;
    if (strcmp(key, "heartbeat") != 0)
        return error_set(error, ERROR_CONFIG, "unknown key %s for %s", key, value);
    return ERROR_NONE;
}

static void drop_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    (void)line;
    (void)size;
}

static struct rig *rig_create(u32 connections_max, u64 output_max)
{
    struct rig *rig = memory_alloc_zero(1, sizeof(*rig));
    struct error error;
    error_clear(&error);
    rig->slot.ops = &rig_slot_ops;
    rig->report.write = drop_line;
    mutex_init(&rig->lock);
    condition_init(&rig->changed);
    for (server_id id = 1; id <= 3; id++) {
        char peer[ADDRESS_SIZE];
        char client[ADDRESS_SIZE];
        (void)snprintf(peer, sizeof(peer), "127.0.0.1:700%u", id);
        (void)snprintf(client, sizeof(client), "127.0.0.1:600%u", id);
        ck_assert_int_eq(configuration_add(&rig->configuration, id, peer, client, &error),
                         ERROR_NONE);
    }
    struct kv_limits limits = {.key_bytes_max = 1024, .value_bytes_max = 8U << 20};
    rig->machine = kv_create();
    struct clients_options options = {
        .self = 1,
        .configuration = &rig->configuration,
        .listen_address = "127.0.0.1:0",
        .limits = limits,
        .connections_max = connections_max,
        .input_bytes_max = 16 * MIB,
        .output_bytes_max = output_max,
        .arguments_max = 1024,
        .config_get = rig_config_get,
        .config_check = rig_config_check,
    };
    ck_assert_int_eq(thread_start(&rig->thread, "server", rig_run, rig, &error), ERROR_NONE);
    ck_assert_msg(clients_create(&options, &rig->slot, &rig->report, &rig->clients, &error) ==
                      ERROR_NONE,
                  "%s", error.text);
    return rig;
}

static void rig_destroy(struct rig *rig)
{
    clients_stop(rig->clients);
    rig_set(rig, &rig->ended, true);
    thread_join(&rig->thread);
    command_list_fail(&rig->waiting, COMMAND_STOPPING);
    clients_destroy(rig->clients);
    rig->machine->ops->destroy(rig->machine);
    condition_deinit(&rig->changed);
    mutex_deinit(&rig->lock);
    memory_free(rig);
}

static struct rig *rig_create_usual(void)
{
    return rig_create(100, 16 * MIB);
}

/* ---- a client ---- */

static void dial_with(struct rig *rig, int fd)
{
    struct timeval patience = {.tv_sec = SECONDS_MAX};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(clients_port(rig->clients)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static int dial(struct rig *rig)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    dial_with(rig, fd);
    return fd;
}

static void say_bytes(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        at += sent;
        size -= (size_t)sent;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

static void hear_bytes(int fd, void *to, size_t size)
{
    char *at = to;
    while (size > 0) {
        ssize_t got = recv(fd, at, size, 0);
        ck_assert_msg(got > 0, "the connection ended %zu bytes too early", size);
        at += got;
        size -= (size_t)got;
    }
}

static void expect(int fd, const char *text)
{
    size_t size = strlen(text);
    char *got = malloc(size + 1);
    hear_bytes(fd, got, size);
    got[size] = '\0';
    ck_assert_str_eq(got, text);
    free(got);
}

static void expect_end(int fd)
{
    char byte;
    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* The contents of a bulk string, NUL-terminated; the caller frees. */
static char *hear_bulk(int fd)
{
    char line[32] = "";
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        hear_bytes(fd, line + i, 1);
        if (line[i] == '\n')
            break;
    }
    ck_assert_msg(line[0] == '$', "%s", line);
    size_t size = strtoul(line + 1, NULL, 10);
    char *text = malloc(size + 3);
    hear_bytes(fd, text, size + 2);
    text[size] = '\0';
    return text;
}

static void ask(int fd, const char *request, const char *answer)
{
    say(fd, request);
    expect(fd, answer);
}

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

/* ---- answers of the port's own ---- */

START_TEST(local__connection_commands)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "PING\r\n", "+PONG\r\n");
    ask(fd, "*2\r\n$4\r\nping\r\n$2\r\nhi\r\n", "$2\r\nhi\r\n");
    ask(fd, "PING a b\r\n", "-ERR wrong number of arguments for 'ping' command\r\n");
    ask(fd, "ECHO \"a b\"\r\n", "$3\r\na b\r\n");
    ask(fd, "ECHO\r\n", "-ERR wrong number of arguments for 'echo' command\r\n");
    ask(fd, "SELECT 0\r\n", "+OK\r\n");
    ask(fd, "SELECT 1\r\n", "-ERR DB index is out of range\r\n");
    ask(fd, "SELECT x\r\n", "-ERR value is not an integer or out of range\r\n");
    ask(fd, "AUTH secret\r\n",
        "-ERR AUTH <password> called without any password configured for the default user. Are "
        "you sure your configuration is correct?\r\n");
    ask(fd, "AUTH default x\r\n", "+OK\r\n");
    ask(fd, "AUTH alice x\r\n",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ask(fd, "foo bar \"b z\"\r\n",
        "-ERR unknown command 'foo', with args beginning with: 'bar' 'b z' \r\n");
    ask(fd, "READONLY\r\nREADWRITE\r\nASKING\r\n", "+OK\r\n+OK\r\n+OK\r\n");
    ask(fd, "QUIT\r\nPING\r\n", "+OK\r\n");
    expect_end(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(local__client)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "CLIENT ID\r\n", ":1\r\n");
    ask(fd, "CLIENT GETNAME\r\n", "$-1\r\n");
    ask(fd, "CLIENT SETNAME bob\r\n", "+OK\r\n");
    ask(fd, "CLIENT GETNAME\r\n", "$3\r\nbob\r\n");
    ask(fd, "CLIENT SETNAME \"a b\"\r\n",
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    ask(fd, "CLIENT SETINFO LIB-NAME redis-py\r\n", "+OK\r\n");
    ask(fd, "CLIENT SETINFO lib-ver 5.0\r\n", "+OK\r\n");
    ask(fd, "CLIENT SETINFO colour red\r\n", "-ERR Unrecognized option 'colour'\r\n");
    ask(fd, "CLIENT NO-EVICT on\r\nCLIENT NO-TOUCH off\r\n", "+OK\r\n+OK\r\n");
    ask(fd, "CLIENT TRACKING off\r\n", "+OK\r\n");
    ask(fd, "CLIENT TRACKING on\r\n", "-ERR client tracking is not supported\r\n");
    int other = dial(rig);
    ask(other, "PING\r\n", "+PONG\r\n");
    say(fd, "CLIENT LIST\r\n");
    char *list = hear_bulk(fd);
    ck_assert_ptr_nonnull(strstr(list, "id=2 addr=127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(list, " name=bob "));
    ck_assert_ptr_nonnull(strstr(list, " lib-name=redis-py lib-ver=5.0\n"));
    free(list);
    ask(fd, "CLIENT KILL ID 2\r\n", ":1\r\n");
    expect_end(other);
    ask(fd, "CLIENT KILL ID 2\r\n", ":0\r\n");
    ask(fd, "CLIENT FROB\r\n",
        "-ERR unknown subcommand or wrong number of arguments for 'FROB'. Try CLIENT HELP.\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(local__client_reply)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "CLIENT REPLY SKIP\r\nPING\r\nPING a\r\n", "$1\r\na\r\n");
    ask(fd, "CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\n", "$1\r\nv\r\n");
    ask(fd, "CLIENT REPLY OFF\r\nPING\r\nSET k w\r\nGET k\r\nCLIENT REPLY ON\r\n", "+OK\r\n");
    ask(fd, "GET k\r\n", "$1\r\nw\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(local__hello)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "GET none\r\n", "$-1\r\n");
    ask(fd, "HELLO 4\r\n", "-NOPROTO unsupported protocol version\r\n");
    ask(fd, "HELLO 3 FROB\r\n", "-ERR Syntax error in HELLO option 'FROB'\r\n");
    ask(fd, "HELLO 3 AUTH eve x\r\n",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ask(fd, "GET none\r\n", "$-1\r\n");
    ask(fd, "HELLO 3 AUTH default x SETNAME bob\r\n",
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3"
        "\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\n"
        "modules\r\n*0\r\n");
    ask(fd, "GET none\r\n", "_\r\n");
    ask(fd, "MGET none\r\n", "*1\r\n_\r\n");
    ask(fd, "CLIENT GETNAME\r\n", "$3\r\nbob\r\n");
    /* Answers of commands before it keep the old protocol. */
    ask(fd, "GET none\r\nHELLO 2\r\nMGET none\r\n",
        "_\r\n*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto"
        "\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        "$7\r\nmodules\r\n*0\r\n*1\r\n$-1\r\n");
    ask(fd, "RESET\r\nCLIENT GETNAME\r\n", "+RESET\r\n$-1\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(local__command)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "COMMAND INFO get nothing\r\n",
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0"
        "\r\n$-1\r\n");
    ask(fd, "COMMAND INFO mset ping\r\n",
        "*2\r\n*10\r\n$4\r\nmset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:-1\r\n:2\r\n*0\r\n*0\r\n*0\r\n*0"
        "\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*"
        "0\r\n");
    ask(fd, "COMMAND GETKEYS MSET a 1 b 2\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    ask(fd, "COMMAND GETKEYS SET a 1\r\n", "*1\r\n$1\r\na\r\n");
    ask(fd, "COMMAND GETKEYS DEL a b\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    ask(fd, "COMMAND DOCS nothing\r\n", "*0\r\n");
    ask(fd, "COMMAND DOCS echo\r\n",
        "*2\r\n$4\r\necho\r\n*6\r\n$7\r\nsummary\r\n$21\r\nAnswers its argument.\r\n$5\r\nsince\r\n"
        "$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nserver\r\n");
    say(fd, "COMMAND COUNT\r\n");
    expect(fd, ":35\r\n");
    close(fd);
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

/* ---- bounds ---- */

START_TEST(bounds__idle_connection_is_small)
{
    ck_assert_uint_lt(sizeof(struct connection), 1024);
}
END_TEST

START_TEST(bounds__commands_under_way)
{
    enum { COUNT = 5000 };
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    int other = dial(rig);
    rig_set(rig, &rig->held, true);
    for (int i = 0; i < COUNT; i++)
        say(fd, "INCR n\r\n");
    rig_wait_posted(rig, PLACES_MAX);
    ask(other, "PING\r\n", "+PONG\r\n");
    ck_assert_uint_eq(rig_posted(rig), PLACES_MAX);
    rig_set(rig, &rig->held, false);
    for (int i = 1; i <= COUNT; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), ":%d\r\n", i);
        expect(fd, text);
    }
    close(fd);
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__slow_reader)
{
    enum { COUNT = 200, SIZE = 1024 * 1024 };
    struct rig *rig = rig_create(100, 4 * MIB);
    int fd = dial(rig);
    int other = dial(rig);
    char *value = malloc(SIZE);
    memset(value, 'v', SIZE);
    say(fd, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
    say_bytes(fd, value, SIZE);
    ask(fd, "\r\nGET k\r\n", "+OK\r\n$1048576\r\n");
    hear_bytes(fd, value, SIZE);
    expect(fd, "\r\n");
    for (int i = 0; i < COUNT; i++)
        say(fd, "GET k\r\n");
    /* Nobody reads: however long it goes on, most of the commands are never taken. */
    for (int i = 0; i < 200; i++)
        ask(other, "GET none\r\n", "$-1\r\n");
    ck_assert_uint_lt(rig_posted(rig), 202 + COUNT / 2);
    say(other, "CLIENT LIST\r\n");
    char *list = hear_bulk(other);
    char *omem = strstr(list, "id=1 ");
    ck_assert_ptr_nonnull(omem);
    ck_assert_uint_le(strtoul(strstr(omem, " omem=") + 6, NULL, 10), 6 * MIB);
    free(list);
    for (int i = 0; i < COUNT; i++) {
        expect(fd, "$1048576\r\n");
        hear_bytes(fd, value, SIZE);
        ck_assert_int_eq(value[0], 'v');
        ck_assert_int_eq(value[SIZE - 1], 'v');
        expect(fd, "\r\n");
    }
    free(value);
    close(fd);
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__too_many_clients)
{
    struct rig *rig = rig_create(2, 16 * MIB);
    int first = dial(rig);
    int second = dial(rig);
    ask(first, "PING\r\n", "+PONG\r\n");
    ask(second, "PING\r\n", "+PONG\r\n");
    int third = dial(rig);
    expect(third, "-ERR max number of clients reached\r\n");
    expect_end(third);
    ask(first, "QUIT\r\n", "+OK\r\n");
    expect_end(first);
    int fourth = dial(rig);
    ask(fourth, "PING\r\n", "+PONG\r\n");
    close(second);
    close(fourth);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__no_descriptor_left)
{
    struct rig *rig = rig_create_usual();
    struct rlimit before;
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int lowest_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(lowest_free);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)lowest_free, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    dial_with(rig, first);
    expect(first, "-ERR max number of clients reached\r\n");
    dial_with(rig, second);
    expect(second, "-ERR max number of clients reached\r\n");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_end(first);
    expect_end(second);
    int third = dial(rig);
    ask(third, "PING\r\n", "+PONG\r\n");
    close(third);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__a_thousand_connections)
{
    enum { COUNT = 1000 };
    struct rig *rig = rig_create(4 * COUNT, 16 * MIB);
    int *fds = malloc(COUNT * sizeof(*fds));
    for (int i = 0; i < COUNT; i++)
        fds[i] = dial(rig);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            char text[64];
            (void)snprintf(text, sizeof(text), "INCR n%d\r\nGET n%d\r\n", i, i);
            say(fds[i], text);
        }
        for (int i = 0; i < COUNT; i++) {
            char text[64];
            (void)snprintf(text, sizeof(text), ":%d\r\n$1\r\n%d\r\n", round, round);
            expect(fds[i], text);
        }
    }
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    free(fds);
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

/* ---- status, cluster, settings ---- */

START_TEST(cluster__slots_of_keys)
{
    ck_assert_uint_eq(cluster_slot((const u8 *)"123456789", 9), 0x31c3 % CLUSTER_SLOTS);
    ck_assert_uint_eq(cluster_slot((const u8 *)"foo", 3), 12182);
    ck_assert_uint_eq(cluster_slot((const u8 *)"", 0), 0);
    ck_assert_uint_eq(cluster_slot((const u8 *)"{foo}bar", 8), 12182);
    ck_assert_uint_eq(cluster_slot((const u8 *)"a{foo}{bar}", 11), 12182);
    ck_assert_uint_ne(cluster_slot((const u8 *)"{}foo", 5), cluster_slot((const u8 *)"", 0));
    ck_assert_uint_ne(cluster_slot((const u8 *)"{foo", 4), 12182);
}
END_TEST

START_TEST(cluster__redirect)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->redirects, true);
    ask(fd, "SET foo 1\r\n", "+OK\r\n");
    ask(fd, "RAFT.REDIRECT on\r\n", "+OK\r\n");
    ask(fd, "SET foo 2\r\nGET foo\r\nDBSIZE\r\n",
        "-MOVED 12182 127.0.0.1:6002\r\n-MOVED 12182 127.0.0.1:6002\r\n-MOVED 0 127.0.0.1:6002"
        "\r\n");
    ask(fd, "RAFT.REDIRECT off\r\nGET foo\r\n", "+OK\r\n$1\r\n1\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

#define NODE(n) "$40\r\n000000000000000000000000000000000000000" n "\r\n"

START_TEST(cluster__one_shard_whose_master_is_the_leader)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "CLUSTER SLOTS\r\n",
        "*1\r\n*5\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:6002\r\n" NODE(
            "2") "*0\r\n"
                 "*4\r\n$9\r\n127.0.0.1\r\n:6001\r\n" NODE(
                     "1") "*0\r\n*4\r\n$9\r\n127.0.0.1\r\n:6003\r\n" NODE("3") "*0\r\n");
    ask(fd, "CLUSTER MYID\r\n", NODE("1"));
    ask(fd, "CLUSTER KEYSLOT {foo}x\r\n", ":12182\r\n");
    say(fd, "CLUSTER NODES\r\n");
    char *nodes = hear_bulk(fd);
    ck_assert_ptr_nonnull(
        strstr(nodes, "2 127.0.0.1:6002@7002 master - 0 0 7 connected 0-16383\n"));
    ck_assert_ptr_nonnull(strstr(nodes, "1 127.0.0.1:6001@7001 myself,slave 0000"));
    free(nodes);
    say(fd, "CLUSTER INFO\r\n");
    char *info = hear_bulk(fd);
    ck_assert_ptr_nonnull(strstr(info, "cluster_state:ok\r\n"));
    free(info);
    ask(fd, "CLUSTER SHARDS\r\n",
        "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n"
        "*3\r\n*14\r\n$2\r\nid\r\n" NODE("2"));
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(status__info_and_raft_status)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    say(fd, "RAFT.STATUS\r\n");
    char *text = hear_bulk(fd);
    ck_assert_str_eq(text, status_text);
    free(text);
    say(fd, "INFO\r\n");
    text = hear_bulk(fd);
    ck_assert_ptr_nonnull(strstr(text, "# Server\r\nredis_version:7.0.15\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nconnected_clients:1\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nrole:slave\r\nmaster_host:127.0.0.1\r\n"
                                       "master_port:6002\r\nmaster_link_status:up\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n# Raft\r\nraft_state:follower\r\n"));
    free(text);
    u32 posted = rig_posted(rig);
    say(fd, "INFO server clients\r\n");
    text = hear_bulk(fd);
    ck_assert_ptr_null(strstr(text, "# Raft"));
    free(text);
    ck_assert_uint_eq(rig_posted(rig), posted);
    rig_set(rig, &rig->refuses, true);
    ask(fd, "INFO\r\n", "-BUSY too many commands are waiting; nothing was executed, try again\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(settings__config)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "CONFIG GET heartbeat\r\n", "*2\r\n$9\r\nheartbeat\r\n$4\r\n50ms\r\n");
    ask(fd, "CONFIG GET save\r\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    ask(fd, "CONFIG GET nothing\r\n", "*0\r\n");
    ask(fd, "CONFIG SET heartbeat 60ms\r\n", "+heartbeat=60ms\r\n");
    ask(fd, "CONFIG SET frob 1\r\n",
        "-ERR CONFIG SET failed (possibly related to argument 'frob') - unknown key frob for "
        "1\r\n");
    ask(fd, "CONFIG RESETSTAT\r\n", "+OK\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

UNIT_MAIN("clients", create__says_what_is_wrong_with_the_address, local__connection_commands,
          local__client, local__client_reply, local__hello, local__command, machine__resp2,
          machine__refused_commands_are_not_posted, machine__large_value,
          machine__full_mailbox_answers_busy, order__answers_have_the_order_of_the_commands,
          order__write_waits_for_reads, order__long_pipeline_of_reads_and_writes,
          input__every_split_gives_the_same_answers, input__byte_by_byte,
          input__protocol_errors_end_the_connection, input__half_closed_client_gets_its_answers,
          bounds__idle_connection_is_small, bounds__commands_under_way, bounds__slow_reader,
          bounds__too_many_clients, bounds__no_descriptor_left, bounds__a_thousand_connections,
          end__quit_waits_for_answers, end__answers_to_closed_connections_are_dropped,
          end__stop_lets_answers_out, end__commands_left_are_answered, cluster__slots_of_keys,
          cluster__redirect, cluster__one_shard_whose_master_is_the_leader,
          status__info_and_raft_status, settings__config)
