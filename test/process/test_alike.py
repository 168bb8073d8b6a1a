"""The same words to Debian's redis-server and to a server of ours: where both should agree, they do,
to the last byte of the answer. What differs on purpose stands in README.md: no transactions, no keys
that expire, parameters and help of our own."""
import os
import shlex
import shutil
import socket
import subprocess
import unittest

import redis

from cluster import CALM, PATIENCE, Case, die_with_parent, free_ports, wait_until

# Each line is one connection: commands between ";", each after a FLUSHALL.
COMMANDS = """
PING; ping a; PING a b; ECHO; ECHO a; ECHO a b; TIME x; FROB; FROB a b; frob "a\\nb"
SELECT 0; SELECT 00; SELECT -1; SELECT +0; SELECT 1; SELECT x; SELECT ""; SELECT 0 0
SELECT 99999999999999999999; READONLY x; INFO nothing; QUIT; PING
QUIT x
RESET; RESET x; PING
AUTH x; AUTH default x; AUTH DEFAULT x; AUTH alice x; AUTH a b c; AUTH
HELLO 03; HELLO x; HELLO 4; HELLO 1; HELLO -2; HELLO ""; HELLO 99999999999999999999
HELLO 3 FROB; HELLO 3 AUTH; HELLO 3 AUTH default; HELLO 3 AUTH DEFAULT x; HELLO 3 SETNAME
HELLO 3 SETNAME "a b"; HELLO 3 SETNAME a AUTH eve x
CLIENT REPLY SKIP; CLIENT REPLY ON; PING
CLIENT REPLY SKIP; CLIENT REPLY SKIP; PING; PING a
CLIENT REPLY SKIP; PING; PING b
CLIENT REPLY OFF; PING; CLIENT REPLY ON; PING
CLIENT REPLY OFF; CLIENT REPLY SKIP; CLIENT REPLY ON; PING
CLIENT REPLY OFF; CLIENT REPLY SKIP; PING; PING; CLIENT REPLY ON; PING
CLIENT REPLY SKIP; CLIENT REPLY OFF; PING; CLIENT REPLY ON; PING x
CLIENT REPLY SKIP; NOTHING; PING
CLIENT REPLY SKIP; SET a 1; GET a
CLIENT REPLY SKIP; CLIENT REPLY FROB; PING
CLIENT REPLY SKIP; CLIENT FROB; PING
CLIENT REPLY FROB; CLIENT REPLY; CLIENT REPLY ON ON; CLIENT; CLIENT FROB; CLIENT HELP x
CLIENT ID x; CLIENT GETNAME; CLIENT GETNAME x; CLIENT SETNAME; CLIENT SETNAME a b
CLIENT SETNAME ""; CLIENT GETNAME; CLIENT SETNAME abc; CLIENT GETNAME; CLIENT SETNAME "a b"
CLIENT KILL ID abc; CLIENT KILL ID 0; CLIENT KILL ID -1; CLIENT KILL ID 01; CLIENT KILL ID 999999
CLIENT KILL ADDR 1.2.3.4:5; CLIENT KILL 1.2.3.4:5; CLIENT KILL FROB x; CLIENT KILL ID; CLIENT KILL
CLIENT KILL TYPE normal SKIPME frob; CLIENT KILL ID 999999 ADDR 1.2.3.4:4; CLIENT KILL USER nobody
CLIENT KILL LADDR 1.2.3.4:5; CLIENT KILL USER default ID 999999; CLIENT KILL TYPE frob
CLIENT KILL TYPE replica; CLIENT KILL SKIPME yes ID 999999; CLIENT KILL ID 9 TYPE; PING
CLIENT LIST ID abc; CLIENT LIST ID; CLIENT LIST ID 999999; CLIENT LIST ID 0; CLIENT LIST FROB
CLIENT LIST TYPE frob; CLIENT LIST TYPE master; CLIENT LIST TYPE replica; CLIENT LIST TYPE pubsub
CLIENT LIST TYPE; CLIENT LIST TYPE a b; CLIENT INFO x; CLIENT GETREDIR; CLIENT GETREDIR x
CLIENT NO-EVICT on; CLIENT NO-EVICT off; CLIENT NO-EVICT frob; CLIENT NO-EVICT
CLIENT TRACKING off; CLIENT TRACKING frob; CLIENT TRACKING
HELLO 3; CLIENT LIST ID 999999; CLIENT GETNAME; INFO nothing; GET a; MGET a b; SCAN 0; DBSIZE
HELLO 3; CONFIG GET nothing; COMMAND INFO nothing; COMMAND DOCS nothing; COMMAND GETKEYS get a
HELLO 3; SET a 1 GET; SET a 2 GET; GETDEL a; GETDEL a; RESET; GETDEL a
COMMAND INFO nothing; COMMAND COUNT x; COMMAND FROB; COMMAND LIST x; COMMAND DOCS nothing
COMMAND GETKEYS; COMMAND GETKEYS get; COMMAND GETKEYS ping; COMMAND GETKEYS frob a
COMMAND GETKEYS get a; COMMAND GETKEYS get a b; COMMAND GETKEYS mset a b c d
COMMAND GETKEYS set a b nx; COMMAND GETKEYS del a b c; COMMAND GETKEYS scan 0
COMMAND LIST FILTERBY PATTERN mge*; COMMAND LIST FILTERBY PATTERN nothing
COMMAND LIST FILTERBY MODULE x; COMMAND LIST FILTERBY FROB x; COMMAND LIST FILTERBY ACLCAT nothing
COMMAND LIST FILTERBY PATTERN; COMMAND LIST FILTERBY
CONFIG; CONFIG FROB; CONFIG GET; CONFIG GET nothing; CONFIG GET save; CONFIG SET; CONFIG SET a
CONFIG RESETSTAT; CONFIG RESETSTAT x; CONFIG REWRITE x; CONFIG GET databas*; CONFIG HELP x
EXEC; DISCARD; MULTI x; DISCARD x; CLUSTER FROB; CLUSTER; CLUSTER KEYSLOT; CLUSTER KEYSLOT a b
CLUSTER INFO x; CLUSTER NODES x; CLUSTER HELP x
SET a; SET a 1 NX XX; SET a 1 FROB; SET a 1 GET; GET a; SET a 1 GET GET; SET a 2 XX GET; GET a
SET a 1 NX GET; SET a 2 NX GET; GET a; SET a 3 nx nx; SET a 4 xx xx; GET a; SET "" v; GET ""
SET a 1 XX; GET a; SET a 1 XX GET; SET a 1 NX; SET a 2 NX; GET a; SET b 1 xx nx
GET; GET a; GET a b; SET a ""; GET a; STRLEN a; STRLEN; STRLEN b; EXISTS; DEL; DBSIZE x
MGET; MGET a; MSET a; MSET a 1 b; MSET a 1 b 2; MGET a b c; MSET a 1 a 2; GET a; MSET; DBSIZE
SET a 1; EXISTS a a b; DEL a a b; EXISTS a; DEL a; TYPE_OF_NOTHING a
INCR; INCR a; INCR a; INCR a b; DECR a; DECR a; DECR a; GET a; DECR; DECR a b
SET a x; INCR a; SET a 01; INCR a; SET a "1 "; INCR a; SET a " 1"; INCR a; SET a ""; INCR a
SET a 9223372036854775807; INCR a; GET a; SET a -9223372036854775808; DECR a; GET a
SET a -0; INCR a; SET a +1; INCR a; SET a 1.0; INCR a; SET a 9223372036854775808; INCR a
INCRBY a; INCRBY a x; INCRBY a 01; INCRBY a +1; INCRBY a 5; INCRBY a -7; INCRBY a 1 2
INCRBY a 9223372036854775807; INCRBY a 1; INCRBY a 9223372036854775808; GET a
INCRBY a -9223372036854775808; INCRBY a -1; DECRBY a 1; DECRBY b -9223372036854775807; GET b
DECRBY a -9223372036854775808; DECRBY a 3; DECRBY a x; DECRBY a; DECRBY a 1 2; GET a
APPEND a; APPEND a 1; APPEND a 2; GET a; APPEND b ""; EXISTS b; APPEND a 1 2
GETDEL; GETDEL a; SET a 1; GETDEL a; GETDEL a; GETDEL a b
SCAN; SCAN 0; SCAN 00; SCAN ""; SCAN +0; SCAN -0; SCAN -1; SCAN " 0"; SCAN "0 "; SCAN x; SCAN 0x
SCAN 18446744073709551615; SCAN 18446744073709551616; SCAN 99999999999999999999999; SCAN +; SCAN -
SCAN -18446744073709551615; SCAN -18446744073709551616; SCAN +18446744073709551615; SCAN --1
SCAN 0 COUNT; SCAN 0 COUNT 0; SCAN 0 COUNT -1; SCAN 0 COUNT x; SCAN 0 COUNT 01; SCAN 0 MATCH
SCAN 0 MATCH x; SCAN 0 FROB x; SCAN 0 TYPE string; SCAN 0 TYPE frob; SCAN 0 COUNT 100 COUNT 200
SET a 1; SCAN 0; SCAN 0 TYPE STRING; SCAN 0 TYPE hash; SCAN 0 MATCH b*; SCAN 0 count 1000 match a
SET a 1; SCAN 0 MATCH [a-c]; SCAN 0 MATCH [^a]; SCAN 0 MATCH ?; SCAN 0 MATCH \\\\a; SCAN 0 MATCH ""
FLUSHALL; FLUSHALL ASYNC; FLUSHALL SYNC; FLUSHALL FROB; FLUSHALL ASYNC SYNC; flushall async
"""

