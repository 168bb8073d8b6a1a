"""raftsim's command line: what it runs is what was asked for, and it says how far it is."""
import os
import signal
import subprocess
import time
import unittest

from cluster import BUILD

RAFTSIM = os.path.join(BUILD, "raftsim")


def raftsim(*arguments):
    done = subprocess.run([RAFTSIM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


class Raftsim(unittest.TestCase):
    def test_all_designs_are_run_one_after_the_other(self):
        small = ("--design", "all", "--servers", "3", "--seconds", "1", "--load", "20")
        code, text, _ = raftsim("chaos", "--seeds", "1..2", *small)
        self.assertEqual(code, 0, text)
        for design in ("per-state", "dispatch", "step"):
            self.assertIn("%s:\n2 seeds, 0 failed" % design, text)
        code, text, _ = raftsim("replay", "--seed", "2", *small)
        self.assertEqual(code, 0, text)
        self.assertEqual(text.count("held: "), 3)

    def test_options_without_a_use_are_refused(self):
        path = os.path.join("/nowhere", "trace")
        for arguments, says in ((("chaos", "--trace", path), "raftsim replay --seed N"),
                                (("chaos", "--story"), "raftsim replay --seed N"),
                                (("differ", "--design", "step"), "no use for --design"),
                                (("replay", "--jobs", "2"), "no use for --jobs"),
                                (("replay", "--seeds", "1..2"), "raftsim chaos runs many"),
                                (("play", "--without", "1", "x.scn"), "no use for --without")):
            code, _, text = raftsim(*arguments)
            self.assertEqual(code, 64, text)
            self.assertIn(says, text)
            self.assertIn("raftsim %s --help" % arguments[0], text)

    def test_several_stories_have_titles(self):
        file = os.path.join("test", "scenarios", "01-first-leader.scn")
        code, text, _ = raftsim("play", "--story", "--design", "step", "--seeds", "1..3", file)
        self.assertEqual(code, 0, text)
        titles = [line for line in text.split("\n") if line.startswith("====")]
        self.assertEqual(titles, ["==== %s, design step, seed %d ====" % (file, seed)
                                  for seed in (1, 2, 3)])
        code, text, _ = raftsim("play", "--story", "--design", "step", "--seed", "1", file)
        self.assertEqual(code, 0, text)
        self.assertNotIn("====", text)

    def test_who_interrupts_is_told_how_far_it_came(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen([RAFTSIM, "chaos", "--servers", "3", "--seeds", "1..1000000",
                                   "--seconds", "1", "-j", "2", "-k", "--no-shrink"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as running:
                if number == signal.SIGINT:  # after ten seconds the first word of how far it is
                    self.assertRegex(running.stderr.readline(),
                                     r"^[0-9]+ of 1000000 seeds, [0-9]+ failed")
                else:
                    time.sleep(1)
                running.send_signal(number)
                text, _ = running.communicate(timeout=120)
            self.assertRegex(text, r"(?m)^interrupted: [0-9]+ of 1000000 seeds, [0-9]+ failed")
            self.assertEqual(running.returncode, 130 if ", 0 failed" in text else 1)


if __name__ == "__main__":
    unittest.main()
