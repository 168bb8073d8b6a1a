"""raftcheck's command line: what it says of files, and how it ends."""
import json
import os
import subprocess
import tempfile
import unittest

from cluster import BUILD

RAFTCHECK = os.path.join(BUILD, "raftcheck")


def raftcheck(*arguments):
    done = subprocess.run([RAFTCHECK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


class Raftcheck(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = os.path.join(self.directory.name, "history")

    def appends(self, count):
        """One client's appends, each answered before the next. Returns what they leave."""
        value = ""
        with open(self.path, "w") as file:
            for i in range(count):
                value += "v%d," % i
                file.write(json.dumps({"c": 1, "op": "append", "k": "x", "v": "v%d," % i,
                                       "out": len(value), "t0": 2 * i, "t1": 2 * i + 1,
                                       "st": "ok"}) + "\n")
        return value

    def add(self, **fields):
        with open(self.path, "a") as file:
            file.write(json.dumps(dict({"c": 2, "k": "x", "st": "ok"}, **fields)) + "\n")

    def test_one_wrong_read_of_many_appends_is_what_is_named(self):
        value = self.appends(625)
        self.add(op="get", found=True, out=value, t0=2000, t1=2001)
        code, text, _ = raftcheck(self.path)
        self.assertEqual((code, text), (0, "linearizable\n"))
        lost = value.replace("v300,", "")
        self.add(op="get", found=True, out=lost, t0=2002, t1=2003)
        self.add(op="append", v="more", out=len(value) + 4, t0=2004, t1=2005)
        code, text, _ = raftcheck(self.path)
        self.assertEqual(code, 1, text)
        lines = text.strip().split("\n")
        self.assertEqual(lines[0], "not linearizable")
        self.assertLess(len(lines), 12, text)
        self.assertLess(max(len(line) for line in lines), 250, text)
        self.assertIn("\n  line 627 ", text)
        self.assertNotIn("\n  line 625 ", text)
        self.assertIn("that of line 627, the get of client 2 at 2002. Without it\n", text)
        self.assertIn("every order leaves \"v0,v1,v2,", text)
        same = len(os.path.commonprefix([value, lost]))
        self.assertIn("Both begin with the same %d bytes; then the key's goes on with \"%s" %
                      (same, value[same:same + 24]), text)
        self.assertIn("and what was read goes on with \"%s" % lost[same:same + 24], text)
        self.assertIn("627 of the key's operations are left out here.", text)

    def test_how_it_ends(self):
        self.appends(3)
        self.assertEqual(raftcheck(self.path)[0], 0)
        with open(self.path, "a") as file:
            file.write("{}\n")
        code, _, text = raftcheck(self.path)
        self.assertEqual(code, 65)
        self.assertIn(":4: ", text)
        self.assertEqual(raftcheck(self.path + ".none")[0], 66)
        self.assertEqual(raftcheck()[0], 64)
        code, text, _ = raftcheck("--help")
        self.assertEqual(code, 0)
        self.assertIn("nothing explains", " ".join(text.split()))


if __name__ == "__main__":
    unittest.main()
