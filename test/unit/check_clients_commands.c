/* check_clients_commands.c - the commands that the client port answers itself, or asks the server
 * for: of the connection, of the command table, of the cluster, of the status and the settings. */
#include "server/clients/commands.h"

#include "test/unit/clients_unit.h"

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
    ask(fd, "CLIENT FROB\r\n", "-ERR unknown subcommand 'FROB'. Try CLIENT HELP.\r\n");
    ask(fd, "CLIENT KILL ID abc\r\n", "-ERR client-id should be greater than 0\r\n");
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
    ask(fd, "CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\n", "+OK\r\n");
    ask(fd, "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING a\r\n", "$1\r\na\r\n");
    /* The word holds for the next command however long that one waits for its turn. */
    rig_set(rig, &rig->held, true);
    u32 posted = rig_posted(rig);
    say(fd, "CLIENT REPLY SKIP\r\nGET k\r\nGET k\r\nSET k x\r\n");
    rig_wait_posted(rig, posted + 2);
    rig_set(rig, &rig->held, false);
    expect(fd, "$1\r\nw\r\n+OK\r\n");
    say(fd, "GET k\r\nCLIENT REPLY SKIP\r\nSET k y\r\nGET k\r\n");
    expect(fd, "$1\r\nx\r\n$1\r\ny\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(local__multi_refuses_all_up_to_its_end)
{
    static const char refused[] = "-ERR not executed: it stands behind MULTI, which is not "
                                  "supported here; send EXEC or DISCARD to go on\r\n";
    static const char multi[] = "-ERR transactions are not supported: commands from MULTI up to "
                                "EXEC or DISCARD are refused, and nothing is executed\r\n";
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "EXEC\r\n", "-ERR EXEC without MULTI\r\n");
    ask(fd, "DISCARD\r\n", "-ERR DISCARD without MULTI\r\n");
    for (int round = 0; round < 3; round++) {
        ask(fd, "MULTI\r\n", multi);
        ask(fd, "SET k v\r\n", refused);
        ask(fd, "GET k\r\n", refused);
        ask(fd, "PING\r\n", refused);
        ask(fd, "HELLO 3\r\n", refused);
        ask(fd, "CLIENT REPLY OFF\r\n", refused);
        ask(fd, "FROB\r\n", refused);
        ask(fd, "MULTI\r\n", multi);
        ask(fd,
            round == 0   ? "EXEC\r\n"
            : round == 1 ? "DISCARD\r\n"
                         : "RESET\r\n",
            round == 0   ? "-EXECABORT Transaction discarded because of previous errors.\r\n"
            : round == 1 ? "+OK\r\n"
                         : "+RESET\r\n");
        ask(fd, "PING\r\n", "+PONG\r\n");
    }
    ck_assert_uint_eq(rig_posted(rig), 0);
    ask(fd, "MULTI\r\n", multi);
    ask(fd, "QUIT\r\n", "+OK\r\n");
    expect_end(fd);
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
        "\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$7\r\nreplica\r\n$7\r\n"
        "modules\r\n*0\r\n");
    ask(fd, "GET none\r\n", "_\r\n");
    ask(fd, "MGET none\r\n", "*1\r\n_\r\n");
    ask(fd, "INFO nothing\r\n", "=4\r\ntxt:\r\n");
    ask(fd, "CLIENT LIST ID 99\r\n", "=4\r\ntxt:\r\n");
    say(fd, "RAFT.STATUS\r\n");
    expect(fd, "=86\r\ntxt:");
    expect(fd, status_text);
    expect(fd, "\r\n");
    ask(fd, "CLIENT GETNAME\r\n", "$3\r\nbob\r\n");
    /* Answers of commands before it keep the old protocol. */
    ask(fd, "GET none\r\nHELLO 2\r\nMGET none\r\n",
        "_\r\n*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto"
        "\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$7\r\nreplica\r\n"
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
    expect(fd, ":39\r\n");
    close(fd);
    rig_destroy(rig);
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

START_TEST(transfer__to_whom)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "RAFT.TRANSFER 3\r\n", ":3\r\n");
    ask(fd, "RAFT.TRANSFER\r\n", ":0\r\n"); /* whoever can take over soonest */
    static const char *const wrong[] = {"0", "x", "-1", "4294967296", "''"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "RAFT.TRANSFER %s\r\n", wrong[i]);
        ask(fd, line, "-ERR RAFT.TRANSFER takes the number of a server\r\n");
    }
    ask(fd, "RAFT.TRANSFER 1 2\r\n",
        "-ERR wrong number of arguments for 'raft.transfer' command\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(backup__which_bytes_of_which_snapshot)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "RAFT.BACKUP 7 3 1000000 4294967295 512 65536\r\n",
        "*6\r\n:7\r\n:3\r\n:1000000\r\n:4294967295\r\n:512\r\n:65536\r\n");
    static const char *const no_numbers[] = {"x 3 9 1 0 1", "7 -3 9 1 0 1", "7 3 9 1 0 ''",
                                             "7 3 99999999999999999999 1 0 1"};
    for (size_t i = 0; i < ARRAY_LENGTH(no_numbers); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "RAFT.BACKUP %s\r\n", no_numbers[i]);
        ask(fd, line, "-ERR value is not an integer or out of range\r\n");
    }
    static const char *const senseless[] = {"0 3 9 1 0 1", "7 3 9 4294967296 0 1", "7 3 9 1 0 0"};
    for (size_t i = 0; i < ARRAY_LENGTH(senseless); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "RAFT.BACKUP %s\r\n", senseless[i]);
        ask(fd, line,
            "-ERR RAFT.BACKUP takes index, term, size and checksum of a snapshot, an offset, and a "
            "count from 1 up\r\n");
    }
    ask(fd, "RAFT.BACKUP 7 3 9 1 0\r\n",
        "-ERR wrong number of arguments for 'raft.backup' command\r\n");
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
    ask(fd, "CONFIG RESETSTAT\r\n", "+reset\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

UNIT_MAIN("clients_commands", local__connection_commands, local__client, local__client_reply,
          local__multi_refuses_all_up_to_its_end, local__hello, local__command,
          cluster__slots_of_keys, cluster__redirect, cluster__one_shard_whose_master_is_the_leader,
          status__info_and_raft_status, transfer__to_whom, backup__which_bytes_of_which_snapshot,
          settings__config)
