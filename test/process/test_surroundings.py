"""How a program is started, and what its surroundings lack or send: closed descriptors, signals, the
mask of modes, a machine without /dev/null or /proc."""
import glob
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import unittest

from cluster import (BUILD, CALM, PATIENCE, RAFTCLUSTER, RAFTCTL, RAFTD, RAFTDUMP, TOP, Case,
                     die_with_parent, run, wait_until)


def closing(*descriptors):
    """What a child does before it runs: closes them, as a careless parent would."""
    def prepare():
        die_with_parent()
        for descriptor in descriptors:
            os.close(descriptor)
    return prepare


def run_closed(*words, descriptors=(0, 1, 2)):
    """A command with closed descriptors, and its exit code."""
    return subprocess.Popen(words, preexec_fn=closing(*descriptors)).wait(PATIENCE)


def without(directories, *words, environment=None):
    """A command to which these directories are empty, in a mount namespace of its own."""
    hide = " && ".join("mount -t tmpfs none %s" % directory for directory in directories)
    return run("unshare", "-m", "sh", "-c", hide + ' && exec "$@"', "sh", *words, env=environment)


class Descriptors(Case):
    def test_a_server_whose_descriptors_are_closed(self):
        """Its files never get the numbers of standard output and error."""
        cluster = self.cluster(1)
        server = cluster[1]
        self.assertEqual(run_closed(*server.words("--bootstrap")), 0)
        for closed in ((0, 1, 2), (2,), (0, 2), (1,)):
            server.process = subprocess.Popen(server.words("-v"), stdin=subprocess.DEVNULL,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                              preexec_fn=closing(*closed))
            wait_until("it leads", lambda: server.info().get("raft_state") == "leader")
            for descriptor in range(3):
                self.assertEqual(
                    os.readlink("/proc/%d/fd/%d" % (server.process.pid, descriptor)), "/dev/null")
            with server.client() as client:
                client.set("key", repr(closed))
            self.assertEqual(server.end(signal.SIGTERM), 0)
            code, text = run(RAFTDUMP, server.data)
            self.assertEqual(code, 0, text)

    def test_output_that_cannot_be_written(self):
        """Whoever asked must not take half an answer, or none, for all of it."""
        cluster = self.cluster(1).start()
        scenario = os.path.join(TOP, "test", "scenarios", "17-figure-8.scn")
        history = os.path.join(self.directory, "history")
        with open(history, "w") as file:
            file.write('{"c":1,"op":"put","k":"x","v":"1","t0":0,"t1":10,"st":"ok"}\n')
        for words in ([RAFTCTL, "-c", cluster.config, "status"],
                      [RAFTCTL, "-c", cluster.config, "servers"],
                      [RAFTCTL, "status", "--help"],
                      [RAFTD, "--help"],
                      [RAFTDUMP, cluster[1].data],
                      [os.path.join(BUILD, "raftsim"), "play", scenario],
                      [os.path.join(BUILD, "raftsim"), "play", "--story", scenario],
                      [os.path.join(BUILD, "raftcheck"), history]):
            with open("/dev/full", "w") as full:
                done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True,
                                      timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 74, words)
            self.assertIn("standard output: ", done.stderr, words)

    def test_tools_whose_descriptors_are_closed(self):
        """A tool's files neither: they hold what belongs into them, and nothing else."""
        cluster = self.cluster(1)
        cluster[1].init()
        cluster[1].start()
        wait_until("it leads", lambda: cluster[1].info().get("raft_state") == "leader")
        with cluster[1].client() as client:
            client.set("key", "value")
        for closed in ((0, 1, 2), (1, 2), (2,)):
            backup = os.path.join(self.directory, "backup-%d" % len(closed))
            self.assertEqual(run_closed(RAFTCTL, "-c", cluster.config, "backup", backup,
                                        descriptors=closed), 0)
            code, text = run(RAFTDUMP, backup)
            self.assertEqual(code, 0, text)
        self.assertEqual(run_closed(RAFTCTL, "-c", cluster.config, "status"), 0)
        cluster[1].end(signal.SIGTERM)
        self.assertEqual(run_closed(RAFTDUMP, cluster[1].data), 0)
        trace = os.path.join(self.directory, "trace")
        self.assertEqual(run_closed(os.path.join(BUILD, "raftsim"), "replay", "--seconds", "2", "--seed",
                                    "1", "--trace", trace), 0)
        self.assertNotEqual(run_closed(os.path.join(BUILD, "raftcheck"), "/nowhere"), 0)
        self.assertEqual(run_closed(os.path.join(BUILD, "raftpipe")), 0)


