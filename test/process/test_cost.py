"""What commands cost: cheap words that are dear, and bulk that the disk is too slow for. The leader
stays, rounds and memory are bounded, and others are served meanwhile."""
import os
import threading
import time
import unittest
import unittest.mock

import redis

from cluster import CALM, PATIENCE, SLOW, Case, run

MIB = 1024 * 1024

# While the file SLOW_SYNC is there, a sync takes half a second longer.
SLOW_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (access(getenv("SLOW_SYNC"), F_OK) == 0)
        usleep(500000);
    return real(fd);
}
"""

# Small files for the log, so that it needs a new one with every few writes.
SMALL_SEGMENTS = CALM + "max-value-bytes 1MiB\nclient-input-bytes 2MiB\nmessage-bytes 1MiB\n" \
    "segment-bytes 4MiB\n"

def offices(cluster):
    """What an election changes."""
    return [(s.info()["raft_current_term"], s.info()["raft_elections_begun"])
            for s in cluster.servers]

def memory_peak(server):
    """VmHWM, bytes."""
    with open("/proc/%d/status" % server.process.pid) as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


class Cost(Case):
    def test_bulk_writes_do_not_wait_for_the_next_segment(self):
        cluster = self.cluster(settings=SMALL_SEGMENTS).start()
        before = offices(cluster)
        errors = []

        def write(number):
            port = cluster[1 + number % 3].port
            client = redis.Redis("127.0.0.1", port, socket_timeout=PATIENCE)
            for count in range(30):
                try:
                    client.set("key:%d:%d" % (number, count), b"x" * (400000 + number))
                except redis.RedisError as error:
                    errors.append(str(error))
        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(errors, [])
        cluster.wait_until_equal()
        self.assertEqual(offices(cluster), before)
        for server in cluster.servers:
            info = server.info()
            self.assertEqual(info["raft_segment_waits"], 0, "server %d" % server.number)

        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def honest(self, cluster):
        """A client that sets and reads through each server, until it is told to stop."""
        stopping, problems, longest = threading.Event(), [], [0.0]

        def work():
            clients = [server.client(patient=False) for server in cluster.servers]
            count = 0
            while not stopping.is_set():
                client, count = clients[count % 3], count + 1
                began = time.monotonic()
                try:
                    client.set("honest", count)
                    if int(client.get("honest")) != count:
                        problems.append("a read that is not what was set")
                except redis.RedisError as error:
                    problems.append(str(error))
                longest[0] = max(longest[0], time.monotonic() - began)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def stop():
            stopping.set()
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
            self.assertEqual(problems, [])
            return longest[0]
        return stop

    def pipeline(self, server, commands, count):
        """Sends all at once; returns the first and the last of `count` lines that come back."""
        with server.raw() as raw:
            raw.sendall(commands)
            answers = raw.makefile("rb")
            lines = [answers.readline() for _ in range(count)]
        return lines[0], lines[-1]

    def test_bulk_writes_cost_nobody_its_leader(self):
        """With the timers as they are: half a gigabyte, all at once. A machine that is busy with
        others may cost one election, and what was under way then; not one after the other."""
        cluster = self.cluster().start()
        before = offices(cluster)
        done, errors = [], []

        def write(number):
            with redis.Redis("127.0.0.1", cluster[1 + number % 3].port,
                             socket_timeout=PATIENCE) as client:
                for count in range(20):
                    try:
                        done.append(client.set("key:%d:%d" % (number, count % 2), b"x" * 1000000))
                    except redis.RedisError as error:
                        errors.append(str(error))
        threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        self.assertEqual(len(done) + len(errors), 600)
        self.assertLessEqual(len(errors), 30, errors)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        newest = max(term for term, _ in offices(cluster))
        self.assertLessEqual(newest, max(term for term, _ in before) + 1, (before, offices(cluster)))

    def test_many_appends_to_a_large_value(self):
        cluster = self.cluster(settings=CALM).start()
        before = offices(cluster)
        with cluster[1].client() as client:
            client.set("b", b"x" * (8 * MIB - 3000))
        stop = self.honest(cluster)
        append = b"*3\r\n$6\r\nAPPEND\r\n$1\r\nb\r\n$1\r\ny\r\n"
        for server in cluster.servers:
            first, last = self.pipeline(server, append * 1000, 1000)
            self.assertTrue(first.startswith(b":838"), first)
            self.assertEqual(int(last[1:]), int(first[1:]) + 999)
        stop()
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        self.assertEqual(offices(cluster), before)
        for server in cluster.servers:
            # Copying and hashing 8 MiB three thousand times took each of them half a minute.
            info = server.info()
            self.assertLess(info["raft_loop_cpu_us_max"], 100000 * SLOW)
            self.assertLess(memory_peak(server), 200 * MIB * (SLOW if SLOW > 1 else 1))
        with cluster[2].client(decode_responses=False) as client:
            self.assertEqual(client.get("b")[-3001:], b"x" + b"y" * 3000)

    def test_an_answer_that_would_be_too_large_is_not_built(self):
        cluster = self.cluster(settings=CALM).start()
        before = offices(cluster)
        with cluster[1].client() as client:
            client.set("b", b"x" * (8 * MIB))
            client.set("h", b"x" * (8 * MIB - 24))
        stop = self.honest(cluster)
        mget = b"*701\r\n$4\r\nMGET\r\n" + b"$1\r\nb\r\n" * 700
        for server in cluster.servers:
            first, last = self.pipeline(server, mget * 5, 5)
            for line in (first, last):
                self.assertTrue(line.startswith(b"-ERR the answer would have 5872"), line)
                self.assertIn(b"(max-answer-bytes)", line)
        stop()
        self.assertEqual(offices(cluster), before)
        for server in cluster.servers:
            self.assertLess(memory_peak(server), 200 * MIB * (SLOW if SLOW > 1 else 1))
            # The largest that is permitted comes through each of them.
            with server.client(decode_responses=False) as client:
                self.assertEqual([len(value) for value in client.mget(["h", "h"])],
                                 [8 * MIB - 24] * 2)
                with self.assertRaisesRegex(redis.ResponseError, "max-answer-bytes"):
                    client.mget(["b", "b"])


    def test_a_slow_disk_is_no_silence(self):
        """A disk takes longer for each sync than the election timeout: the leader's, then all
        others'. The leader stays."""
        if SLOW > 1:
            self.skipTest("a sanitizer wants to be the first library")
        source, library = (os.path.join(self.directory, name) for name in ("slow.c", "slow.so"))
        with open(source, "w") as code:
            code.write(SLOW_SYNC)
        self.assertEqual(run("cc", "-shared", "-fPIC", "-o", library, source)[0], 0)
        cluster = self.cluster()
        flags = {}
        cluster.init()
        for server in cluster.servers:
            flags[server] = os.path.join(self.directory, "slow.%d" % server.number)
            with unittest.mock.patch.dict(os.environ, {"LD_PRELOAD": library,
                                                       "SLOW_SYNC": flags[server]}):
                server.start()
        leader = cluster.wait_for_leader()
        followers = [server for server in cluster.servers if server is not leader]
        with leader.client() as client:
            for slow in ([leader], followers):
                client.set("warm", "up")
                before = offices(cluster)
                for server in slow:
                    open(flags[server], "w").close()
                began = time.monotonic()
                for count in range(4):
                    client.set("key", count)
                self.assertGreater(time.monotonic() - began, 0.5)
                for server in slow:
                    os.remove(flags[server])
                cluster.wait_until_equal()
                self.assertEqual(offices(cluster), before)


if __name__ == "__main__":
    unittest.main()
