"""raftctl and raftcluster, as a user types them, and the event trace."""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from cluster import (BUILD, CALM, PATIENCE, RAFTCLUSTER, RAFTCTL, SLOW, TOP, Case, die_with_parent,
                     run, wait_until)


class Version(Case):
    def test_every_program_and_tool_says_which_it_is(self):
        """The same, and nothing else; whoever adds one is reminded here."""
        programs = [path for path in sorted(glob.glob(os.path.join(BUILD, "raft*")) +
                                            glob.glob(os.path.join(TOP, "tools", "*")))
                    if os.path.isfile(path) and os.access(path, os.X_OK)]
        names = {os.path.basename(path) for path in programs}
        self.assertLessEqual({"raftd", "raftctl", "raftdump", "raftsim", "raftcheck", "raftpipe",
                              "raftcluster", "raftbench", "raftcompare", "setup"}, names)
        said = {os.path.basename(path): run(path, "--version") for path in programs}
        self.assertRegex(said["raftd"][1], r"^mailraft \d+\.\d+\.\d+\n$")
        self.assertEqual(said, dict.fromkeys(said, (0, said["raftd"][1])))


class Raftctl(Case):
    def test_table_and_json(self):
        cluster = self.cluster(settings=CALM).start()
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "--wait")
        self.assertEqual(code, 0, text)
        lines = text.splitlines()
        for title in ("id", "address", "state", "term", "leader", "commit", "trails by",
                      "last contact"):
            self.assertIn(title, lines[0])
        for server in cluster.servers:
            self.assertIn("127.0.0.1:%d" % server.port, lines[server.number])
        leader = cluster.wait_for_leader()
        cluster.wait_until_equal()
        code, text = run(RAFTCTL, "-c", cluster.config, "status", "-w", "json")
        status = json.loads(text)
        self.assertEqual((code, status["leader"], status["agreed"]), (0, leader.number, True))
        self.assertEqual((status["voters"], status["following"]), (3, 3))
        for server, row in zip(cluster.servers, status["servers"]):
            info = server.info()
            self.assertEqual((row["id"], row["address"], row["reachable"]),
                             (server.number, "127.0.0.1:%d" % server.port, True))
            self.assertEqual((row["state"], row["term"], row["leader"]),
                             (info["raft_state"], info["raft_current_term"], leader.number))
            self.assertEqual("trails" in row, server is not leader)

    def test_unreachable_and_paused_servers(self):
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        dead, paused = cluster.followers()
        dead.kill()
        begun = time.monotonic()
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "-w", "json")
        self.assertEqual(code, 0, text)
        row = json.loads(text)["servers"][dead.number - 1]
        self.assertEqual((row["reachable"], row["trouble"]), (False, "Connection refused"))
        paused.signal(signal.SIGSTOP)
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "--timeout", "300ms")
        self.assertIn("no answer in time", text)
        self.assertLess(time.monotonic() - begun, 20 * SLOW)
        # Alone, the leader steps down: there is none that a majority follows.
        wait_until("no leader", lambda: run(RAFTCTL, "status", "-c", cluster.config,
                                            "-t", "300ms")[0] == 69)
        code, text = run(RAFTCTL, "status", "-s", "127.0.0.1:%d" % leader.port, "--wait=300ms")
        self.assertEqual(code, 69, text)
        paused.signal(signal.SIGCONT)
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "--wait=%ds" % PATIENCE)
        self.assertEqual(code, 0, text)
        dead.start()
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "--wait=%ds" % PATIENCE,
                         "--with", str(dead.number))
        self.assertEqual(code, 0, text)
        self.assertIn("3 of 3 voters", text)

    def test_strangers_behind_a_port(self):
        cluster = self.cluster(settings=CALM).start()
        other = self.cluster(name="other", cluster_id="other", count=1).start()
        with open(cluster.config) as config:
            text = config.read()
        path = os.path.join(cluster.directory, "mixed.conf")
        with open(path, "w") as config:
            config.write(text.replace("client=127.0.0.1:%d" % cluster.followers()[0].port,
                                      "client=127.0.0.1:%d" % other[1].port))
        code, text = run(RAFTCTL, "status", "-c", path, "--wait")
        self.assertEqual(code, 0, text)
        self.assertIn("a server of cluster other answers there", text)

    def test_wrong_usage(self):
        cluster = self.cluster()
        for words in ([], ["frobnicate"], ["status", "-w", "xml"], ["status", "--wait=soon"],
                      ["status", "-s", "nowhere"], ["status", "--with", "x"], ["--nonsense"],
                      ["status", "more"]):
            code, text = run(RAFTCTL, *words)
            self.assertEqual(code, 64, (words, text))
        self.assertEqual(run(RAFTCTL, "status", "-c", "/nonexistent/c")[0], 66)
        code, text = run(RAFTCTL, "servers", "-c", cluster.config)
        self.assertEqual((code, text), (0, "".join(
            "%d 127.0.0.1:%d 127.0.0.1:%d\n" % (s.number, s.peer_port, s.port)
            for s in cluster.servers)))


