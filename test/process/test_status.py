"""What a server tells of itself: INFO's figures of its disk, its log, its snapshots and its pauses."""
import time

import cluster
from cluster import Case, wait_until

WORDS = ("mean", "p50", "p99", "p999", "max")


def durations(info, what):
    """The five figures of one histogram, in us."""
    return [info["raft_%s_us_%s" % (what, word)] for word in WORDS]


class Status(Case):
    def check_durations(self, info, what):
        mean, p50, p99, p999, longest = durations(info, what)
        self.assertLessEqual(p50, p99)
        self.assertLessEqual(p99, p999)
        self.assertLessEqual(p999, longest)
        self.assertLessEqual(mean, longest)

    def test_syncs_and_rounds_are_measured(self):
        before, cluster.DESIGN = cluster.DESIGN, "mixed"
        self.addCleanup(setattr, cluster, "DESIGN", before)
        servers = self.cluster().start()
        with servers.wait_for_leader().client() as client:
            for count in range(200):
                client.set("key:%d" % count, "x" * 100)
        for server in servers.servers:
            info = wait_until("it answers", server.info)
            self.assertGreater(info["raft_syncs"], 10)
            self.assertGreater(info["raft_sync_us_max"], 0)
            self.assertGreater(info["raft_disk_us_max_recent"], 0)
            self.assertGreater(info["raft_metadata_changes"], 0)
            self.assertGreater(info["raft_loop_rounds"], 10)
            # The round that waited for the slowest sync took at least as long.
            self.assertGreaterEqual(info["raft_loop_us_max"], info["raft_sync_us_max"])
            self.assertLessEqual(info["raft_loop_nodisk_us_max"], info["raft_loop_us_max"])
            self.assertLessEqual(info["raft_loop_nodisk_us_mean"], info["raft_loop_us_mean"])
            for what in ("sync", "metadata", "loop", "loop_nodisk"):
                self.check_durations(info, what)

    def test_figures_begin_anew(self):
        server = self.cluster(count=1).start()[1]
        with server.client() as client:
            for count in range(500):
                client.set("key:%d" % count, "x")
            before = server.info()
            client.config_resetstat()
            after = server.info()
        self.assertGreaterEqual(before["raft_syncs"], 500)
        self.assertLess(after["raft_syncs"], 250)
        self.assertLess(after["raft_loop_rounds"], before["raft_loop_rounds"])
        self.assertEqual(after["raft_metadata_changes"], 0)

    def test_slow_syncs_are_said_with_restraint(self):
        server = self.cluster(count=1, settings="slow-sync 0\n").start()[1]
        with server.client() as client:
            client.set("key", "quiet")
            self.assertNotIn("the disk is slow", server.log())
            client.config_set("slow-sync", "1ns")
            begun = time.monotonic()
            for count in range(200):
                client.set("key:%d" % count, "x")
            said = server.log().count("the disk is slow")
            self.assertGreaterEqual(said, 1)
            self.assertLessEqual(said, 1 + (time.monotonic() - begun) // 10)