class Signals(Case):
    def one_server(self, prepare=die_with_parent, settings=""):
        cluster = self.cluster(1, settings)
        cluster[1].init()
        cluster[1].start(prepare=prepare)
        wait_until("it leads", lambda: cluster[1].info().get("raft_state") == "leader")
        return cluster, cluster[1]

    def rewrite(self, cluster, old, new):
        with open(cluster.config) as config:
            text = config.read()
        self.assertIn(old, text)
        with open(cluster.config, "w") as config:
            config.write(text.replace(old, new))

    def config(self, server, key):
        with server.client() as client:
            return client.config_get(key)[key]

    def await_line(self, server, pattern):
        return wait_until(pattern, lambda: re.search(pattern, server.log()))

    def test_hup_reads_the_configuration_again(self):
        cluster, server = self.one_server(settings="election-timeout 1500ms..3s\nheartbeat 500ms\n")
        # Both are lowered: only one order keeps a heartbeat at half of the timeout.
        self.rewrite(cluster, "1500ms..3s\nheartbeat 500ms", "400ms..800ms\nheartbeat 20ms\nmax-clients 7")
        server.signal(signal.SIGHUP)
        self.await_line(server, "SIGHUP: .* changed 2 settings")
        self.assertEqual(self.config(server, "heartbeat"), "20ms")
        self.assertEqual(self.config(server, "election-timeout"), "400ms..800ms")
        self.await_line(server, "max-clients 7 now; it stays 20000 until this server is started again")
        # And raised.
        self.rewrite(cluster, "400ms..800ms\nheartbeat 20ms", "4s..8s\nheartbeat 1s")
        server.signal(signal.SIGHUP)
        wait_until("both", lambda: self.config(server, "heartbeat") == "1s" and
                   self.config(server, "election-timeout") == "4s..8s")
        # What is wrong changes nothing.
        self.rewrite(cluster, "heartbeat 1s", "heartbeat 100ms\nhartbeat 1s")
        server.signal(signal.SIGHUP)
        self.await_line(server, "SIGHUP: nothing changes: .*hartbeat")
        self.assertEqual(self.config(server, "heartbeat"), "1s")
        os.unlink(cluster.config)
        server.signal(signal.SIGHUP)
        self.await_line(server, "SIGHUP: nothing changes: .*No such file")
        self.assertEqual(server.end(signal.SIGTERM), 0)

    def test_hup_that_was_ignored_stays_ignored(self):
        def nohup():
            die_with_parent()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        cluster, server = self.one_server(nohup)
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR2)  # comes later, and is said
        self.await_line(server, "USR2")
        self.assertNotIn("SIGHUP", server.log())
        self.assertEqual(server.end(signal.SIGTERM), 0)

    def test_no_signal_ends_it_without_a_word(self):
        cluster, server = self.one_server()
        said = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF,
                signal.SIGIO, signal.SIGPWR, signal.SIGRTMIN + 5, signal.SIGRTMAX]
        for number in said:
            server.signal(number)
            self.await_line(server, r"signal %d \(.*process %d, and means nothing" % (number, os.getpid()))
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH,
                       signal.SIGCONT):
            server.signal(number)
        with server.client() as client:
            client.set("key", "value")
        self.assertEqual(server.end(signal.SIGXCPU), 0)

    def test_a_file_that_may_not_grow(self):
        """ulimit -f: the disk's error is said, instead of a signal that says nothing."""
        def limited_files():
            die_with_parent()
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        cluster = self.cluster(1)
        code, text = run(*cluster[1].words("--bootstrap"), prepare=limited_files)
        self.assertEqual(code, 74, text)
        self.assertIn("File too large", text)


