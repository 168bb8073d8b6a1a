"""Clients as people use them: redis-cli, redis-benchmark, redis-py, a bare socket, a thousand at once."""
import os
import re
import signal
import socket
import time

import redis

from cluster import CALM, SLOW, Case, run, wait_until


class Clients(Case):
    """All of these share nothing but the way a cluster is made: each test has its own."""

    def setUp(self):
        super().setUp()
        self.cluster_of_three = self.cluster(settings=self.settings()).start()
        self.leader = self.cluster_of_three.wait_for_leader()
        self.follower = self.cluster_of_three.followers()[0]
        self.everywhere = [self.leader, self.follower]

    def settings(self):
        if "large_reads" in self.id():
            return "election-timeout %dms..%dms\n" % (max(1500, 1000 * SLOW), max(3000, 2000 * SLOW))
        return CALM + ("max-clients 3000\n" if "thousand" in self.id() else "")

    def cli(self, server, *words, **options):
        code, text = run("redis-cli", "-p", str(server.port), *words, **options)
        self.assertEqual(code, 0, text)
        return text

    # ---- redis-cli ----

    def test_redis_cli_answers_with_types(self):
        for server in self.everywhere:
            n = str(server.number)
            dialogue = [(["set", "s" + n, "a b"], "OK"), (["get", "s" + n], '"a b"'),
                        (["get", "none"], "(nil)"), (["incr", "n" + n], "(integer) 1"),
                        (["incrby", "n" + n, "-3"], "(integer) -2"),
                        (["append", "s" + n, "\x01"], "(integer) 4"),
                        (["get", "s" + n], '"a b\\x01"'), (["strlen", "s" + n], "(integer) 4"),
                        (["mset", "x" + n, "1", "y" + n, "2"], "OK"),
                        (["mget", "x" + n, "none", "y" + n], '1) "1"\n2) (nil)\n3) "2"'),
                        (["set", "x" + n, "3", "nx"], "(nil)"),
                        (["set", "x" + n, "3", "xx", "get"], '"1"'),
                        (["cas", "x" + n, "3", "4"], "(integer) 1"),
                        (["cas", "x" + n, "3", "5"], "(integer) 0"),
                        (["getdel", "x" + n], '"4"'), (["exists", "x" + n, "y" + n], "(integer) 1"),
                        (["del", "y" + n, "none"], "(integer) 1"), (["echo", "hi"], '"hi"'),
                        (["ping"], "PONG"),
                        (["incr", "s" + n], "(error) ERR value is not an integer or out of range"),
                        (["get"], "(error) ERR wrong number of arguments for 'get' command")]
            for words, answer in dialogue:
                self.assertEqual(self.cli(server, "--no-raw", *words).rstrip("\n"), answer, words)
            self.assertIn("(error) ERR unknown command", self.cli(server, "--no-raw", "frobnicate"))

    def test_redis_cli_speaks_resp3(self):
        text = self.cli(self.follower, "-3", "--no-raw", "hello")
        self.assertRegex(text, r'1# "server" => "')
        self.assertIn('"proto" => (integer) 3', text)
        self.assertEqual(self.cli(self.follower, "-3", "--no-raw", "get", "none").strip(), "(nil)")

    def test_redis_cli_reads_commands_from_a_pipe(self):
        lines = "".join("set key-%d value-%d\n" % (i, i) for i in range(3000)) + "dbsize\n"
        answers = self.cli(self.follower, input=lines).split("\n")
        self.assertEqual(answers[:3000], ["OK"] * 3000)
        self.assertEqual(answers[3000], "3000")

    def test_redis_cli_mass_insertion(self):
        commands = "".join("*3\r\n$3\r\nSET\r\n$%d\r\nm%d\r\n$1\r\nv\r\n" % (len(str(i)) + 1, i)
                           for i in range(20000))
        text = self.cli(self.leader, "--pipe", input=commands)
        self.assertIn("errors: 0, replies: 20000", text)
        self.assertEqual(self.cli(self.follower, "dbsize").strip(), "20000")

    def test_redis_cli_scans_and_follows_the_leader_in_cluster_mode(self):
        self.cli(self.leader, "mset", "a1", "x", "a2", "y", "b1", "z")
        self.assertEqual(sorted(self.cli(self.follower, "--scan", "--pattern", "a*").split()),
                         ["a1", "a2"])
        self.cli(self.follower, "-c", "set", "foo", "bar")
        self.assertEqual(self.cli(self.leader, "-c", "get", "foo").strip(), "bar")

    def test_redis_benchmark_runs_clean(self):
        for server in self.everywhere:
            code, text = run("redis-benchmark", "-p", str(server.port), "-t", "set,get", "-n",
                             "2000", "-c", "50", "-P", "16", "-q")
            self.assertEqual(code, 0, text)
            self.assertNotRegex(text, r"(?i)error|warning")
            for name in ("SET", "GET"):
                self.assertRegex(text, name + r": [\d.]+ requests per second")

    # ---- a client library ----

    def test_redis_py(self):
        for server in self.everywhere:
            with server.client() as client:
                self.assertTrue(client.ping())
                self.assertTrue(client.set("greeting", "Grüße"))
                self.assertEqual(client.get("greeting"), "Grüße")
                self.assertIsNone(client.set("greeting", "x", nx=True))
                pipe = client.pipeline(transaction=False)
                for number in range(500):
                    pipe.set("p%d" % number, number)
                    pipe.get("p%d" % number)
                    pipe.incr("p%d" % number)
                answers = pipe.execute()
                self.assertEqual(answers, [x for n in range(500) for x in (True, str(n), n + 1)])
                self.assertEqual(sorted(client.scan_iter("p1*", count=7)),
                                 sorted(k for k in ("p%d" % n for n in range(500))
                                        if k.startswith("p1")))
                self.assertEqual(client.delete(*("p%d" % n for n in range(500))), 500)
                self.assertEqual(client.info("raft")["raft_id"], server.number)
                self.assertIn("redis_version", client.info("server"))
                self.assertEqual(client.client_setname("me"), True)
                self.assertEqual(client.client_getname(), "me")
                with self.assertRaisesRegex(redis.ResponseError, "not an integer"):
                    client.incr("greeting")
            with server.client(decode_responses=False) as client:
                everything = bytes(range(256)) * 40
                client.set(everything[:300], everything)
                self.assertEqual(client.get(everything[:300]), everything)

    def test_largest_value(self):
        value = os.urandom(8 * 1024 * 1024)
        with self.follower.client(decode_responses=False) as client:
            self.assertTrue(client.set("large", value))
            with self.assertRaises(redis.ResponseError):
                client.set("larger", value + b"x")
        with self.leader.client(decode_responses=False) as client:
            self.assertEqual(client.get("large"), value)
        self.assertEqual(len(set(self.cluster_of_three.wait_until_equal())), 1)

    # ---- a bare socket ----

    def test_inline_commands_over_a_bare_socket(self):
        script = ("exec 3<>/dev/tcp/127.0.0.1/%d; printf 'SET inline \"a b\"\\r\\nGET inline\\n"
                  "PING\\r\\nQUIT\\r\\n' >&3; cat <&3" % self.follower.port)
        code, text = run("bash", "-c", script)
        self.assertEqual((code, text.split()), (0, ["+OK", "$3", "a", "b", "+PONG", "+OK"]))

    def test_resp3_over_a_bare_socket(self):
        with self.leader.raw() as connection, connection.makefile("rb") as answers:
            connection.sendall(b"HELLO 3\r\nGET none\r\nHELLO 2\r\nGET none\r\n")
            self.assertEqual(answers.readline()[:1], b"%")
            text = b"".join(iter(lambda: answers.readline(), b"$-1\r\n"))
            self.assertIn(b"\r\n:3\r\n", text)
            self.assertIn(b"\r\n_\r\n", text)

    def test_redirects_for_who_asks(self):
        with self.follower.raw() as connection, connection.makefile("rb") as answers:
            connection.sendall(b"RAFT.REDIRECT on\r\n")
            self.assertEqual(answers.readline(), b"+OK\r\n")
            # 12182 is CRC16("foo") mod 16384, and 5061 that of "bar".
            for command, slot in ((b"SET foo 1", 12182), (b"GET {bar}x", 5061)):
                connection.sendall(command + b"\r\n")
                self.assertEqual(answers.readline().decode(),
                                 "-MOVED %d 127.0.0.1:%d\r\n" % (slot, self.leader.port))
            connection.sendall(b"RAFT.REDIRECT off\r\nSET foo 1\r\n")
            self.assertEqual(answers.readline() + answers.readline(), b"+OK\r\n+OK\r\n")

    def test_answers_keep_the_order_of_commands(self):
        count = 3000
        with self.follower.raw() as connection, connection.makefile("rb") as answers:
            connection.sendall(b"".join(b"SET o %d\r\nGET o\r\nECHO e%d\r\n" % (i, i)
                                        for i in range(count)))
            for number in range(count):
                got = [answers.readline() for _ in range(5)]
                self.assertEqual((got[0], got[2], got[4]),
                                 (b"+OK\r\n", b"%d\r\n" % number, b"e%d\r\n" % number))

    def test_a_thousand_connections(self):
        connections = [self.cluster_of_three[i % 3 + 1].raw() for i in range(1000)]
        for number, connection in enumerate(connections):
            connection.sendall(b"INCR many\r\nGET key\r\nSET key %d\r\n" % number)
        numbers = set()
        for connection in connections:
            with connection, connection.makefile("rb") as answers:
                numbers.add(int(answers.readline()[1:]))
                size = int(answers.readline()[1:])
                if size >= 0:
                    answers.readline()
                self.assertEqual(answers.readline(), b"+OK\r\n")
        self.assertEqual(numbers, set(range(1, 1001)))
        wait_until("they are forgotten", lambda: all(
            s.client().info("clients")["connected_clients"] <= 2
            for s in self.cluster_of_three.servers))

    def test_a_client_that_does_not_read(self):
        """Its answers are bounded; everybody else goes on."""
        with self.follower.client() as client:
            client.set("big", "x" * 10000)
            with self.follower.raw() as deaf:
                deaf.setblocking(False)
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                try:
                    for _ in range(2000):
                        deaf.send(b"GET big\r\n" * 10)
                except BlockingIOError:
                    pass
                begun = time.monotonic()
                for number in range(20):
                    self.assertTrue(client.set("other", number))
                self.assertLess(time.monotonic() - begun, 10 * SLOW)
                memory = re.search(r"VmRSS:\s+(\d+) kB",
                                   open("/proc/%d/status" % self.follower.process.pid).read())
                if SLOW == 1:
                    self.assertLess(int(memory.group(1)), 400 * 1024)

    def test_large_reads_cost_no_leadership(self):
        """Thousands of large reads in one pile keep the leader busy for seconds, but not silent."""
        term = self.leader.info()["raft_current_term"]
        for server in self.everywhere:
            with server.client() as client, server.raw() as deaf:
                client.set("big", "x" * 1000000)
                deaf.setblocking(False)
                try:
                    for _ in range(2000):
                        deaf.send(b"GET big\r\n" * 10)
                except BlockingIOError:
                    pass
                for number in range(20):
                    self.assertTrue(client.set("other", number))
        self.assertEqual(self.leader.info()["raft_current_term"], term)

    # ---- settings at run time ----

    @staticmethod
    def longest_election_timeout(value):
        """In seconds."""
        number, unit = re.fullmatch(r"([0-9.]+)(ms|s)", value.split("..")[1]).groups()
        return float(number) / (1000 if unit == "ms" else 1)

    def test_config_set_at_run_time(self):
        with self.follower.client() as client:
            self.assertEqual(client.config_get("heartbeat"), {"heartbeat": "50ms"})
            before = client.config_get("election-timeout")["election-timeout"]
            self.assertTrue(client.config_set("election-timeout", "3s..4s"))
            self.assertEqual(client.config_get("election-*"), {"election-timeout": "3s..4s"})
            for key, value, sentence in (
                    ("election-timeout", "soon", "expected a range of durations"),
                    ("heartbeat", "2s", "at most half"), ("segment-bytes", "1MiB", "cannot be"),
                    ("haertbeat", "1s", "did you mean \"heartbeat\"")):
                with self.assertRaisesRegex(redis.ResponseError, sentence):
                    client.config_set(key, value)
            self.assertEqual(client.config_get("election-timeout"),
                             {"election-timeout": "3s..4s"})
        # It takes effect from the next heartbeat on: with the leader stopped, not killed, the
        # others wait that long.
        others = [s for s in self.cluster_of_three.servers if s is not self.leader]
        for server in others:
            with server.client() as client:
                client.config_set("election-timeout", "60s")
                client.config_set("log-level", "debug")
        time.sleep(max(1, 0.5 * SLOW))
        self.leader.signal(signal.SIGSTOP)
        time.sleep(1.5 * self.longest_election_timeout(before))
        self.assertEqual({s.info()["raft_state"] for s in others}, {"follower"})
        self.leader.signal(signal.SIGCONT)
        for server in others:
            with server.client() as client:
                client.config_set("election-timeout", before)
        time.sleep(max(1, 0.5 * SLOW))
        self.leader.signal(signal.SIGSTOP)
        wait_until("another leads", lambda: self.cluster_of_three.leader(others))
        self.leader.signal(signal.SIGCONT)

    def test_config_get_knows_every_key(self):
        with self.leader.client() as client:
            everything = client.config_get("*")
        self.assertGreater(len(everything), 20)
        self.assertEqual(everything["cluster-id"], "test")
        self.assertEqual(everything["max-value-bytes"], "8MiB")
