"""What a server tells of itself: INFO's figures of its disk, its log, its snapshots and its pauses."""
import glob
import json
import os
import re
import signal
import time

import cluster
from cluster import CALM, RAFTCTL, RAFTDUMP, Case, run, wait_until

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
            # No round has worked for longer than it took, and some have.
            self.assertGreater(info["raft_loop_cpu_us_max"], 0)
            self.assertLessEqual(info["raft_loop_cpu_us_max"], info["raft_loop_nodisk_us_max"])
            self.assertLessEqual(info["raft_loop_cpu_us_mean"], info["raft_loop_nodisk_us_mean"])
            for what in ("sync", "metadata", "loop", "loop_nodisk", "loop_cpu"):
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

    def test_every_key_is_explained(self):
        servers = self.cluster().start()
        with open(os.path.join(cluster.TOP, "server", "README.md")) as readme:
            explained = set(re.findall(r"`((?:raft|machine)_[\w*]+)`", readme.read()))
        for key in servers.wait_for_leader().info():
            general = re.sub(r"_us_(%s)$" % "|".join(WORDS), "_us_*", re.sub(r"_\d+$", "_N", key))
            self.assertIn(general, explained)

    def test_one_server_is_enough_to_ask_all(self):
        servers = self.cluster().start()
        for server in servers.servers:
            for host in ("127.0.0.1", "localhost"):
                code, text = run(RAFTCTL, "status", "-s", "%s:%d" % (host, server.port), "-w", "json")
                self.assertEqual(code, 0, text)
                rows = json.loads(text)["servers"]
                self.assertEqual(sorted(row["id"] for row in rows), [1, 2, 3])
        dead = servers.followers()[0]
        dead.kill()
        alive = [server for server in servers.running()][0]
        code, text = run(RAFTCTL, "status", "-s", "127.0.0.1:%d" % alive.port)
        self.assertRegex(text, r"\n +%d +127.0.0.1:%d +unreachable" % (dead.number, dead.port))
        # One that another cluster runs at a member's address is no member.
        other = self.cluster(count=1, name="other", cluster_id="other")
        with open(other.config) as config:
            text = config.read().replace(":%d\n" % other[1].port, ":%d\n" % dead.port)
        with open(other.config, "w") as config:
            config.write(text)
        other[1].port = dead.port
        other.start()
        text = run(RAFTCTL, "status", "-s", "127.0.0.1:%d" % alive.port)[1]
        self.assertIn("a server of cluster other answers there", text)

    def test_start_is_said(self):
        server = self.cluster(count=1, settings="snapshot-log-bytes 1GiB\n").start()[1]
        with server.client() as client:
            for count in range(100):
                client.set("key:%d" % count, "x" * 100)
            client.execute_command("RAFT.SNAPSHOT")
        server.kill()
        server.start()
        info = wait_until("it is back", server.info)
        self.assertGreaterEqual(info["raft_start_entries"], 100)
        self.assertGreater(info["raft_start_log_us"], 0)
        self.assertGreater(info["raft_start_snapshot_us"], 0)
        self.assertRegex(server.log(), r"log recovered: 10\d entries, the last is 10\d of term \d+, "
                                       r"in \d+ ms \(\d+ entries/s\)")
        self.assertRegex(server.log(), r"snapshot of entry 10\d loaded: \d+ bytes in \d+ ms")

    def test_log_and_snapshots_are_shown(self):
        before, cluster.DESIGN = cluster.DESIGN, "mixed"
        self.addCleanup(setattr, cluster, "DESIGN", before)
        servers = self.cluster(settings=CALM + "snapshot-log-bytes 16KiB\ntrailing-entries 5\n").start()
        with servers.wait_for_leader().client() as client:
            for count in range(500):
                client.set("key:%d" % count, "x" * 100)
        servers.wait_until_equal()
        for server in servers.servers:
            info = wait_until("a snapshot is there", lambda s=server: s.info() if
                              s.info().get("raft_snapshots_taken", 0) > 0 else None)
            self.assertGreater(info["raft_snapshot_us"], 0)
            # One of each file, and one of its name.
            self.assertGreaterEqual(info["raft_snapshot_syncs"], 2 * info["raft_snapshots_taken"])
            self.assertGreater(info["raft_snapshot_sync_us_max"], 0)
            self.check_durations(info, "snapshot_sync")
            self.check_durations(info, "snapshot_incoming_sync")
            self.assertGreater(info["raft_snapshot_bytes"], 10000)
            self.assertEqual(info["raft_repairing"], 0)
            self.assertLessEqual(info["raft_log_first_index"], info["raft_last_index"])
            self.assertGreater(info["raft_log_bytes"], 0)
            self.assertLessEqual(info["raft_log_bytes"], info["raft_log_disk_bytes"])
            self.assertEqual(info["raft_disk_bytes"],
                             info["raft_log_disk_bytes"] + info["raft_snapshot_bytes"])
        code, text = run(RAFTCTL, "status", "-c", servers.config)
        self.assertEqual(code, 0)
        self.assertRegex(text, r"id +log +snapshot +its size +on disk +sync p99 +slowest sync")
        self.assertRegex(text, r"\n  2 +\d+\.\.\d+ +\d+ +\d+KiB +\d+MiB +\d+[um]s +\d+[um]s\n")
        for row in json.loads(run(RAFTCTL, "status", "-c", servers.config, "-w", "json")[1])["servers"]:
            self.assertFalse(row["repairing"])
            self.assertGreater(row["snapshot_index"], 0)
            self.assertGreaterEqual(row["disk_bytes"], row["log_disk_bytes"])
            self.assertGreaterEqual(row["sync_max_us"], row["sync_p99_us"])
            self.assertGreaterEqual(row["loop_max_us"], row["loop_nodisk_max_us"])
            self.assertGreaterEqual(row["loop_nodisk_max_us"], row["loop_cpu_max_us"])
            self.assertGreater(row["loop_cpu_max_us"], 0)
            self.assertGreaterEqual(row["snapshot_sync_max_us"], row["snapshot_sync_p99_us"])
            self.assertGreater(row["snapshot_sync_p99_us"], 0)
            self.assertGreaterEqual(row["incoming_sync_max_us"], row["incoming_sync_p99_us"])
        leader = servers.wait_for_leader()
        with leader.client() as client:
            client.execute_command("RAFT.SNAPSHOT")  # none goes on any more
            client.config_resetstat()
            self.assertEqual(leader.info()["raft_snapshot_syncs"], 0)
            client.set("key", "x")
            client.execute_command("RAFT.SNAPSHOT")
            self.assertEqual(leader.info()["raft_snapshot_syncs"], 2)

    def test_peer_that_needs_a_snapshot(self):
        servers = self.cluster(settings=CALM + "trailing-entries 0\nsegment-bytes 1MiB\n"
                                        "client-input-bytes 256KiB\nmax-value-bytes 64KiB\n"
                                        "message-bytes 64KiB\nsnapshot-log-bytes 256KiB\n"
                                        "log-memory-bytes 16KiB\n").start()
        lagging = servers.followers()[0]
        lagging.kill()
        with servers.wait_for_leader(servers.running()).client() as client:
            for count in range(200):
                client.set("key:%d" % (count % 10), "x" * 20000)

        def peer():
            leader = servers.leader(servers.running())
            return (leader and leader.info().get("raft_peer_%d" % lagging.number)) or {}

        def peer_in(mode):
            shown = peer()
            return shown if shown.get("mode") == mode else None
        shown = wait_until("it is to get a snapshot", lambda: peer_in("snapshot"))
        self.assertEqual(shown["snapshot_offset"], 0)
        self.assertGreater(shown["snapshot_bytes"], 100000)
        lagging.start()
        self.assertNotIn("snapshot_offset", wait_until("it has it", lambda: peer_in("pipeline")))
        info = lagging.info()
        self.assertGreater(info["raft_snapshots_installed"], 0)
        self.assertGreaterEqual(info["raft_snapshot_incoming_syncs"], 2)
        self.assertGreater(info["raft_snapshot_incoming_sync_us_max"], 0)
        self.check_durations(info, "snapshot_incoming_sync")

    def test_damage_is_shown_until_it_is_repaired(self):
        servers = self.cluster().start()
        with servers.wait_for_leader().client() as client:
            for count in range(50):
                client.set("key:%d" % count, "value-%d" % count)
        servers.wait_until_equal()
        last = servers[1].info()["raft_last_index"]
        for server in servers.servers:
            server.kill()
        with open(sorted(glob.glob(os.path.join(servers[1].data, "log", "*.seg")))[0], "r+b") as log:
            log.seek(log.read().index(b"value-20"))
            log.write(b"VALUE")
        self.assertEqual(run(RAFTDUMP, servers[1].data)[0], 65)
        servers[1].start()
        info = wait_until("it answers", servers[1].info)
        self.assertEqual(info["raft_repairing"], 1)
        self.assertEqual(info["raft_acked_through_index"], last)
        self.assertEqual(info["raft_missing_entries"], last - info["raft_last_index"])
        self.assertGreaterEqual(info["raft_missing_entries"], 29)
        text = run(RAFTCTL, "status", "-c", servers.config)[1]
        self.assertRegex(text, r"damaged: gets entries from the leader \(missing: \d+\)")
        text = run(RAFTCTL, "status", "-c", servers.config, "-w", "json")[1]
        self.assertIn('"repairing":true,"missing_entries":%d' % info["raft_missing_entries"], text)
        servers[2].start()
        servers[3].start()
        wait_until("it is repaired", lambda: servers[1].info().get("raft_repairing") == 0)
        self.assertNotIn("raft_missing_entries", servers[1].info())
        # Both say so of the directory that once was damaged.
        self.assertEqual(servers[1].end(signal.SIGTERM), 0)
        code, text = run(RAFTDUMP, servers[1].data)
        self.assertEqual(code, 0, text)
        self.assertIn("DAMAGE", text)
        self.assertIn("verdict   whole: what is damaged was replaced by later entries", text)
        servers[1].start()
        wait_until("raftd finds it whole", lambda: "was replaced by later entries: the log is whole"
                   in servers[1].log())