# Bytes as they are, each on a connection of its own, after which the client sends no more.
BYTES = [b"PING\r\n", b"PING\n", b"\r\nPING\r\n", b"  PING  \r\n", b"PING a\r\n", b"SET a 1\r\nGET a\r\n",
         b'PING "a b"\r\n', b"PING 'a b'\r\n", b'PING "\\x41\\n"\r\n', b"PING 'a\\'b'\r\n", b'PING "a\r\n',
         b'PING "a"b\r\n', b"*0\r\nPING\r\n", b"*-1\r\nPING\r\n", b"*1\r\n$4\r\nPING\r\n",
         b"*1\r\n$4\r\nPI", b"*x\r\n", b"*1\r\nPING\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$x\r\n",
         b"*01\r\n$4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*99999999999\r\n", b"*2147483648\r\n",
         b"*1\r\n$999999999999\r\n", b"*1\r\n$99999999999999999999999\r\n", b"*+1\r\n$4\r\nPING\r\n",
         b"*3\r\n$3\r\nSET\r\n$1\r\n\x00\r\n$3\r\n\r\n\x00\r\n*2\r\n$3\r\nGET\r\n$1\r\n\x00\r\n",
         b"*1\r\n:4\r\n", b"*1\r\n*1\r\n", b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n", b"x" * 70000]


def read_value(stream):
    """One answer as a tree of (type, contents); None at the end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        return None
    kind, rest = line[:1].decode(), line[1:-2]
    if kind in "$=!":
        return kind, None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind in "*~>%":
        count = int(rest) * (2 if kind == "%" else 1)
        return kind, None if count < 0 else [read_value(stream) for _ in range(count)]
    return kind, rest


def talk(port, data):
    """All answers to these bytes, until the server has closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        answers = []
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                while (value := read_value(stream)) is not None:
                    answers.append(value)
        except ConnectionError:
            pass  # it closed on bytes that it did not want
        return answers


def pack(text):
    words = [word.encode() for word in shlex.split(text)]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def without_hello(answers):
    """Of HELLO's answer only that it came: names, numbers and modes differ."""
    return [("hello", None) if kind in "%*" and content and ("$", b"server") in content else
            (kind, content) for kind, content in answers]


class Alike(Case):
    def setUp(self):
        super().setUp()
        if shutil.which("redis-server") is None:
            self.skipTest("redis-server is not installed (Debian: apt-get install redis-server)")
        self.one = self.cluster(1, CALM).start()[1]
        self.redis_port, = free_ports(1)
        home = os.path.join(self.directory, "redis")
        os.mkdir(home)
        process = subprocess.Popen(
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
             "--databases", "1", "--dir", home], stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def answers():
            try:
                return talk(self.redis_port, b"PING\r\n")
            except OSError:
                return None
        wait_until("redis-server answers", answers)

    def compare(self, data, what):
        with self.subTest(what=what):
            self.assertEqual(without_hello(talk(self.one.port, data)),
                             without_hello(talk(self.redis_port, data)))

    def test_commands(self):
        for line in COMMANDS.strip().split("\n"):
            self.compare(b"".join(map(pack, ["FLUSHALL", *line.split(";")])), line)

    def test_bytes(self):
        for data in BYTES:
            self.compare(b"FLUSHALL\r\n" + data, data[:40])


class Transactions(Case):
    """There are none yet: what a client sends as one is refused as a whole."""

    def setUp(self):
        super().setUp()
        cluster = self.cluster(settings=CALM).start()
        self.leader = cluster.wait_for_leader()
        self.servers = [self.leader, cluster.followers()[0]]

    def test_a_pipeline_of_redis_py_raises_and_writes_nothing(self):
        for server in self.servers:
            with server.client() as client:
                client.set("before", "1")
                with client.pipeline() as pipeline:
                    pipeline.set("k", "1").incr("n").delete("before")
                    with self.assertRaisesRegex(redis.ResponseError, "transactions are not supported"):
                        pipeline.execute()
                self.assertEqual(client.mget("k", "n", "before"), [None, None, "1"])
                with client.pipeline(transaction=False) as pipeline:
                    self.assertEqual(pipeline.set("k", "1").get("k").execute(), [True, "1"])
                client.delete("k")

    def test_nothing_is_executed_up_to_exec_or_discard(self):
        for server in self.servers:
            for end in ("EXEC", "DISCARD", "RESET"):
                words = ["MULTI", "SET x 1", "MSET y 1 z 1", "CONFIG SET heartbeat 20ms", "PING",
                         "CLIENT REPLY OFF", "FLUSHALL", "RAFT.SNAPSHOT", end, "MGET x y z"]
                answers = talk(server.port, b"".join(map(pack, words)))
                self.assertEqual(len(answers), len(words))
                for kind, text in answers[:8]:
                    self.assertEqual((kind, text[:3]), ("-", b"ERR"))
                self.assertEqual(answers[9], ("*", [("$", None)] * 3), answers)

    def test_a_connection_that_ends_within_leaves_nothing(self):
        for server in self.servers:
            talk(server.port, b"MULTI\r\nSET x 1\r\n")
            with server.client() as client:
                self.assertIsNone(client.get("x"))


class Words(Case):
    def test_hello_says_who_leads(self):
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        for server in cluster.servers:
            for version in ("2", "3"):
                (_, hello), = talk(server.port, pack("HELLO " + version))
                role = hello[hello.index(("$", b"role")) + 1][1]
                self.assertEqual(role, b"master" if server is leader else b"replica")

    def test_redirects_can_be_switched_off(self):
        cluster = self.cluster(settings=CALM + "redirect yes\n").start()
        follower = cluster.followers()[0]
        words = ["SET a 1", "RAFT.REDIRECT off", "SET a 2", "GET a", "RAFT.REDIRECT on", "GET a",
                 "RAFT.REDIRECT off", "RESET", "GET a"]
        answers = talk(follower.port, b"".join(map(pack, words)))
        self.assertEqual([text[:5] for kind, text in answers],
                         [b"MOVED", b"OK", b"OK", b"2", b"OK", b"MOVED", b"OK", b"RESET", b"MOVED"])

    def test_parameters_by_pattern_and_help(self):
        one = self.cluster(1, CALM).start()[1]
        with one.client() as client:
            found = client.config_get("append*")
            self.assertEqual(found, {"appendonly": "yes", "appendfsync": "always"})
            self.assertEqual(client.config_get("MAX-[kv]*BYTES"),
                             {"max-key-bytes": "64KiB", "max-value-bytes": "8MiB"})
            for name in ("CLIENT", "CLUSTER", "COMMAND", "CONFIG"):
                (_, lines), = talk(one.port, pack(name + " HELP"))
                self.assertIn(name.encode() + b" <subcommand>", lines[0][1])
                self.assertEqual(lines[-2:], [("+", b"HELP"), ("+", b"    Print this help.")])


if __name__ == "__main__":
    unittest.main()
