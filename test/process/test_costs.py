"""Clients that cost too much, against real servers: who sends much before it reads, who leaves commands
half sent, who all together hold too much; and what is given back afterwards."""
import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
import unittest

from cluster import CALM, PATIENCE, SLOW, Case, run, wait_until

MEBIBYTE = 1024 * 1024


def resident(server):
    with open("/proc/%d/status" % server.process.pid) as status:
        line, = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


class Costs(Case):
    def start(self, settings="", count=1):
        cluster = self.cluster(count, CALM + settings).start()
        return cluster, cluster.wait_for_leader()

    def test_three_hundred_thousand_gets_sent_before_the_first_answer_is_read(self):
        _, server = self.start()
        count, value = 300000, "v" * 200
        with server.client() as client:
            client.set("key", value)
        answer = b"$200\r\n" + value.encode() + b"\r\n"
        with server.raw() as connection:
            connection.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n" * count)
            with connection.makefile("rb") as answers:
                for _ in range(count // 1000):
                    self.assertEqual(answers.read(1000 * len(answer)), 1000 * answer)

    def test_who_never_reads_is_hung_up_on_and_it_is_said(self):
        _, server = self.start("client-stall-timeout 1s\nclient-output-bytes 1MiB\n")
        with server.client() as client:
            client.set("key", "v" * 100000)
            with server.raw() as connection, contextlib.suppress(ConnectionError):
                for _ in range(100):  # far more than the kernel keeps
                    connection.sendall(b"GET key\r\n" * 100000)
                self.fail("all was taken, and nothing read")
            self.assertEqual(client.info("stats")["stalled_clients"], 1)
        self.assertIn("read none of its answers", server.log())

    def test_half_commands_end_and_idle_clients_stay(self):
        _, server = self.start("client-stall-timeout 1s\n")
        with server.client() as client, server.raw() as idle:
            halves = [server.raw() for _ in range(30)]
            for half in halves:
                half.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n" + b"v" * 400000)
            for half in halves:
                with half, contextlib.suppress(ConnectionError):
                    self.assertEqual(half.recv(1), b"")
            self.assertEqual(client.info("stats")["half_command_clients"], 30)
            idle.sendall(b"PING\r\n")
            self.assertEqual(idle.recv(7), b"+PONG\r\n")
        self.assertIn("a command that it had begun", server.log())

    def test_all_together_are_bounded_and_the_largest_go(self):
        _, server = self.start("clients-memory-bytes 64MiB\nclient-output-bytes 16MiB\n")
        with server.client() as client:
            client.ping()
            before = resident(server)
            halves = [server.raw() for _ in range(60)]
            for half in halves:
                with contextlib.suppress(ConnectionError):
                    half.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n" + b"v" * 7000000)
            evicted = wait_until("some are hung up on",
                                 lambda: client.info("stats")["evicted_clients"])
            self.assertLess(evicted, 60)
            if SLOW == 1:  # sanitizers keep what is freed
                self.assertLess(resident(server) - before, 100 * MEBIBYTE)
            self.assertLessEqual(client.info("memory")["clients_memory_bytes"], 64 * MEBIBYTE)
            self.assertTrue(client.set("honest", "1"))
            for half in halves:
                half.close()
        self.assertIn("clients-memory-bytes", server.log())

    def test_commands_as_wide_as_those_of_redis(self):
        cluster, server = self.start(count=3)
        pairs = {"k%d" % i: "v%d" % i for i in range(40000)}
        for through in (server, cluster.followers()[0]):
            with through.client() as client:
                self.assertTrue(client.mset(pairs))
                self.assertEqual(client.mget(list(pairs)[-3:]), list(pairs.values())[-3:])
                self.assertEqual(client.exists(*pairs), 40000)
                self.assertEqual(client.delete(*pairs), 40000)
            with through.raw() as connection:
                connection.sendall(b"*1048577\r\n")
                self.assertIn(b"invalid multibulk length", connection.recv(1000))
            with through.raw() as connection:
                connection.sendall(b"*2\r\n$4\r\nECHO\r\n$16777216\r\n")
                self.assertIn(b"larger than 16777216 bytes (client-input-bytes in cluster.conf)",
                              connection.recv(1000))
        digests = cluster.wait_until_equal()
        self.assertEqual(len(set(digests)), 1, digests)

    def test_many_large_answers_through_a_follower_are_all_given(self):
        """Far more than the way from the leader to the follower holds: who asks for it waits, and
        is answered; so is who asks for little, by way of the same follower."""
        cluster, _ = self.start("forward-timeout 30s\npeer-queue-bytes 8MiB\nwindow-bytes 4MiB\n"
                                "message-bytes 1MiB\n", count=3)
        follower = cluster.followers()[0]
        value = b"v" * MEBIBYTE
        with follower.client() as client:
            client.set("large", value)
            client.set("small", "1")
        trouble, answered = [], []
        sent = threading.Barrier(41)

        def many(count=10):
            want = b"$%d\r\n%s\r\n" % (len(value), value)
            try:
                with follower.raw() as connection, connection.makefile("rb") as answers:
                    connection.settimeout(PATIENCE)
                    connection.sendall(b"GET large\r\n" * count)
                    sent.wait(PATIENCE)
                    for _ in range(count):
                        first = answers.readline()
                        if first != b"$%d\r\n" % len(value):
                            trouble.append(first)
                            return
                        if answers.read(len(value) + 2) != want[len(first):]:
                            trouble.append(b"another value")
                        answered.append(1)
            except OSError as error:
                trouble.append(error)

        crowd = [threading.Thread(target=many, daemon=True) for _ in range(40)]
        for thread in crowd:
            thread.start()
        sent.wait(PATIENCE)
        # The way back is full for a while, however fast this machine is.
        follower.signal(signal.SIGSTOP)
        time.sleep(1)
        follower.signal(signal.SIGCONT)
        small = 0
        with follower.client() as client:
            while any(thread.is_alive() for thread in crowd):
                self.assertEqual(client.get("small"), "1")
                self.assertTrue(client.set("beside", "2"))
                small += 1
        for thread in crowd:
            thread.join(PATIENCE)
        self.assertEqual(trouble, [])
        self.assertEqual(len(answered), 400)
        self.assertGreater(small, 0)
        leader = cluster.wait_for_leader()
        wait_until("no read waits any more", lambda: leader.info()["raft_waiting_reads"] == 0)

    def test_memory_is_given_back_after_a_burst(self):
        if SLOW > 1:
            self.skipTest("sanitizers keep what is freed")
        # Answers that wait for this slow reader are no matter of how fast servers hand them on.
        cluster, leader = self.start("forward-timeout 60s\npeer-queue-bytes 512MiB\n", count=3)
        value = "v" * 1000000

        def write():
            """One MB under each of twelve keys, several times over, all at once."""
            def one(number):
                with server.client() as client:
                    for _ in range(5):
                        client.set("k%d" % number, value)
            writers = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(12)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join(PATIENCE)

        for server in (cluster.followers()[0], leader):
            write()  # as much as is in the log's cache afterwards, too
            time.sleep(2.5)
            before = {s: resident(s) for s in cluster.running()}
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(server.client())
                readers = [stack.enter_context(server.raw()) for _ in range(8)]
                for reader in readers:
                    reader.sendall(b"GET k1\r\n" * 20 + b"MGET k1 k2\r\n" +
                                   b"MGET k1 k2 k3 k4 k5 k6 k7\r\nQUIT\r\n")
                write()
                wait_until("answers are held",
                           lambda: client.info("memory")["clients_memory_bytes"] > 100 * MEBIBYTE)
                # Who comes now stays, behind what is freed before.
                late = [stack.enter_context(server.client()) for _ in range(100)]
                for number, comer in enumerate(late):
                    comer.set("late%d" % number, "v" * 100)
                for reader in readers:
                    with reader.makefile("rb") as answers:
                        self.assertGreater(len(answers.read()), 29 * len(value))
                with contextlib.suppress(AssertionError):
                    wait_until("all is given back", lambda: all(
                        resident(s) < before[s] + 48 * MEBIBYTE for s in before), 20)
                for s in before:
                    self.assertLess(resident(s), before[s] + 48 * MEBIBYTE,
                                    "server %d, the burst at %d" % (s.number, server.number))


class Vanished(Case):
    """Hosts of clients that are gone, in network namespaces of their own."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or run("unshare", "-n", "true")[0] != 0:
            self.skipTest("only root may make network namespaces")
        name = "mailraft-%d" % os.getpid()
        self.ours, self.theirs = name + "-s", name + "-c"
        for space in (self.ours, self.theirs):
            self.do("netns", "add", space)
            self.addCleanup(run, "ip", "netns", "del", space)
        self.do("-n", self.ours, "link", "add", "one", "type", "veth", "peer", "two", "netns",
                self.theirs)
        for space, link, address in ((self.ours, "one", "10.99.7.1/24"),
                                     (self.theirs, "two", "10.99.7.2/24")):
            self.do("-n", space, "addr", "add", address, "dev", link)
            self.do("-n", space, "link", "set", link, "up")
            self.do("-n", space, "link", "set", "lo", "up")

    def do(self, *words):
        code, text = run("ip", *words)
        if code != 0:
            self.skipTest("ip %s: %s" % (" ".join(words), text))

    @contextlib.contextmanager
    def inside(self, space):
        """This thread's sockets are made in that namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + space, os.O_RDONLY)
        self.assertEqual(libc.setns(there, 0x40000000), 0)
        try:
            yield
        finally:
            self.assertEqual(libc.setns(here, 0x40000000), 0)
            os.close(here)
            os.close(there)

    def test_connections_of_a_dead_host_end(self):
        cluster = self.cluster(1, CALM + "client-stall-timeout 1s\n")
        server = cluster[1]
        with open(cluster.config) as config:
            text = config.read().replace("client=127.0.0.1:", "client=10.99.7.1:")
        with open(cluster.config, "w") as config:
            config.write(text)
        server.init()
        with self.inside(self.ours):
            server.start()

        def dial(space):
            with self.inside(space):
                return socket.create_connection(("10.99.7.1", server.port), timeout=PATIENCE)

        def ask(words):
            with dial(self.ours) as connection:
                connection.sendall(words + b"\r\nQUIT\r\n")
                return connection.makefile("rb").read()
        wait_until("the server serves", lambda: self.serves(ask))
        ask(b"APPEND k " + b"v" * 60000)
        for _ in range(6):
            ask(b"MSET a 1 b 2")
        idle = [dial(self.theirs) for _ in range(10)]
        late = dial(self.theirs)  # has answers to get, and does not read them: that is its right
        late.sendall(b"GET k\r\n" * 2000)
        wait_until("all are there", lambda: b"connected_clients:12" in ask(b"INFO clients"))
        time.sleep(4)
        self.assertIn(b"connected_clients:12", ask(b"INFO clients"))
        self.do("-n", self.theirs, "link", "set", "two", "down")
        wait_until("those of the dead host end",
                   lambda: b"connected_clients:1\r" in ask(b"INFO clients"))
        for connection in (*idle, late):
            connection.close()

    @staticmethod
    def serves(ask):
        try:
            return ask(b"SET x 1").startswith(b"+OK")
        except OSError:
            return False


if __name__ == "__main__":
    unittest.main()
