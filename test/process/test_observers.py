"""Nothing waits for an observer: standard error and the trace are pipes that nobody reads, and the
servers go on, lead, fail over and end. Whoever reads at last is told how many lines are missing."""
import fcntl
import os
import re
import signal
import socket
import subprocess
import threading
import time

import redis

from cluster import CALM, PATIENCE, Case, die_with_parent, wait_until

PIPE_BYTES = 4096


def full_pipe():
    """A pipe that takes nothing more, as small as pipes get: both ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    fill(writer)
    return reader, writer


def fill(writer):
    flags = fcntl.fcntl(writer, fcntl.F_GETFL)
    fcntl.fcntl(writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        pass
    fcntl.fcntl(writer, fcntl.F_SETFL, flags)


def read_all(reader, text):
    """Reads for as long as anybody writes; in a thread, so that a test can look at what came."""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:
            return
        if not part:
            return
        text.append(part.decode(errors="replace"))


class Observers(Case):
    def start_unread(self, server, *more):
        """Starts it with a standard error that is full and that nobody reads; returns its end."""
        reader, writer = full_pipe()
        server.process = subprocess.Popen(server.words(*more), stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=writer,
                                          preexec_fn=die_with_parent)
        os.close(writer)
        self.addCleanup(os.close, reader)
        return reader

    def read(self, reader):
        text = []
        thread = threading.Thread(target=read_all, args=(os.dup(reader), text), daemon=True)
        thread.start()
        return text

    def bad_commands(self, server, count):
        wait_until("it answers", server.info)
        for _ in range(count):
            with server.raw() as connection:
                connection.sendall(b"*1\r\n$x\r\n")
                self.assertIn(b"-ERR", connection.recv(200))

    def restarts_of(self, server, count):
        for _ in range(count):
            server.kill()
            server.start()
            wait_until("it answers", server.info)

    def assert_serves(self, cluster, key):
        for server in cluster.running():
            with server.client() as client:
                client.set(key, server.number)
                self.assertEqual(client.get(key), str(server.number))

    def test_nobody_reads_standard_error(self):
        """Leader, followers and candidates with a full pipe as standard error: strangers, restarts of
        a member, a fail-over, SIGTERM; and what is said once somebody reads."""
        cluster = self.cluster(settings="log-level debug\n")
        cluster.init()
        readers = {server: self.start_unread(server) for server in cluster.servers[:2]}
        cluster[3].start()
        cluster.wait_for_leader()
        for server in list(readers):
            self.bad_commands(server, 100)
        self.restarts_of(cluster[3], 5)
        self.assert_serves(cluster, "strangers")
        # Each change of leadership has its lines: more than may wait.
        for _ in range(300):
            for server in cluster.servers[:2]:
                self.ask_to_lead(cluster, server)
        # One of the two falls while it leads; the other must lead, and say so to nobody.
        leader, left = cluster.servers[:2]
        wait_until("one of the two leads", lambda: self.let_lead(cluster, leader))
        leader.kill()
        wait_until("the other leads", lambda: self.let_lead(cluster, left))
        self.assert_serves(cluster, "after the fail-over")
        wait_until("INFO counts what is missing",
                   lambda: left.info().get("raft_report_lines_dropped", 0) > 0)
        # Somebody reads at last.
        text = self.read(readers[left])
        wait_until("it is said how many lines are missing",
                   lambda: re.search(r"(\d+) lines dropped: nobody read standard error",
                                     "".join(text)))
        self.ask_to_lead(cluster, cluster[3])
        wait_until("newer lines come", lambda: "leader -> follower" in "".join(text))
        self.assertEqual(left.end(signal.SIGTERM), 0)
        wait_until("its last words", lambda: "stopping because of SIGTERM" in "".join(text))

    def ask_to_lead(self, cluster, wanted):
        """Only a leader can hand over. Returns whether it has done so."""
        for server in cluster.running():
            with server.client(patient=False) as client:
                try:
                    client.execute_command("RAFT.TRANSFER", wanted.number)
                    return True
                except redis.RedisError:
                    pass
        return False

    def let_lead(self, cluster, wanted):
        return cluster.leader() is wanted or (self.ask_to_lead(cluster, wanted) and None)

    def test_sigterm_ends_it_in_each_state(self):
        """A leader, a follower, and a candidate, whose standard error nobody reads."""
        cluster = self.cluster(settings="log-level debug\n")
        cluster.init()
        for server in cluster.servers:
            self.start_unread(server)
        leader = cluster.wait_for_leader()
        for server in cluster.servers:
            self.bad_commands(server, 30)
        follower = [server for server in cluster.servers if server is not leader][0]
        candidate = [server for server in cluster.servers if server not in (leader, follower)][0]
        for server in (leader, follower):
            self.assertEqual(server.end(signal.SIGTERM), 0)
        wait_until("alone, it campaigns", lambda: candidate.info().get("raft_state") == "candidate")
        self.assertEqual(candidate.end(signal.SIGTERM), 0)

    def test_last_words_of_one_that_cannot_start(self):
        """They wait for a reader who is slow, and not for one who never comes."""
        cluster = self.cluster(1)
        cluster[1].init()
        with open(cluster.config, "a") as config:
            config.write("heartbeat 1h\n")
        reader = self.start_unread(cluster[1])
        self.assertEqual(cluster[1].process.wait(PATIENCE), 78)
        reader = self.start_unread(cluster[1])
        text = self.read(reader)
        self.assertEqual(cluster[1].process.wait(PATIENCE), 78)
        cluster[1].process = None
        wait_until("it says why", lambda: "heartbeat" in "".join(text))

    def test_nobody_reads_the_trace(self):
        """The trace is a named pipe: nobody is waited for, at the start or later."""
        cluster = self.cluster(1, settings=CALM)
        server = cluster[1]
        server.init()
        trace = os.path.join(self.directory, "trace")
        os.mkfifo(trace)
        server.start("--trace", trace)
        self.assertEqual(server.process.wait(PATIENCE), 74)
        server.process = None
        self.assertIn("a pipe that nobody reads", server.log())
        reader = os.open(trace, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        server.start("--trace", trace)
        with server.client() as client:
            wait_until("it leads", lambda: server.info().get("raft_state") == "leader")
            for _ in range(40):  # each entry has its lines: more than the 4 MiB that may wait
                pipeline = client.pipeline(transaction=False)
                for _ in range(2000):
                    pipeline.set("key", "value")
                pipeline.execute()
        missing = server.info()["raft_trace_lines_dropped"]
        self.assertGreater(missing, 0)
        self.assertEqual(server.info()["raft_report_lines_dropped"], 0)
        os.set_blocking(reader, True)
        text = self.read(reader)
        said = wait_until("it is said how many lines are missing",
                          lambda: re.search(r'\{"name":"Dropped","lines":(\d+)\}', "".join(text)))
        self.assertGreaterEqual(int(said.group(1)), missing)
        self.assertEqual(server.end(signal.SIGTERM), 0)
        os.close(reader)

    def test_strangers_lines_are_limited(self):
        """Whoever can cause lines causes few, and the rest are counted."""
        cluster = self.cluster(1)
        cluster[1].init()
        cluster[1].start()
        wait_until("it leads", lambda: cluster[1].info().get("raft_state") == "leader")
        self.bad_commands(cluster[1], 300)
        for number in range(60):
            with socket.create_connection(("127.0.0.1", cluster[1].peer_port)) as connection:
                connection.sendall(bytes([number]) * 12)
                connection.recv(100)
        time.sleep(11)
        self.bad_commands(cluster[1], 1)
        wait_until("the count", lambda: re.search(r"no valid command.* left_out=2\d\d", cluster[1].log()))
        self.assertLess(cluster[1].log().count("no valid command"), 40)
        self.assertLess(cluster[1].log().count("closed a connection from"), 40)
