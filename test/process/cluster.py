"""A cluster of real servers for one test: free ports, a temporary directory, and an end in any case.

Everything goes the way a user's hands would go: raftd's command line, signals, the client ports.
Deadlines are only there so that a broken server ends a test; nothing passes or fails by speed,
except where a test names its bound. Builds with sanitizers get more time and calmer timers."""
import contextlib
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import redis

BUILD = os.path.abspath(os.environ.get("BUILD_DIR", "build/release"))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RAFTD = os.path.join(BUILD, "raftd")
RAFTCTL = os.path.join(BUILD, "raftctl")
RAFTDUMP = os.path.join(BUILD, "raftdump")
RAFTCLUSTER = os.path.join(TOP, "tools", "raftcluster")

# All servers run this design; "mixed" gives each member of a cluster another one.
DESIGN = os.environ.get("DESIGN", "per-state")
DESIGNS = ("per-state", "dispatch", "step")

# How much slower than a release build a server may be.
SLOW = {"asan": 3, "tsan": 8, "coverage": 2}.get(os.path.basename(BUILD), 1)
PATIENCE = 60 * SLOW  # seconds; what takes longer is broken

# Timers for what is no matter of elections: on a busy machine a leader with the usual ones may be
# silent for too long, and another take over.
CALM = "election-timeout %dms..%dms\n" % (max(1500, 300 * SLOW), max(3000, 600 * SLOW))

# What any client must be ready to hear while leadership moves.
NOT_EXECUTED = re.compile(r"^(CLUSTERDOWN|BUSY)\b")
UNKNOWN = re.compile(r"^TIMEOUT\b")
REPEATABLE = {"GET", "MGET", "SET", "MSET", "PING", "EXISTS", "STRLEN", "DBSIZE", "SCAN", "INFO"}
DEFINITE = re.compile(r"^(CLUSTERDOWN|BUSY|MOVED|ERR|WRONGTYPE|OOM|LOADING|NOSPACE)\b")

_libc = ctypes.CDLL(None, use_errno=True)
_claims = []


def limited(limits, user=None):
    """What a child does before it runs: takes the limits {resource: value}, and becomes the user."""
    def prepare():
        for what, value in limits.items():
            resource.setrlimit(what, (value, value))
        if user is not None:
            os.setgroups([])
            os.setresuid(user, user, user)
        die_with_parent()  # last: another user would make the kernel forget it
    return prepare


def die_with_parent():
    """In the child: when the test runner dies, however it dies, so does this process."""
    PR_SET_PDEATHSIG = 1
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def claim(port):
    """Makes the port this process's among all tests on the machine; it ends with the process."""
    sign = socket.socket(socket.AF_UNIX)
    try:
        sign.bind("\0mailraft-test-port-%d" % port)
    except OSError:
        sign.close()
        return False
    _claims.append(sign)
    return True


def free_ports(count):
    """Ports that nobody listens on, outside of those that the kernel hands to outgoing connections.
    Of these, each of the workers of test/run-process has its part."""
    worker, workers = int(os.environ.get("TEST_WORKER", 0)), int(os.environ.get("TEST_WORKERS", 1))
    part = (31000 - 12000) // workers
    ports = []
    while len(ports) < count:
        port = 12000 + worker * part + random.randrange(part)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if claim(port):
            ports.append(port)
    return ports


