"""Servers that run out of descriptors, threads or memory: a clear refusal or a clear end, no spinning,
and nothing acknowledged is lost."""
import os
import random
import re
import resource
import shutil
import subprocess
import threading
import time
import unittest

import redis

from cluster import CALM, PATIENCE, RAFTD, SLOW, Case, Load, limited, run, wait_until

EX_OSERR = 71
TICKS = os.sysconf("SC_CLK_TCK")
# Of one core, while there is hardly anything to do; whoever spins takes all of it.
IDLE_SHARE_MAX = 0.5


def cpu_seconds(server):
    with open("/proc/%d/stat" % server.process.pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def address_space(server):
    with open("/proc/%d/statm" % server.process.pid) as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def limit(server, what, value):
    """From now on, for the process that runs; the hard limit stays, so that it can be raised again."""
    hard = resource.prlimit(server.process.pid, what)[1]
    resource.prlimit(server.process.pid, what, (hard if value is None else value, hard))


def ping(connection):
    """What a bare connection is told: b"+PONG\\r\\n", an error, or b"" if it is closed."""
    try:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)
    except ConnectionError:
        return b""


class Exhaustion(Case):
    def assert_calm(self, server, seconds=3):
        before = cpu_seconds(server)
        time.sleep(seconds)
        share = (cpu_seconds(server) - before) / seconds
        self.assertLess(share, IDLE_SHARE_MAX * min(SLOW, 2), "server %d spins" % server.number)

    def assert_works(self, client, key):
        def works():
            try:
                return client.set(key, "v") and client.get(key) == "v"
            except redis.ResponseError:
                return False
        wait_until("the client is served", works)

    def crowd(self, server, count):
        """So many connections, each of which says PING once; all are closed at the end."""
        connections = []
        for _ in range(count):
            connections.append(server.raw())
            self.addCleanup(connections[-1].close)
        return connections

    def refusal(self, server, prepare, binary=RAFTD):
        """Starts the server. Returns the last line it said if it refused, None if it runs."""
        if os.path.exists(server.log_path):
            os.unlink(server.log_path)
        server.start(prepare=prepare, binary=binary)

        def outcome():
            if server.process.poll() is not None:
                return "ended"
            try:
                with server.raw() as connection:
                    return "runs" if ping(connection) else None
            except ConnectionError:  # not yet listening, or ending with this client in its queue
                return None
        if wait_until("it starts or ends", outcome) == "runs":
            return None
        code = server.process.returncode
        server.process = None
        if "loading shared libraries" not in server.log():  # not even the program could be loaded
            self.assertEqual(code, EX_OSERR, server.log())
        return server.log().splitlines()[-1]

    # ---- descriptors ----

    def test_each_start_without_enough_descriptors_is_refused(self):
        cluster = self.cluster(1)
        server = cluster[1]
        server.init()
        refused = 0
        for count in range(5, 64):
            line = self.refusal(server, limited({resource.RLIMIT_NOFILE: count}))
            if line is None:
                break
            self.assertRegex(line, "^raftd: .*: Too many open files$|loading shared libraries")
            refused += 1
        self.assertGreater(refused, 4)
        self.assert_calm(server)  # with no descriptor more than it must have

    def test_clients_up_to_the_limit_leave_peers_their_descriptors(self):
        cluster = self.cluster(settings=CALM)
        few = limited({resource.RLIMIT_NOFILE: 80})
        cluster.init()
        for server in cluster.servers:
            server.start(prepare=few)
        leader = cluster.wait_for_leader()
        other = cluster.followers()[0]
        self.assertIn("the limit on open files allows 40 clients instead of", leader.log())
        with leader.client() as client:
            self.assert_works(client, "before")
            crowd = self.crowd(leader, 120)
            told = [ping(connection) for connection in crowd]
            served = told.count(b"+PONG\r\n")
            self.assertTrue(30 <= served <= 40, told)
            for answer in told:
                self.assertIn(answer, (b"+PONG\r\n", b"",
                                       b"-ERR max number of clients reached\r\n"))
            self.assert_calm(leader)
            self.assert_works(client, "in the midst of it")
            other.kill()
            other.start(prepare=few)
            wait_until("the killed server follows again and catches up", lambda:
                       other.info().get("raft_last_applied") ==
                       client.info("raft")["raft_last_applied"])
            self.assert_works(client, "after it")
        for connection in crowd:
            connection.close()
        wait_until("there is room for others", lambda: ping(leader.raw()) == b"+PONG\r\n")

    def test_no_descriptor_is_left_and_then_there_are_some_again(self):
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        peer = cluster.followers()[0]
        with leader.client() as client:
            self.assert_works(client, "before")
            limit(leader, resource.RLIMIT_NOFILE, descriptors(leader) + 5)
            crowd = self.crowd(leader, 40)
            told = [ping(connection) for connection in crowd]
            self.assertGreater(told.count(b"+PONG\r\n"), 0)
            self.assertGreater(told.count(b"-ERR max number of clients reached\r\n") +
                               told.count(b""), 20)
            wait_until("it says so", lambda: "no file descriptor is left for another client" in
                       leader.log())
            self.assert_works(client, "in the midst of it")
            # Now nothing at all can be opened, on no port: connections wait in the queue.
            limit(leader, resource.RLIMIT_NOFILE, 3)
            waiting = self.crowd(leader, 10)
            peer.kill()
            peer.start()
            self.assert_calm(leader)
            self.assert_works(client, "with nothing to be opened")
            self.assertEqual(client.info("raft")["raft_state"], "leader")
        limit(leader, resource.RLIMIT_NOFILE, None)
        for connection in waiting:
            self.assertIn(ping(connection), (b"+PONG\r\n", b"",
                                             b"-ERR max number of clients reached\r\n"))
        wait_until("new clients are served", lambda: ping(leader.raw()) == b"+PONG\r\n")
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def test_no_descriptor_for_segments_and_snapshots(self):
        cluster = self.cluster(settings="segment-bytes 1MiB\nsnapshot-log-bytes 1MiB\n"
                                        "max-value-bytes 64KiB\nmessage-bytes 128KiB\n"
                                        "client-input-bytes 256KiB\n").start()
        leader = cluster.wait_for_leader()
        done = {}
        clients = [server.client(patient=False) for server in cluster.servers]
        for client in clients:
            client.ping()
        limit(leader, resource.RLIMIT_NOFILE, 3)

        def write(count):
            key, value = "key:%d" % count, ("%d" % count) * 6000
            for client in clients:
                try:
                    client.set(key, value)
                    done[key] = value
                    return True
                except redis.ResponseError as error:
                    self.assertRegex(str(error), "^(NOSPACE|CLUSTERDOWN|BUSY|TIMEOUT)")
            return False
        for count in range(400):
            wait_until("a server takes writes", lambda: write(count))
        self.assertIsNone(leader.process.poll())
        self.assertIn("Too many open files", leader.log())
        self.assert_calm(leader)
        limit(leader, resource.RLIMIT_NOFILE, None)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        for server in cluster.servers:
            with server.client() as client:
                for key, value in done.items():
                    self.assertEqual(client.get(key), value)

    # ---- threads ----

    def as_nobody_else(self, cluster):
        """A user id that nobody else has, to whom the cluster's directories are given; a copy of raftd
        that he may run. The limit on threads does not bind root."""
        if os.geteuid() != 0:
            self.skipTest("only root can become a user with a limit of his own")
        user = random.randrange(2 ** 30, 2 ** 31 - 2)
        binary = os.path.join(self.directory, "raftd")
        shutil.copy(RAFTD, binary)
        for place, _, files in os.walk(self.directory):
            os.chmod(place, 0o755)
            for name in [place] + [os.path.join(place, file) for file in files]:
                os.chown(name, user, -1)
        return user, binary

    def test_starts_without_enough_threads_are_refused_and_then_one_snapshot(self):
        if SLOW > 1:
            self.skipTest("sanitizers want threads of their own, and end otherwise without them")
        cluster = self.cluster(1)
        server = cluster[1]
        server.init()
        user, binary = self.as_nobody_else(cluster)
        sleeper = subprocess.Popen(["sleep", "1000"], preexec_fn=limited({}, user))
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        refused = 0
        for count in range(1, 64):
            line = self.refusal(server, limited({resource.RLIMIT_NPROC: count}, user), binary)
            if line is None:
                break
            self.assertRegex(line, "^raftd: .*start thread .*: Resource temporarily unavailable$")
            refused += 1
        self.assertGreater(refused, 2)
        cluster.wait_for_leader()
        with server.client() as client:  # with no thread more than it must have
            self.assert_works(client, "before")
            with self.assertRaises(redis.ResponseError):
                client.execute_command("RAFT.SNAPSHOT")
            wait_until("it says why", lambda: "no snapshot can be written now: start thread" in
                       server.log())
            self.assert_works(client, "without a snapshot")
            self.assert_calm(server)
            sleeper.kill()
            sleeper.wait()
            self.assertGreater(client.execute_command("RAFT.SNAPSHOT"), 0)

    # ---- memory ----

    def fatten(self, cluster, victims):
        """Large values until all victims have ended for want of memory."""
        stop = threading.Event()
        done = {}
        errors = []

        def write(number):
            count = 0
            while not stop.is_set():
                server = cluster.servers[(number + count) % len(cluster.servers)]
                count += 1
                key = "fat:%d:%d" % (number, count)
                value = ("%d " % count) * 100000
                try:
                    with server.client(patient=False, socket_timeout=5 * SLOW) as client:
                        client.set(key, value)
                    done[key] = value
                except redis.ResponseError as error:
                    if not re.match("^(CLUSTERDOWN|BUSY|TIMEOUT|NOSPACE)", str(error)):
                        errors.append(str(error))
                except redis.RedisError:
                    time.sleep(0.05)
        writers = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(3)]
        for writer in writers:
            writer.start()
        codes = [server.process.wait(2 * PATIENCE) for server in victims]
        stop.set()
        for writer in writers:
            writer.join(PATIENCE)
            self.assertFalse(writer.is_alive(), "a client waits for ever")
        self.assertEqual(errors, [])
        for server, code in zip(victims, codes):
            self.assertEqual(code, EX_OSERR, server.log()[-1000:])
            self.assertEqual(len(re.findall("^out of memory: no [0-9]+ bytes to be had$",
                                            server.log(), re.MULTILINE)), 1)
            server.process = None
        return done

    def run_out_of_memory(self, pick):
        if SLOW > 1:
            self.skipTest("sanitizers want all of the address space, and end otherwise without it")
        cluster = self.cluster().start()
        victims = pick(cluster)
        load = Load(cluster.servers)
        load.wait_for_more()
        for server in victims:
            limit(server, resource.RLIMIT_AS, address_space(server) + 24 * 1024 * 1024)
        done = self.fatten(cluster, victims)
        for server in victims:
            server.start()
        cluster.wait_for_leader()
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)
        for server in cluster.servers:
            with server.client() as client:
                for key, value in done.items():
                    self.assertEqual(client.get(key), value)

    def test_the_leader_runs_out_of_memory(self):
        self.run_out_of_memory(lambda cluster: [cluster.wait_for_leader()])

    def test_a_follower_runs_out_of_memory(self):
        self.run_out_of_memory(lambda cluster: cluster.followers()[:1])

    def test_a_quorum_runs_out_of_memory(self):
        self.run_out_of_memory(lambda cluster: [cluster.wait_for_leader(), cluster.followers()[0]])

    def test_a_start_without_memory_is_refused(self):
        if SLOW > 1:
            self.skipTest("sanitizers want all of the address space, and end otherwise without it")
        cluster = self.cluster(1).start()
        server = cluster[1]
        with server.client() as client:
            for count in range(20):
                client.set("fat:%d" % count, "x" * 4000000)
        server.kill()
        code, text = run(*server.words(), prepare=limited({resource.RLIMIT_AS: 50000000}))
        self.assertEqual(code, EX_OSERR, text)
        self.assertRegex(text.splitlines()[-1], "^out of memory: no [0-9]+ bytes to be had$")
        server.start()
        cluster.wait_for_leader()
        with server.client() as client:
            self.assertEqual(client.strlen("fat:19"), 4000000)


if __name__ == "__main__":
    unittest.main()