class Raftcluster(Case):
    """The script runs from a directory beside raftd and raftctl, as it does when installed."""

    def setUp(self):
        super().setUp()
        self.servers = self.cluster(settings=CALM)
        for name in ("raftd", "raftctl"):
            os.symlink(os.path.join(BUILD, name), os.path.join(self.directory, name))
        self.script = shutil.copy(RAFTCLUSTER, os.path.join(self.directory, "raftcluster"))
        self.data = os.path.join(self.directory, "my data")
        self.addCleanup(self.do, "stop")

    def do(self, *words, code=None):
        got, text = run(self.script, "-c", self.servers.config, "-d", self.data, "-w",
                        "%ds" % PATIENCE, *words, timeout=3 * PATIENCE)
        if code is not None:
            self.assertEqual(got, code, text)
        return text

    def status(self):
        """What it says when there is a leader, which the one that was killed may have been."""
        line = (self.script, "-c", self.servers.config, "-d", self.data, "status")
        wait_until("a leader", lambda: run(*line)[0] == 0)
        return self.do("status", code=0)

    def process(self, number):
        with open(os.path.join(self.data, "%d.pid" % number)) as file:
            return int(file.read())

    def test_a_clusters_life(self):
        text = self.do("start", code=0)
        self.assertIn("3 of 3 voters follow it", text)
        line = text.splitlines()[-1]
        self.assertEqual(line.strip(), "redis-cli -p %d set hello world" % self.servers[1].port)
        self.assertEqual(run(*line.split()), (0, "OK\n"))
        before = [self.process(number) for number in (1, 2, 3)]
        self.assertIn("server 2 runs already (process %d)" % before[1], self.do("start", code=0))
        self.assertEqual(before, [self.process(number) for number in (1, 2, 3)])

        self.do("kill", "2", code=0)
        self.assertIn("server 2: does not run", self.status())
        self.assertIn("server 2 does not run", self.do("kill", "2", code=69))
        self.do("restart", "2", code=0)
        self.do("restart", "1", code=0)
        self.assertNotEqual(before[0], self.process(1))
        for server in self.servers.servers:
            with server.client() as client:
                self.assertEqual(client.get("hello"), "world")

        self.do("stop", code=0)
        self.assertIn("no server runs", self.do("stop", code=0))
        self.do("status", code=69)
        self.do("start", code=0)
        with self.servers[3].client() as client:
            self.assertEqual(client.get("hello"), "world")
        self.do("start", "--fresh", code=0)
        with self.servers[3].client() as client:
            self.assertIsNone(client.get("hello"))

    def test_addresses_in_brackets_and_another_configuration(self):
        """What it says to try can be typed, also with IPv6; and it takes nobody else's servers for
        its own, though they run in the same place."""
        self.do("start", code=0)
        other = os.path.join(self.directory, "other.conf")
        with open(self.servers.config) as file, open(other, "w") as to:
            to.write(file.read().replace("127.0.0.1:", "[::1]:"))
        line = [self.script, "-c", other, "-d", self.data, "-w", "%ds" % PATIENCE]
        code, text = run(*line, "start", timeout=3 * PATIENCE)
        self.assertEqual(code, 64, text)
        self.assertIn("with another configuration than " + other, text)
        self.do("stop", code=0)
        shutil.rmtree(self.data)
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("there is no IPv6 here")
        self.addCleanup(run, *line, "stop", timeout=3 * PATIENCE)
        code, text = run(*line, "start", timeout=3 * PATIENCE)
        self.assertEqual(code, 0, text)
        self.assertEqual(run(*text.splitlines()[-1].split()), (0, "OK\n"))

    def test_no_stranger_is_signalled(self):
        self.do("start", code=0)
        self.do("kill", "1", code=0)
        stranger = subprocess.Popen(["sleep", "1000"], preexec_fn=die_with_parent)
        try:
            for pid in (stranger.pid, self.process(2)):
                with open(os.path.join(self.data, "1.pid"), "w") as file:
                    file.write("%d\n" % pid)
                self.assertIn("does not run", self.do("kill", "1", code=69))
                self.do("restart", "1", code=0)
                self.do("kill", "1", code=0)
            self.do("stop", code=0)
            self.assertIsNone(stranger.poll())
        finally:
            stranger.kill()
            stranger.wait()

    def test_what_goes_wrong_is_said(self):
        for words in ([], ["frobnicate"], ["kill"], ["kill", "9"], ["start", "1"],
                      ["stop", "--fresh"], ["--nonsense"], ["restart", "x"]):
            self.assertIn("aftcluster", self.do(*words, code=64))
        self.do("start", code=0)
        self.do("kill", "2", code=0)
        with socket.create_server(("127.0.0.1", self.servers[2].port)):
            text = self.do("restart", "2", code=69)
            self.assertIn("server 2 did not start", text)
            self.assertIn("Address already in use", text)
        letter = os.path.join(self.data, "1", "letter.txt")
        open(letter, "w").close()
        self.assertIn("letter.txt", self.do("start", "--fresh", code=73))
        self.assertTrue(os.path.exists(letter))
        self.assertIn("2 of 3 voters", self.status())
        os.unlink(letter)
        self.do("kill", "1", code=0)
        # A server that has lost its data must not come back as if it had never promised anything.
        shutil.rmtree(os.path.join(self.data, "1"))
        for words in (["start"], ["restart", "1"]):
            self.assertIn("server 1 has run here before", self.do(*words, code=73))
        self.do("start", "--fresh", code=0)

    def test_a_wiped_server_comes_back_as_it_is_told(self):
        self.do("start", code=0)
        with self.servers[1].client() as client:
            client.set("kept", "yes")
        self.do("kill", "3", code=0)
        shutil.rmtree(os.path.join(self.data, "3"))
        text = self.do("start", code=73)
        advice = [line for line in text.splitlines() if line.startswith("  ")]
        self.assertEqual(len(advice), 3, text)
        for line in advice:
            code, text = run("sh", "-c", line, timeout=3 * PATIENCE)
            self.assertEqual(code, 0, line + "\n" + text)
        wait_until("it votes", lambda: "3 of 3 voters follow it" in self.do("status"))
        with self.servers[3].client() as client:
            self.assertEqual(client.get("kept"), "yes")

    def test_a_start_that_waits_for_other_machines_says_so(self):
        """Of three servers only the second is of this machine, and those that are not never come."""
        with open(self.servers.config) as file:
            text = file.read()
        for number in (1, 3):
            text = text.replace("server %d 127.0.0.1:" % number, "server %d 192.0.2.%d:" %
                                (number, number))
        with open(self.servers.config, "w") as file:
            file.write(text)
        text = self.do("-w", "5s", "start", code=69)
        self.assertIn("waiting for a leader, for 5s at most", text)
        self.assertIn("(server 1 founds the cluster)", text)
        self.assertIn("runs on", text)
        self.assertIn("data in", self.do("status", code=69))


class Trace(Case):
    def test_event_trace_is_json_lines(self):
        cluster = self.cluster(count=1)
        server = cluster[1]
        path = os.path.join(self.directory, "trace")
        server.init()
        server.start("--trace", path)
        cluster.wait_for_leader()
        with server.client() as client:
            client.set("a", "b")
        server.end(signal.SIGTERM)
        with open(path) as lines:
            events = [json.loads(line) for line in lines]
        names = {event.get("name") or event.get("event") for event in events}
        self.assertTrue({"BecomeCandidate", "BecomeLeader"} <= names, names)

    def test_reports_as_json(self):
        cluster = self.cluster(count=1, settings="log-format json\n").start()
        lines = cluster[1].log().splitlines()
        self.assertGreater(len(lines), 1)
        for line in lines:
            self.assertEqual(json.loads(line)["server"], 1)