def wait_until(what, condition, seconds=None):
    """Returns the first true value of condition(); fails after the time with `what`."""
    deadline = time.monotonic() + (seconds or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not so in time: " + what)
        time.sleep(0.02)


def run(*words, timeout=None, prepare=die_with_parent, **options):
    """A command that ends by itself: its exit code, and what it printed on both streams."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout or PATIENCE, preexec_fn=prepare, **options)
    return done.returncode, done.stdout


class PatientClient(redis.Redis):
    """Tries again what was surely not executed, and what may be executed twice, until the leadership
    of the cluster has settled: as any client must, whose machine is busy."""

    def execute_command(self, *words, **options):
        deadline = time.monotonic() + PATIENCE
        plain = words[0] in REPEATABLE and not {"NX", "XX", "GET"} & set(words[3:])
        while True:
            try:
                return super().execute_command(*words, **options)
            except redis.ResponseError as error:
                again = NOT_EXECUTED.match(str(error)) or (plain and UNKNOWN.match(str(error)))
                if not again or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)


class Server:
    """One member: its directory, its log, and its process while it has one."""

    def __init__(self, cluster, number, peer_port, port):
        self.cluster = cluster
        self.number = number
        self.peer_port = peer_port
        self.port = port
        self.data = os.path.join(cluster.directory, str(number))
        self.log_path = self.data + ".log"
        self.process = None

    def words(self, *more):
        design = DESIGNS[self.number % len(DESIGNS)] if DESIGN == "mixed" else DESIGN
        return [RAFTD, "--config", self.cluster.config, "--id", str(self.number), "--data",
                self.data, "--design", design, *more]

    def init(self):
        """Makes its data directory; a server that is alone founds its cluster by that."""
        code, text = run(*self.words("--bootstrap" if len(self.cluster.servers) == 1 else "--init"))
        assert code == 0, text

    def bootstrap(self):
        """Makes its data directory as the one that founds the cluster."""
        code, text = run(*self.words("--bootstrap"))
        assert code == 0, text

    def start(self, *more, prepare=die_with_parent, binary=RAFTD):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([binary, *self.words(*more)[1:]], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=prepare)

    def signal(self, number):
        """SIGSTOP has stopped all its threads when this returns: the kernel takes its time for that."""
        os.kill(self.process.pid, number)
        if number == signal.SIGSTOP:
            wait_until("all threads are stopped", self._is_stopped)

    def _is_stopped(self):
        for task in os.listdir("/proc/%d/task" % self.process.pid):
            with contextlib.suppress(FileNotFoundError):
                with open("/proc/%d/task/%s/stat" % (self.process.pid, task)) as stat:
                    if stat.read().rsplit(")", 1)[1].split()[0] not in "Tt":
                        return False
        return True

    def end(self, number):
        """Signals, and returns the exit code (minus the signal's number if that ended it)."""
        self.signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def kill(self):
        self.end(signal.SIGKILL)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def client(self, patient=True, **options):
        """Patient or not: whether it hides the errors that moving leadership costs."""
        options.setdefault("decode_responses", True)
        options.setdefault("socket_timeout", PATIENCE)
        made = PatientClient if patient else redis.Redis
        return made("127.0.0.1", self.port, **options)

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def info(self):
        """INFO raft as a dictionary; empty when the server does not answer."""
        try:
            with self.client(patient=False, socket_timeout=5 * SLOW) as client:
                return client.info("raft")
        except redis.RedisError:
            return {}


class Cluster:
    def __init__(self, directory, count=3, settings="", cluster_id="test"):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.config = os.path.join(directory, "cluster.conf")
        ports = free_ports(2 * count)
        self.servers = [Server(self, i + 1, ports[2 * i], ports[2 * i + 1]) for i in range(count)]
        with open(self.config, "w") as config:
            config.write("cluster-id %s\n" % cluster_id)
            for server in self.servers:
                config.write("server %d 127.0.0.1:%d client=127.0.0.1:%d\n" %
                             (server.number, server.peer_port, server.port))
            if SLOW > 1 and "election-timeout" not in settings:
                config.write("election-timeout %dms..%dms\n" % (150 * SLOW, 300 * SLOW))
            config.write(settings)

    def __getitem__(self, number):
        return self.servers[number - 1]

    def init(self):
        """Makes all data directories: the first one founds the cluster, the others join it."""
        self.servers[0].bootstrap()
        for server in self.servers[1:]:
            server.init()

    def start(self):
        self.init()
        for server in self.servers:
            server.start()
        self.wait_for_leader()
        return self

    def running(self):
        return [server for server in self.servers if server.process is not None]

    def end_all(self):
        for server in self.running():
            try:
                server.signal(signal.SIGCONT)
                server.kill()
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass

    def leader(self, among=None):
        """The server that a majority follows in one term, itself included; None if there is none."""
        infos = {s.number: s.info() for s in (among or self.running())}
        for number, info in infos.items():
            if info.get("raft_state") != "leader":
                continue
            term = info["raft_current_term"]
            following = [i for i in infos.values() if i.get("raft_leader_id") == number and
                         i.get("raft_current_term") == term]
            if 2 * len(following) > len(self.servers):
                return self[number]
        return None

    def wait_for_leader(self, among=None):
        return wait_until("a leader", lambda: self.leader(among))

    def followers(self):
        leader = self.wait_for_leader()
        return [server for server in self.running() if server is not leader]

    def wait_until_equal(self):
        """Waits until all running servers have applied the same entries; returns their digests."""
        def digests():
            infos = [server.info() for server in self.running()]
            applied = {info.get("raft_last_applied") for info in infos}
            last = {info.get("raft_last_index") for info in infos}
            if len(applied) == 1 and applied == last and None not in applied:
                return [info["raft_machine_digest"] for info in infos]
            return None
        return wait_until("all servers have applied the same entries", digests)


class Case(unittest.TestCase):
    """A test with a directory of its own; afterwards nothing runs, and no server has complained of
    itself."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="mailraft-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.clusters = []
        self.addCleanup(self.end_clusters)

    def end_clusters(self):
        result = self._outcome.result
        failed = any(test is self for test, _ in result.failures + result.errors)
        for cluster in self.clusters:
            cluster.end_all()
            for server in cluster.servers:
                log = server.log()
                bad = re.search(r".*(broken invariant|Sanitizer|runtime error:).*", log)
                if failed or bad:
                    print("---- the end of server %d's log\n%s" % (server.number, log[-3000:]))
                self.assertIsNone(bad, bad and bad.group(0))

    def cluster(self, count=3, settings="", name="cluster", cluster_id="test"):
        cluster = Cluster(os.path.join(self.directory, name), count, settings, cluster_id)
        self.clusters.append(cluster)
        return cluster


class Load:
    """Clients that write as fast as they can, each through one server until that fails, and remember
    what they were told of every write: done, surely not done, or unknown."""

    def __init__(self, servers, threads=6):
        self.servers = servers
        self.done = {}
        self.unknown = {}
        self.refused = {}
        self.counter_done = 0
        self.counter_unknown = 0
        self.counter_values = set()
        self.errors = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(i,), daemon=True)
                        for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a client waits for ever"
        assert not self.errors, self.errors[:3]

    def wait_for_more(self, count=50):
        """Waits until so many more writes were acknowledged."""
        enough = len(self.done) + count
        wait_until("writes go on", lambda: len(self.done) >= enough)

    def _work(self, number):
        try:
            self._write(number)
        except Exception as error:  # whatever it is, the test must hear of it
            self.errors.append(repr(error))

    def _write(self, number):
        at = number
        count = 0
        client = self.servers[at % len(self.servers)].client(patient=False, socket_timeout=15 * SLOW)
        while not self.stopping.is_set():
            count += 1
            key, value = "load:%d:%d" % (number, count), "v%d" % count
            outcome = self._try(lambda: client.set(key, value))
            with self.lock:
                {"done": self.done, "unknown": self.unknown,
                 "refused": self.refused}[outcome][key] = value
            counted = self._try(lambda: self._increment(client))
            with self.lock:
                self.counter_done += counted == "done"
                self.counter_unknown += counted == "unknown"
            if "done" not in (outcome, counted):
                at += 1
                client.close()
                client = self.servers[at % len(self.servers)].client(patient=False, socket_timeout=15 * SLOW)
                time.sleep(0.01)
        client.close()

    def _increment(self, client):
        value = client.incr("counter")
        with self.lock:
            assert value not in self.counter_values, "two clients were told %d" % value
            self.counter_values.add(value)

    @staticmethod
    def _try(write):
        try:
            write()
            return "done"
        except redis.ResponseError as error:
            if str(error).startswith("TIMEOUT"):
                return "unknown"
            assert DEFINITE.match(str(error)), "an error of neither kind: %s" % error
            return "refused"
        except (redis.ConnectionError, redis.TimeoutError):
            return "unknown"

    def check(self, case, cluster):
        """All that was acknowledged is there, through every server; what was refused is not."""
        wait_until("all servers answer", lambda: all(s.info() for s in cluster.running()))
        for server in cluster.running():
            with server.client() as client:
                for known in (self.done, self.refused):
                    keys = list(known)
                    for first in range(0, len(keys), 500):
                        part = keys[first:first + 500]
                        wanted = [known[key] if known is self.done else None for key in part]
                        case.assertEqual(client.mget(part), wanted,
                                         "through server %d" % server.number)
                counter = int(client.get("counter") or 0)
                case.assertGreaterEqual(counter, self.counter_done)
                case.assertLessEqual(counter, self.counter_done + self.counter_unknown)
        case.assertGreater(len(self.done), 0)
        digests = cluster.wait_until_equal()
        case.assertEqual(len(set(digests)), 1, digests)
