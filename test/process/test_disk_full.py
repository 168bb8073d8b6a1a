"""Disks that are really full: each server's data lies in a small filesystem of its own."""
import os
import subprocess
import unittest

import redis

from cluster import Case, wait_until

MIB = 1024 * 1024
SETTINGS = """
segment-bytes 1MiB
message-bytes 128KiB
client-input-bytes 256KiB
max-value-bytes 64KiB
snapshot-log-bytes 1GiB
"""


class DiskFull(Case):
    def cluster_on_small_disks(self, size):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small filesystem")
        cluster = self.cluster(settings=SETTINGS)
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
    def fill(server):
        """Takes what is left of its filesystem; returns the file to be removed."""
        path = os.path.join(server.data, "filler")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(64 * 1024))
            except OSError:
                pass
        return path

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
                return done
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
        self.assertIn("handing leadership over" if os.environ.get("DESIGN") not in ("step", "mixed")
                      else "full", leader.log())
        os.unlink(filler)
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)


if __name__ == "__main__":
    unittest.main()
