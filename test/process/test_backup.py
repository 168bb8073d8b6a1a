"""raftctl snapshot and raftctl backup: what was acknowledged is in the file, whatever happens meanwhile,
and a new cluster made of it is a cluster of its own."""
import glob
import os
import signal
import threading
import time

from cluster import CALM, PATIENCE, RAFTCTL, SLOW, Case, Cluster, run, wait_until

# Small segments and few entries kept, so that snapshots and compaction happen within a test.
SMALL = ("segment-bytes 1MiB\nmax-value-bytes 64KiB\nmax-key-bytes 1KiB\n"
         "client-input-bytes 128KiB\nmessage-bytes 128KiB\n")


class Backup(Case):
    def raftctl(self, cluster, *words, code=0):
        """Runs it on the cluster's configuration; returns what it printed."""
        got, text = run(RAFTCTL, words[0], "-c", cluster.config, *words[1:])
        self.assertEqual(got, code, text)
        return text

    def path(self, name="backup.snap"):
        return os.path.join(self.directory, name)

    def backup(self, cluster, *words, code=0, path=None):
        return self.raftctl(cluster, "backup", path or self.path(), *words, code=code)

    def write(self, server, count=100, value="value-%d"):
        with server.client() as client:
            for number in range(count):
                client.set("key-%d" % number, value % number)

    def restore(self, path, count=3, name="new"):
        """A running cluster made of the file."""
        cluster = self.cluster(count=count, name=name, cluster_id=name)
        for server in cluster.servers:
            code, text = run(*server.words("--restore", path))
            self.assertEqual(code, 0, text)
        for server in cluster.servers:
            server.start()
        cluster.wait_for_leader()
        return cluster

    def nothing_left(self):
        self.assertEqual(glob.glob(os.path.join(self.directory, "*.snap*")), [])

    # ---- RAFT.SNAPSHOT ----

    def snapshot(self, server):
        with server.client() as client:
            return client.execute_command("RAFT.SNAPSHOT")

    def assert_snapshots_at_once(self, cluster):
        for server in cluster.servers:
            index = self.snapshot(server)
            self.assertEqual(self.snapshot(server), index)
            self.assertEqual(server.info()["raft_snapshot_index"], index)
            self.assertEqual(server.info()["raft_last_applied"], index)

    def test_snapshot_of_an_idle_cluster(self):
        cluster = self.cluster(settings=CALM).start()
        cluster.wait_until_equal()
        self.assert_snapshots_at_once(cluster)
        text = self.raftctl(cluster, "snapshot", "2")
        self.assertRegex(text, r"server 2 has a snapshot of entry \d+")

    def test_snapshot_of_an_idle_single_server(self):
        cluster = self.cluster(count=1).start()
        self.assert_snapshots_at_once(cluster)
        # A table that is large and empty: pieces of the state without a byte in them.
        with cluster[1].client() as client:
            for first in range(0, 30000, 3000):
                client.mset({"key-%d" % n: "x" for n in range(first, first + 3000)})
            client.delete(*["key-%d" % n for n in range(29999)])
        self.assert_snapshots_at_once(cluster)

    def test_snapshot_while_one_is_going_on(self):
        cluster = self.cluster(count=1).start()
        with cluster[1].client() as client:
            for number in range(40):
                client.set("large-%d" % number, "x" * 1000000)
        answers = []
        askers = [threading.Thread(target=lambda: answers.append(self.snapshot(cluster[1])))
                  for _ in range(4)]
        with cluster[1].client() as client:
            for asker in askers:
                asker.start()
                client.set("in between", "yes")
        for asker in askers:
            asker.join(PATIENCE)
        self.assertEqual(len(answers), 4)
        self.assert_snapshots_at_once(cluster)
        info = cluster[1].info()
        self.assertEqual(info["raft_snapshots_failed"], 0)
        self.assertEqual(info["raft_snapshot_going_on"], 0)
        self.assertGreaterEqual(info["raft_snapshots_taken"], 1)

    # ---- backup and restore ----

    def test_backup_stop_restore_start(self):
        """The documented procedure, with the very same addresses for the new cluster."""
        old = self.cluster(name="old", cluster_id="old").start()
        self.write(old[1])
        with old[2].client() as client:
            client.set("last", "acknowledged")
        text = self.backup(old)
        self.assertIn("%s: the state of cluster old through entry " % self.path(), text)
        for server in old.servers:
            self.assertEqual(server.end(signal.SIGTERM), 0)
        new = Cluster(os.path.join(self.directory, "new"), 3, cluster_id="new")
        self.clusters.append(new)
        with open(old.config) as config:
            lines = config.read().replace("cluster-id old", "cluster-id new")
        with open(new.config, "w") as config:
            config.write(lines)
        for server, before in zip(new.servers, old.servers):
            server.port, server.peer_port = before.port, before.peer_port
            how = ["--restore", self.path()] if server.number == 1 else ["--init"]
            code, text = run(*server.words(*how))
            self.assertEqual(code, 0, text)
            server.start()
        wait_until("all answer", lambda: all(server.info() for server in new.servers))
        for server in new.servers:
            with server.client() as client:
                self.assertEqual(client.dbsize(), 101)
                self.assertEqual(client.get("last"), "acknowledged")
                self.assertEqual(client.get("key-99"), "value-99")
        self.assertEqual(new[1].info()["raft_cluster_id"], "new")
        with new[3].client() as client:
            self.assertTrue(client.set("later", "yes"))
        self.assertEqual(len(set(new.wait_until_equal())), 1)
        # A server of the old cluster that comes back finds strangers, and is one to them.
        self.assertEqual(new[3].end(signal.SIGTERM), 0)
        old[3].start()
        wait_until("the new ones refuse it", lambda: any(
            "refused a connection from server 3" in server.log() and
            "this is cluster 'new', not 'old'" in server.log() for server in new.running()))
        wait_until("it refuses them", lambda: "this is cluster 'old', not 'new'" in old[3].log())
        with new.wait_for_leader(new.running()).client() as client:
            self.assertTrue(client.set("unharmed", "yes"))
        self.assertNotEqual(old[3].info().get("raft_state"), "leader")

    def test_backup_from_any_server_has_what_is_acknowledged(self):
        cluster = self.cluster(settings=SMALL).start()
        for number, server in enumerate(cluster.servers * 2):
            with cluster[1].client() as client:
                client.set("round", str(number))
            path = self.path("round-%d.snap" % number)
            where = str(server.number) if number < 3 else "127.0.0.1:%d" % server.port
            self.assertIn("from server %d" % server.number,
                          self.backup(cluster, where, path=path))
            if number in (0, 5):
                new = self.restore(path, count=1, name="new-%d" % number)
                with new[1].client() as client:
                    self.assertEqual(client.get("round"), str(number))
        # An address alone is enough, even a follower's.
        follower = cluster.followers()[0]
        code, text = run(RAFTCTL, "backup", self.path("alone.snap"),
                         "127.0.0.1:%d" % follower.port, cwd=self.directory)
        self.assertEqual(code, 0, text)
        self.assertIn("from server %d" % follower.number, text)

    def test_backup_under_load_while_snapshots_are_taken(self):
        cluster = self.cluster(settings=SMALL + "snapshot-log-bytes 1MiB\n").start()
        leader = cluster.wait_for_leader()
        stop = threading.Event()
        written = [0]

        def write():
            with leader.client() as client:
                while not stop.is_set():
                    written[0] += 1
                    client.mset({"key-%d" % (written[0] % 400): "%d:" % written[0] + "x" * 20000,
                                 "newest": str(written[0])})
        writer = threading.Thread(target=write)
        writer.start()
        try:
            wait_until("some state", lambda: written[0] > 400)
            with leader.client() as client:
                least = int(client.get("newest"))
            for number in range(3):
                self.backup(cluster, path=self.path("load-%d.snap" % number))
        finally:
            stop.set()
            writer.join(PATIENCE)
        new = self.restore(self.path("load-0.snap"), count=1)
        with new[1].client() as client:
            newest = int(client.get("newest"))
            self.assertGreaterEqual(newest, least)
            # One moment of the state, and not pieces of two.
            self.assertTrue(client.get("key-%d" % (newest % 400)).startswith("%d:" % newest))
            self.assertFalse(client.get("key-%d" % ((newest + 1) % 400)).startswith(
                "%d:" % (newest + 1)))

    # ---- refusals ----

    def test_what_a_backup_refuses(self):
        cluster = self.cluster(settings=SMALL).start()
        self.write(cluster[1])
        self.assertIn("No such file", self.backup(cluster, path=self.path("not/there.snap"), code=66))
        self.assertIn("no file's name", self.backup(cluster, path=self.directory + "/", code=64))
        self.assertIn("no such server", self.backup(cluster, "7", code=64))
        self.assertEqual(run(RAFTCTL, "backup", "-c", cluster.config)[0], 64)
        self.nothing_left()
        self.backup(cluster)
        with open(self.path(), "rb") as file:
            first = file.read()
        with cluster[1].client() as client:
            client.set("more", "yes")
        self.assertIn("--force", self.backup(cluster, code=73))
        with open(self.path(), "rb") as file:
            self.assertEqual(file.read(), first)
        self.backup(cluster, "--force")
        with open(self.path(), "rb") as file:
            self.assertNotEqual(file.read(), first)
        self.refuses_what_is_no_file(cluster)
        os.remove(self.path())
        gone = cluster.followers()[0]
        gone.kill()
        self.assertIn("Connection refused", self.backup(cluster, str(gone.number), code=69))
        self.nothing_left()

    def refuses_what_is_no_file(self, cluster):
        """A device, a link or a directory is never replaced: all of the machine may need it."""
        makers = {"pipe": os.mkfifo, "link": lambda path: os.symlink("/dev/null", path),
                  "directory": os.mkdir, "dangling": lambda path: os.symlink("nowhere", path)}
        for name, make in makers.items():
            path = self.path(name)
            make(path)
            before = os.lstat(path)
            for words in ((), ("--force",)):
                self.assertIn("no regular file", self.backup(cluster, *words, code=73, path=path))
            self.assertEqual(os.lstat(path).st_ino, before.st_ino)
            self.assertEqual(glob.glob(path + ".*"), [])

    def test_server_that_goes_in_the_middle(self):
        """The command ends with a sentence, and leaves nothing behind."""
        cluster = self.cluster(count=1).start()
        with cluster[1].client() as client:
            for number in range(60):
                client.set("large-%d" % number, os.urandom(1000000))
        ended = []
        backup = threading.Thread(target=lambda: ended.append(
            run(RAFTCTL, "backup", "-c", cluster.config, self.path())))
        backup.start()
        def has_begun():
            try:
                parts = glob.glob(self.path() + ".*.part")
                return not backup.is_alive() or any(os.path.getsize(path) > 0 for path in parts)
            except FileNotFoundError:  # it has just got its name
                return True
        wait_until("some of it is there", has_begun)
        cluster[1].kill()
        backup.join(PATIENCE)
        code, text = ended[0]
        if code == 0:
            self.skipTest("it was faster than the end of the server")
        self.assertEqual(code, 69, text)
        self.assertRegex(text, r"raftctl: backup: .*127\.0\.0\.1")
        self.nothing_left()

    def test_server_without_a_majority(self):
        """Nobody can say what is acknowledged: no backup."""
        cluster = self.cluster().start()
        for server in cluster.followers():
            server.kill()
        begun = time.monotonic()
        text = self.backup(cluster, code=69)
        self.assertIn("no leader confirms what is acknowledged", text)
        self.assertLess(time.monotonic() - begun, 60 * SLOW)
        self.nothing_left()

    def test_damaged_file_of_the_server(self):
        cluster = self.cluster(count=1).start()
        self.write(cluster[1])
        index = self.snapshot(cluster[1])
        path = glob.glob(os.path.join(cluster[1].data, "snapshots", "%020d-*.snap" % index))[0]
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"value-50"))
            file.write(b"V")
        text = self.backup(cluster, code=65)
        self.assertIn("damaged, perhaps on its disk", text)
        self.nothing_left()
        # Pieces of a snapshot that is not there, and orders that make no sense.
        with cluster[1].client() as client:
            for words, error in (("1 1 1 1 0 1", "NOSNAPSHOT"), ("1 1 1 x 0 1", "ERR value"),
                                 ("1 1 1 1 0 0", "ERR RAFT.BACKUP"), ("1 1 1 1 0", "ERR wrong number")):
                with self.assertRaisesRegex(Exception, error.replace("ERR ", "")):
                    client.execute_command("RAFT.BACKUP", *words.split())
