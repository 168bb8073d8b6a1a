"""Disks that are really full: each server's data lies in a small filesystem of its own."""
import ctypes
import os
import re
import subprocess
import unittest

import redis

from cluster import RAFTCTL, Case, run, wait_until

MIB = 1024 * 1024
SETTINGS = """
segment-bytes 1MiB
message-bytes 128KiB
client-input-bytes 256KiB
max-value-bytes 64KiB
snapshot-log-bytes %s
"""
_libc = ctypes.CDLL(None, use_errno=True)


def see_mounts_alone():
    """From now on what is mounted is seen by this process and its children alone, and goes with them,
    however they end. Returns whether that can be had."""
    CLONE_NEWNS = 0x20000
    if os.geteuid() != 0 or _libc.unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"]).returncode == 0


class DiskFull(Case):
    def cluster_on_small_disks(self, size, snapshot_log_bytes="1GiB"):
        if not see_mounts_alone():
            self.skipTest("only root can mount a small filesystem")
        cluster = self.cluster(settings=SETTINGS % snapshot_log_bytes)
        for server in cluster.servers:
            os.makedirs(server.data, exist_ok=True)
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "tmpfs",
                                      server.data], capture_output=True, text=True)
            if mounted.returncode != 0:
                self.skipTest("no small filesystem can be mounted: " + mounted.stderr.strip())
            # Cleanups run last in, first out, and end_clusters before them: the servers have ended.
            self.addCleanup(subprocess.run, ["umount", "-l", server.data], check=True)
        self.addCleanup(cluster.end_all)
        return cluster

    @staticmethod
    def fill(server, left=0):
        """Takes what is left of its filesystem but so many bytes; returns the file to be removed."""
        path = os.path.join(server.data, "filler")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    status = os.statvfs(server.data)
                    if status.f_bavail * status.f_frsize <= left:
                        break
                    file.write(bytes(64 * 1024))
            except OSError:
                pass
        return path

    @staticmethod
    def snapshot_thread_taken(server):
        return len(re.findall("snapshot of entry [0-9]+ taken", server.log()))

    @staticmethod
    def write_until(client, what):
        """Writes until an error says that; returns what was acknowledged before."""
        done = {}
        for count in range(2000):
            key, value = "full:%d" % count, "%d" % count * 2000
            try:
                client.set(key, value)
                done[key] = value
            except redis.ResponseError as error:
                assert what in str(error), error
                return done  # a full leader hands over: until that has settled the client waits
        raise AssertionError("2000 writes, and no error")

    def test_all_disks_full_reads_go_on_and_then_writes(self):
        cluster = self.cluster_on_small_disks(12 * MIB).start()
        leader = cluster.wait_for_leader()
        fillers = [self.fill(server) for server in cluster.servers]
        with leader.client() as client:
            done = self.write_until(client, "NOSPACE")
            self.assertGreater(len(done), 0)
            for key, value in done.items():
                self.assertEqual(client.get(key), value)
            with self.assertRaisesRegex(redis.ResponseError, "NOSPACE"):
                client.set("another", "x" * 60000)
            self.assertEqual(client.get("another"), None)
        code, text = wait_until("raftctl tells", lambda: (lambda done: done if "writes are refused"
                                in done[1] else None)(run(RAFTCTL, "status", "-c", cluster.config)))
        self.assertEqual(code, 69)
        self.assertGreaterEqual(text.count("its disk is full: it takes no writes"), 2, text)
        for server in cluster.servers:
            self.assertIsNone(server.process.poll(), "server %d has ended" % server.number)
        for filler in fillers:
            os.unlink(filler)
        leader = cluster.wait_for_leader()

        def writes():
            with leader.client() as client:
                try:
                    return client.set("another", "x" * 60000)
                except redis.ResponseError:
                    return False
        wait_until("there is room again", writes)
        wait_until("raftctl is content", lambda: run(RAFTCTL, "status", "-c", cluster.config)[0] == 0)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def test_a_full_leader_hands_over(self):
        cluster = self.cluster_on_small_disks(24 * MIB).start()
        leader = cluster.wait_for_leader()
        filler = self.fill(leader)
        with leader.client() as client:
            for count in range(400):
                def writes():
                    try:
                        return client.set("key:%d" % count, "x" * 10000)
                    except redis.ResponseError as error:
                        self.assertIn("NOSPACE", str(error))
                        return False
                wait_until("a server has room", writes)
        others = [server for server in cluster.servers if server is not leader]
        wait_until("another leads", lambda: cluster.leader() in others)
        self.assertIn("so leadership is handed over to that one", leader.log())
        os.unlink(filler)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def test_snapshots_meet_full_disks_too(self):
        cluster = self.cluster_on_small_disks(16 * MIB, "2MiB").start()
        leader = cluster.wait_for_leader()
        done = {}
        with leader.client() as client:
            def write(count):
                key, value = "key:%d" % (count % 400), ("%d " % count) * 2000
                try:
                    client.set(key, value)
                    done[key] = value
                    return True
                except redis.ResponseError as error:
                    self.assertTrue(str(error).startswith("NOSPACE"), error)
                    done.pop(key, None)  # an attempt before this one may have been executed
                    return False
            for count in range(400):
                self.assertTrue(write(count))
            wait_until("everybody takes snapshots",
                       lambda: all(self.snapshot_thread_taken(s) > 0 for s in cluster.servers))
            # Room for a segment perhaps, not for a snapshot.
            fillers = [self.fill(server, MIB) for server in cluster.servers]
            refused = next((count for count in range(400, 4000) if not write(count)), None)
            self.assertIsNotNone(refused, "the disks are never full")
            for server in cluster.servers:
                with server.client() as asker, self.assertRaises(redis.ResponseError):
                    asker.execute_command("RAFT.SNAPSHOT")
                self.assertRegex(server.log(), "snapshot of entry [0-9]+ cannot be written, and "
                                               "will be tried again later: .*No space left")
            for key, value in done.items():
                self.assertEqual(client.get(key), value)
            for server in cluster.servers:
                self.assertIsNone(server.process.poll(), "server %d has ended" % server.number)
            taken = [self.snapshot_thread_taken(server) for server in cluster.servers]
            for filler in fillers:
                os.unlink(filler)
            wait_until("snapshots are taken again", lambda: all(
                self.snapshot_thread_taken(s) > n for s, n in zip(cluster.servers, taken)))
            wait_until("there is room again", lambda: write(refused))
            for key, value in done.items():
                self.assertEqual(client.get(key), value)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def test_a_snapshot_that_finds_no_room_where_it_is_sent(self):
        cluster = self.cluster_on_small_disks(64 * MIB, "2MiB").start()
        leader = cluster.wait_for_leader()
        lagging = next(server for server in cluster.servers if server is not leader)
        filler = self.fill(lagging, MIB)
        held = lagging.info()["raft_last_index"]
        lagging.kill()
        with leader.client() as client:
            def forgets():
                for count in range(400):
                    client.set("key:%d" % count, ("%d " % count) * 2000)
                return leader.info()["raft_log_first_index"] > held + 1
            wait_until("the leader forgets what the other lacks", forgets)
            lagging.start()
            wait_until("the snapshot finds no room", lambda: re.search(
                "cannot be received, and is asked for again: .*No space left on device",
                lagging.log()))
            self.assertIsNone(lagging.process.poll())
            client.set("in the midst of it", 1)
            os.unlink(filler)
            wait_until("the snapshot is received", lambda: re.search(
                "snapshot of entry [0-9]+ received and loaded", lagging.log()))
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)


if __name__ == "__main__":
    unittest.main()
