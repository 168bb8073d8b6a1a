"""Snapshots as files that people hold in their hands: what raftdump says of them, and new clusters that
begin with the state of an old one's."""
import glob
import json
import os
import shutil
import signal

from cluster import CALM, RAFTCTL, RAFTDUMP, Case, run, wait_until

WRITES = 50


class Restore(Case):
    def old_cluster(self, count=3):
        """A cluster with some state and a snapshot of it, and the path of a copy."""
        servers = self.cluster(count=count, name="old", cluster_id="old").start()
        leader = servers.wait_for_leader()
        with leader.client() as client:
            for number in range(WRITES):
                client.set("key-%d" % number, "value-%d" % number)
            client.incrby("counter", 41)
        backup = os.path.join(self.directory, "backup.snap")
        shutil.copy(self.take_snapshot(leader), backup)
        return servers, backup

    def snapshots(self, server):
        return sorted(glob.glob(os.path.join(server.data, "snapshots", "*.snap")))

    def take_snapshot(self, server):
        """Returns its path."""
        with server.client() as client:
            index = int(client.execute_command("RAFT.SNAPSHOT"))
        return wait_until("a snapshot's file", lambda: [
            path for path in self.snapshots(server) if "/%020d-" % index in path])[0]

    def restore(self, server, path, code=0):
        got, text = run(*server.words("--restore", path))
        self.assertEqual(got, code, text)
        return text

    def restored_cluster(self, backup, count=3):
        servers = self.cluster(count=count, name="new", cluster_id="new", settings=CALM)
        text = self.restore(servers[1], backup)
        self.assertRegex(text, "server 1, which founds cluster new " + (".*--init" if count > 1 else ""))
        self.assertIn(backup, text)
        for server in servers.servers[1:]:
            server.init()
        for server in servers.servers:
            server.start()
        servers.wait_for_leader()
        return servers

    # ---- restoring ----

    def test_new_cluster_has_the_state_and_goes_on(self):
        old, backup = self.old_cluster()
        with old.wait_for_leader().client() as client:
            client.set("later", "not in the snapshot")
        # The old cluster runs on beside the new one, which has another number of servers.
        new = self.restored_cluster(backup, count=5)
        for server in new.servers:
            with server.client() as client:
                self.assertEqual(client.get("key-7"), "value-7")
                self.assertEqual(client.dbsize(), WRITES + 1)
                self.assertIsNone(client.get("later"))
                client.incr("counter")
        with old.wait_for_leader().client() as client:
            self.assertEqual(client.get("counter"), "41")
        for server in new.servers:
            self.assertEqual(server.end(signal.SIGTERM), 0)
        for server in new.servers:
            server.start()
        with new.wait_for_leader().client() as client:
            self.assertEqual(client.get("counter"), "46")
            self.assertEqual(client.get("key-49"), "value-49")
        digests = new.wait_until_equal()
        self.assertEqual(len(set(digests)), 1)
        # A snapshot of the new one can be taken and restored in turn.
        again = os.path.join(self.directory, "again.snap")
        shutil.copy(self.take_snapshot(new.wait_for_leader()), again)
        third = self.cluster(count=1, name="third", cluster_id="third")
        self.restore(third[1], again)
        third[1].start()
        third.wait_for_leader()
        with third[1].client() as client:
            self.assertEqual(client.get("counter"), "46")

    def test_a_log_that_is_empty_is_called_so(self):
        """Behind the snapshot there is nothing as yet: no range that ends before it begins."""
        _, backup = self.old_cluster(1)
        new = self.cluster(count=3, name="new", cluster_id="new", settings=CALM)
        self.restore(new[1], backup)
        last = self.dump(new[1].data)["summary"][0]["last_index"]
        code, text = run(RAFTDUMP, new[1].data)
        self.assertEqual(code, 0, text)
        self.assertRegex(text, r"\nlog .* batches, empty behind entry %d of term \d+, commit" % last)
        self.assertNotIn("first entry", text)
        new[1].start()  # alone, and so without a leader, whose entry would end that
        wait_until("it answers", new[1].info)
        self.assertIn("log recovered: it is empty, and goes on behind entry %d of term " % last,
                      new[1].log())
        info = new[1].info()
        self.assertEqual((info["raft_log_first_index"], info["raft_last_index"]), (last + 1, last))
        _, text = run(RAFTCTL, "status", "-c", new.config)
        self.assertRegex(text, r"\n *1 +empty +%d " % last)
        self.assertNotRegex(text, r"%d\.\.%d" % (last + 1, last))

    def test_two_that_were_restored_apart_refuse_each_other(self):
        """Also from one file: whoever did so learns what to do, and then it goes on."""
        _, backup = self.old_cluster(count=1)
        new = self.cluster(count=3, name="new", cluster_id="new", settings=CALM)
        self.restore(new[1], backup)
        self.restore(new[2], backup)
        new[3].init()
        for server in (new[1], new[3]):  # which joins server 1's, since it meets no other
            server.start()
        leader = wait_until("a leader", lambda: new.leader([new[1], new[3]]))
        with leader.client() as client:
            client.set("after", "restoring")
        new[2].start()
        for server in new.servers:
            wait_until("server %d says so" % server.number,
                       lambda: "two clusters of this name" in server.log())
        self.assertRegex(new[2].log(), "make it a new one with raftd --init")
        new[2].kill()
        shutil.rmtree(new[2].data)
        new[2].init()
        new[2].start()
        digests = new.wait_until_equal()
        self.assertEqual(len(set(digests)), 1)
        with new[2].client() as client:
            self.assertEqual(client.get("after"), "restoring")
            self.assertEqual(client.get("key-0"), "value-0")

    # ---- refusals ----

    def test_files_that_will_not_do(self):
        _, backup = self.old_cluster(count=1)
        server = self.cluster(count=1, name="new", cluster_id="new")[1]
        with open(backup, "rb") as file:
            whole = file.read()
        damaged = os.path.join(self.directory, "damaged.snap")
        for content, offset in ((whole[:-1], ""), (whole[:100], "offset 0"), (b"", "offset 0"),
                                (whole + b"x", ""), (whole.replace(b"value-25", b"value-26"), "")):
            with open(damaged, "wb") as file:
                file.write(content)
            text = self.restore(server, damaged, code=65)
            self.assertIn(damaged, text)
            self.assertIn("offset " if offset == "" else offset, text)
            self.assertIn("damaged: ", text)
            self.assertFalse(os.path.exists(server.data), "a trace was left")
        self.assertIn("No such file", self.restore(server, damaged + ".not", code=66))
        self.restore(server, self.directory + "/", code=64)
        self.restore(server, "", code=64)
        for other in ("--init", "--bootstrap"):
            self.assertEqual(run(*server.words(other, "--restore", backup))[0], 64)
        server.init()
        text = self.restore(server, backup, code=73)
        self.assertIn("already initialised", text)

    # ---- raftdump ----

    def dump(self, path, code=0):
        got, text = run(RAFTDUMP, "--json", "--entries", path)
        self.assertEqual(got, code, text)
        kinds = {}
        for line in text.splitlines():
            what = json.loads(line)
            kinds.setdefault(what.pop("kind"), []).append(what)
        return kinds

    def test_raftdump_shows_snapshots(self):
        old, backup = self.old_cluster(count=1)
        self.assertIn("verdict   whole", run(RAFTDUMP, old[1].data)[1])
        old[1].end(signal.SIGTERM)
        kinds = self.dump(old[1].data)
        snapshot, summary = kinds["snapshot"][0], kinds["summary"][0]
        self.assertEqual((snapshot["cluster_id"], snapshot["configuration_index"]), ("old", 1))
        self.assertEqual(snapshot["members"], "1 127.0.0.1:%d" % old[1].peer_port)
        self.assertEqual(snapshot["bytes"], os.path.getsize(backup))
        self.assertTrue(snapshot["whole"])
        self.assertEqual((summary["snapshots"], summary["snapshot_index"], summary["verdict"]),
                         (1, snapshot["index"], "whole"))
        # A file by itself, and by any name.
        alone = self.dump(backup)["snapshot"][0]
        self.assertEqual({**alone, "file": ""}, {**snapshot, "file": ""})
        directory, name = os.path.split(backup)
        code, text = run(RAFTDUMP, name, cwd=directory)
        self.assertEqual(code, 0, text)
        self.assertIn("snapshot  backup.snap: through entry %d" % snapshot["index"], text)

    def test_raftdump_names_damage_in_snapshots_and_reads_on(self):
        old, _ = self.old_cluster(count=1)
        with old[1].client() as client:
            for number in range(40):
                client.set("large-%d" % number, ("%d," % number) * 10000)
        path = self.take_snapshot(old[1])
        old[1].end(signal.SIGTERM)
        whole = self.dump(path)["snapshot"][0]
        self.assertGreater(whole["blocks"], 3)
        with open(path, "r+b") as file:
            content = file.read()
            for mark in (b"17,17,17", b"31,31,31"):
                file.seek(content.index(mark))
                file.write(b"#")
        kinds = self.dump(old[1].data, code=65)
        name = os.path.join("snapshots", os.path.basename(path))
        found = [damage for damage in kinds["damage"] if damage["file"] == name]
        self.assertEqual(len(found), 2)
        for damage in found:
            self.assertEqual(damage["what"], "a block that fails its checksum")
        shown = [one for one in kinds["snapshot"] if one["file"] == name][0]
        self.assertFalse(shown["whole"])
        self.assertEqual(shown["blocks"], whole["blocks"] - 2)
        self.assertEqual(kinds["summary"][0]["verdict"], "damaged")
        # Damage of the head leaves the blocks to be looked at.
        with open(path, "r+b") as file:
            file.seek(20)
            file.write(b"#")
        found = [damage for damage in self.dump(old[1].data, code=65)["damage"]
                 if damage["file"] == name]
        self.assertEqual([damage["offset"] for damage in found][0], 0)
        self.assertEqual(len(found), 3)

    def test_raftdump_of_a_restored_directory(self):
        _, backup = self.old_cluster(count=1)
        new = self.restored_cluster(backup, count=1)
        new[1].end(signal.SIGTERM)
        kinds = self.dump(new[1].data)
        summary = kinds["summary"][0]
        self.assertEqual(summary["first_index"], summary["snapshot_index"] + 1)
        self.assertEqual([entry["index"] for entry in kinds["entry"]],
                         list(range(summary["first_index"], summary["last_index"] + 1)))
        for path in self.snapshots(new[1]):
            os.remove(path)
        damage = self.dump(new[1].data, code=65)["damage"][0]
        self.assertIn("no whole snapshot", damage["what"])