class Modes(Case):
    def assert_private(self, *roots):
        seen = 0
        for root in roots:
            below = glob.glob(root + "/**", recursive=True) if os.path.isdir(root) else []
            for path in [root] + below:
                mode = stat.S_IMODE(os.stat(path).st_mode)
                wanted = 0o700 if os.path.isdir(path) else 0o600
                self.assertEqual(oct(mode), oct(wanted), path)
                seen += 1
        return seen

    def test_files_are_for_their_owner_alone(self):
        """Whatever the mask of whoever starts the programs."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        cluster = self.cluster(1, "snapshot-log-bytes 1KiB\n")
        server = cluster[1]
        server.init()
        trace = os.path.join(self.directory, "trace")
        server.start("--trace", trace)
        wait_until("it leads", lambda: server.info().get("raft_state") == "leader")
        with server.client() as client:
            client.set("key", "a secret")
            client.execute_command("RAFT.SNAPSHOT")
        backup = os.path.join(self.directory, "backup")
        code, text = run(RAFTCTL, "-c", cluster.config, "backup", backup)
        self.assertEqual(code, 0, text)
        self.assertGreater(self.assert_private(server.data, trace, backup), 6)
        server.end(signal.SIGTERM)
        self.assertNotIn("other users may read", server.log())
        os.chmod(server.data, 0o755)  # as those were that were made before
        server.start()
        wait_until("it is said", lambda: "other users may read %s" % server.data in server.log())
        restored = os.path.join(self.directory, "deep", "restored")
        code, text = run(RAFTD, "--config", cluster.config, "--id", "1", "--data", restored,
                         "--restore", backup)
        self.assertEqual(code, 0, text)
        self.assert_private(os.path.dirname(restored))

    def test_raftcluster(self):
        """Its logs and its directories, too."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        cluster = self.cluster(1)
        data = os.path.join(self.directory, "data")
        self.addCleanup(run, RAFTCLUSTER, "-c", cluster.config, "-d", data, "stop")
        path = BUILD + ":" + os.environ["PATH"]
        code, text = run(RAFTCLUSTER, "-c", cluster.config, "-d", data, "start",
                         env=dict(os.environ, PATH=path))
        self.assertEqual(code, 0, text)
        self.assertGreater(self.assert_private(data), 6)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "mounts need root")
class Missing(Case):
    def test_a_server_needs_little(self):
        """No /dev, /proc, /tmp, and no environment: it is made, runs, and serves."""
        cluster = self.cluster(1, CALM)
        server = cluster[1]
        hide = ["/dev", "/proc"]
        if not self.directory.startswith("/tmp/"):
            hide.append("/tmp")
        code, text = without(hide, *server.words("--bootstrap"), environment={})
        self.assertEqual(code, 0, text)
        script = " && ".join("mount -t tmpfs none %s" % name for name in hide) + ' && exec "$@"'
        with open(server.log_path, "ab") as log:
            server.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", script, "sh", *server.words()], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        with server.client() as client:
            wait_until("it leads", lambda: server.info().get("raft_state") == "leader")
            client.set("key", "value")
            self.assertEqual(client.get("key"), "value")
        self.assertEqual(server.end(signal.SIGTERM), 0)

    def test_raftcluster_names_what_is_missing(self):
        cluster = self.cluster(1)
        data = os.path.join(self.directory, "data")
        words = [RAFTCLUSTER, "-c", cluster.config, "-d", data, "status"]
        for hidden in ("/dev", "/proc"):
            code, text = without([hidden], *words)
            self.assertEqual(code, 66, text)
            self.assertIn("there is no /dev/null" if hidden == "/dev" else "there is no /proc", text)
        code, text = run(shutil.which("bash"), *words, env={"PATH": self.directory})
        self.assertEqual(code, 66, text)
        self.assertRegex(text, "not found on the PATH .*: .*setsid")
