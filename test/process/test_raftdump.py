"""raftdump: what it shows of a data directory, and what it says is wrong with it."""
import glob
import json
import os
import signal

from cluster import RAFTDUMP, Case, run

SMALL_SEGMENTS = ("segment-bytes 1MiB\nclient-input-bytes 512KiB\nmax-value-bytes 256KiB\n"
                  "message-bytes 256KiB\n")
WRITES = 100


class Raftdump(Case):
    def setUp(self):
        super().setUp()
        self.servers = self.cluster(count=1, settings=SMALL_SEGMENTS).start()
        self.server = self.servers[1]
        with self.server.client() as client:
            for number in range(WRITES):
                client.set("key-%d" % number, "value-%d" % number)

    def stop(self):
        self.server.end(signal.SIGTERM)
        return self.segments()[0]

    def segments(self):
        return sorted(glob.glob(os.path.join(self.server.data, "log", "*.seg")))

    def dump(self, *words, code=0):
        got, text = run(RAFTDUMP, *words, self.server.data)
        self.assertEqual(got, code, text)
        return text

    def dump_json(self, *words, code=0):
        """The objects of each kind."""
        kinds = {}
        for line in self.dump("--json", *words, code=code).splitlines():
            what = json.loads(line)
            kinds.setdefault(what.pop("kind"), []).append(what)
        return kinds

    @staticmethod
    def overwrite(path, old, new):
        """Writes over the first place of `old`; returns where that is."""
        with open(path, "r+b") as file:
            place = file.read().find(old)
            assert place > 0, "%r is not in %s" % (old, path)
            file.seek(place)
            file.write(new)
        return place

    # ---- whole ----

    def test_running_server_is_looked_at_and_not_disturbed(self):
        self.assertNotIn("DAMAGE", self.dump())
        with self.server.client() as client:
            self.assertTrue(client.set("unharmed", "yes"))
        self.stop()
        self.assertIn("verdict   whole", self.dump())

    def test_entries_stand_in_order(self):
        with self.server.client() as client:
            client.set("a \"quoted\"\n\x01 key", "long" * 100)
        self.stop()
        entries = self.dump_json("--entries")["entry"]
        self.assertEqual([entry["index"] for entry in entries], list(range(1, len(entries) + 1)))
        terms = [entry["term"] for entry in entries]
        self.assertEqual(terms, sorted(terms))
        self.assertEqual([entry["type"] for entry in entries[:2]], ["configuration", "noop"])
        self.assertRegex(entries[0]["what"],
                         "^cluster [0-9a-f]{16}, feature level 1: 1 127.0.0.1:%d on [0-9a-f]{16}$"
                         % self.server.peer_port)
        commands = [entry["what"] for entry in entries if entry["type"] == "command"]
        self.assertEqual(len(commands), WRITES + 1)
        self.assertEqual(commands[5], 'set "key-5" "value-5"')
        self.assertTrue(commands[-1].startswith(r'set "a \"quoted\"\n\u0001 key" "longlong'))
        self.assertTrue(commands[-1].endswith('"...'))
        lines = [line for line in self.dump("-e").splitlines() if line.startswith("entry ")]
        self.assertEqual(len(lines), len(entries))
        self.assertRegex(lines[7], r'^entry +8 term \d+ command \d+ bytes: set "key-5" "value-5"$')

    def test_batches_and_summary_agree(self):
        self.stop()
        kinds = self.dump_json("--batches")
        batches, summary = kinds["batch"], kinds["summary"][0]
        self.assertEqual([batch["sequence"] for batch in batches],
                         list(range(1, len(batches) + 1)))
        following = 1
        for batch in batches:
            self.assertEqual(batch["first"], following)
            following = batch["last"] + 1
        self.assertEqual((summary["batches"], summary["last_index"], summary["last_term"]),
                         (len(batches), batches[-1]["last"], batches[-1]["last_term"]))
        self.assertEqual((summary["verdict"], summary["damages"], summary["torn_bytes"]),
                         ("whole", 0, 0))
        self.assertEqual(summary["segments"], len(kinds["segment"]))
        self.assertEqual(sum(segment["batches"] for segment in kinds["segment"]), len(batches))
        slots = kinds["metadata"]
        self.assertEqual([slot["slot"] for slot in slots], ["A", "B"])
        for slot in slots:
            self.assertEqual((slot["cluster_id"], slot["server"]), ("test", 1))
        self.assertEqual(max(slot["term"] for slot in slots), summary["last_term"])

    # ---- torn and damaged ----

    def test_torn_tail_is_no_damage(self):
        path = self.stop()
        before = self.dump_json()["summary"][0]
        used = self.dump_json()["segment"][0]["used"]
        with open(path, "r+b") as segment:
            segment.seek((used + 1000) // 8 * 8)
            segment.write(b"part of a write that was never finished")
        kinds = self.dump_json()
        self.assertEqual(kinds["torn"][0]["offset"], used)
        self.assertGreater(kinds["torn"][0]["bytes"], 0)
        summary = kinds["summary"][0]
        self.assertEqual((summary["verdict"], summary["damages"]), ("torn", 0))
        self.assertEqual(summary["last_index"], before["last_index"])
        self.assertIn("ordinary after a crash", self.dump())

    def test_damaged_record_is_named_and_read_behind(self):
        path = self.stop()
        place = self.overwrite(path, b"value-50", b"V")
        text = self.dump(code=65)
        self.assertRegex(text, r"(?m)^DAMAGE .*" + os.path.basename(path) + r": offset \d+: ")
        self.assertIn("verdict   damaged", text)
        kinds = self.dump_json("--entries", "--batches", code=65)
        self.assertEqual(len(kinds["damage"]), kinds["summary"][0]["damages"])
        offset = kinds["damage"][0]["offset"]
        self.assertLess(offset, place)
        # The batches before and behind the damaged one are there.
        offsets = [batch["offset"] for batch in kinds["batch"]]
        self.assertNotIn(offset, offsets)
        self.assertLess(min(offsets), offset)
        self.assertGreater(max(offsets), offset)
        # Entries are shown on both sides of the gap.
        shown = [entry["what"] for entry in kinds["entry"]]
        self.assertIn('set "key-49" "value-49"', shown)
        self.assertNotIn('set "key-50" "value-50"', shown)
        self.assertIn('set "key-51" "value-51"', shown)

    def test_several_damages_are_all_named(self):
        path = self.stop()
        before = len(self.dump_json("--entries")["entry"])
        for number in (20, 40, 60):
            self.overwrite(path, b"value-%d" % number, b"V")
        kinds = self.dump_json("--entries", code=65)
        failing = [damage for damage in kinds["damage"] if "checksum" in damage["what"]]
        self.assertEqual(len(failing), 3)
        self.assertEqual(len({damage["offset"] for damage in failing}), 3)
        shown = [entry["what"] for entry in kinds["entry"]]
        self.assertEqual(len(shown), before - 3)
        for number in (19, 21, 39, 41, 59, 61, 99):
            self.assertIn('set "key-%d" "value-%d"' % (number, number), shown)

    def test_damaged_segment_header(self):
        path = self.stop()
        self.overwrite(path, b"EGMNT", b"xxxxx")
        damages = self.dump_json(code=65)["damage"]
        self.assertIn(os.path.basename(path), damages[0]["file"])

    def test_missing_segments(self):
        with self.server.client() as client:
            for number in range(16):
                client.set("large-%d" % number, "x" * 200000)
        self.stop()
        paths = self.segments()
        self.assertGreater(len(paths), 4)
        os.remove(paths[1])
        os.remove(paths[2])
        damage = self.dump_json(code=65)["damage"][0]
        self.assertIn(os.path.basename(paths[1]), damage["file"])
        self.assertEqual(damage["what"], "missing: 2 segments from this one on")
        for path in self.segments():
            os.remove(path)
        self.assertIn("there is no segment", self.dump(code=65))
        os.rmdir(os.path.join(self.server.data, "log"))
        self.assertIn("the directory is missing", self.dump(code=65))

    def test_damaged_metadata_slot(self):
        self.stop()
        path = os.path.join(self.server.data, "metadata")
        with open(path, "r+b") as metadata:
            metadata.write(b"\xff" * 16)
        kinds = self.dump_json(code=65)
        self.assertEqual([slot["slot"] for slot in kinds["metadata"]], ["B"])
        self.assertEqual((kinds["damage"][0]["file"], kinds["damage"][0]["offset"]),
                         ("metadata", 0))
        self.assertIn("slot A is not valid", kinds["damage"][0]["what"])
        # The log is judged by what the other slot says.
        self.assertEqual(len(kinds["damage"]), 1)

    # ---- usage ----

    def test_wrong_usage(self):
        for words in ([], [self.server.data, "more"], ["--nonsense", self.server.data]):
            self.assertEqual(run(RAFTDUMP, *words)[0], 64, words)
        for path in (self.directory, "/nonexistent/directory"):
            code, text = run(RAFTDUMP, path)
            self.assertEqual(code, 66, text)
            self.assertIn(path, text)
