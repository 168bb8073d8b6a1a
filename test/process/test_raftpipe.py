"""raftpipe: servers whose network, disk and application are this test. Messages are lost, doubled,
delayed and overtake one another; servers are killed and begin again from their last D frame."""
import heapq
import itertools
import os
import random
import selectors
import struct
import subprocess
import time
import unittest

from cluster import BUILD, DESIGN, DESIGNS, SLOW

RAFTPIPE = os.path.join(BUILD, "raftpipe")
TIMERS = ["--heartbeat", "%dms" % (40 * SLOW),
          "--election-timeout", "%dms..%dms" % (200 * SLOW, 400 * SLOW)]
PATIENCE = 60 * SLOW


def u32(number):
    return struct.pack("<I", number)


def string(data):
    return u32(len(data)) + data


def frame(kind, payload):
    return u32(len(payload) + 1) + kind + payload


class Server:
    """One raftpipe, and what its disk and its application hold."""

    def __init__(self, net, me, design, options):
        self.net, self.me, self.design, self.options = net, me, design, options
        self.state, self.saved = b"", b""  # of the last D frame
        self.applied = {}  # index: command, of all lives
        self.position = 0  # of the application in this life
        self.popen = None
        self.life = 0

    def start(self):
        self.life += 1
        self.popen = subprocess.Popen([RAFTPIPE, "--design", self.design, *TIMERS, *self.options],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        os.set_blocking(self.popen.stdout.fileno(), False)
        self.incoming = b""
        # The application begins with its snapshot; what is behind it comes again.
        self.position = struct.unpack("<Q", self.saved[:8])[0] if self.saved else 0
        self.send(b"I", u32(self.me) + u32(self.net.count) + string(self.state) +
                  string(self.saved))
        self.net.selector.register(self.popen.stdout, selectors.EVENT_READ, self)

    def kill(self):
        self.net.selector.unregister(self.popen.stdout)
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.popen = None

    def end(self):
        """In good order: the end of input."""
        self.net.selector.unregister(self.popen.stdout)
        self.popen.stdin.close()
        os.set_blocking(self.popen.stdout.fileno(), True)
        self.popen.stdout.read()
        self.popen.stdout.close()
        code = self.popen.wait(PATIENCE)
        self.popen = None
        return code

    def send(self, kind, payload):
        try:
            self.popen.stdin.write(frame(kind, payload))
        except BrokenPipeError:
            raise AssertionError("server %d has ended: %s" % (self.me, self.popen.wait())) from None

    def read(self):
        try:
            piece = self.popen.stdout.read(1 << 20)
        except BlockingIOError:
            return
        if not piece:
            raise AssertionError("server %d has ended: %d" % (self.me, self.popen.wait()))
        self.incoming += piece
        while len(self.incoming) >= 5:
            size, = struct.unpack("<I", self.incoming[:4])
            if len(self.incoming) < 4 + size:
                return
            kind, payload = self.incoming[4:5], self.incoming[5:4 + size]
            self.incoming = self.incoming[4 + size:]
            self.take(kind, payload)

    def take(self, kind, payload):
        net = self.net
        if kind == b"D":
            size, = struct.unpack("<I", payload[:4])
            self.state = payload[4:4 + size]
            size2, = struct.unpack("<I", payload[4 + size:8 + size])
            self.saved = payload[8 + size:]
            assert len(self.saved) == size2
        elif kind == b"Q":
            to, = struct.unpack("<I", payload[:4])
            net.request(self, to, payload[4:])
        elif kind == b"r":
            request, = struct.unpack("<I", payload[:4])
            net.reply(self, request, payload[4:])
        elif kind == b"s":
            number, index, term, leads = struct.unpack("<IQQB", payload)
            net.answers[number] = (self.me, index, term, leads)
        elif kind == b"A":
            index, = struct.unpack("<Q", payload[:8])
            self.apply(index, payload[8:])
        elif kind == b"a":
            index, term = struct.unpack("<QQ", payload[:16])
            covered, = struct.unpack("<Q", payload[16:24])
            assert covered == index, "snapshot of %d installed as %d" % (covered, index)
            assert index >= self.position and term > 0
            self.position = index
            net.installed += 1
        else:
            raise AssertionError("a frame of type %r" % kind)

    def apply(self, index, command):
        assert index > self.position, "entry %d comes after %d" % (index, self.position)
        if "--no-noop" in self.options:
            assert index == self.position + 1, "entry %d comes after %d" % (index, self.position)
        self.position = index
        assert self.applied.setdefault(index, command) == command
        known = self.net.committed.setdefault(index, command)
        assert known == command, "entry %d is %r here, and %r elsewhere" % (index, command, known)
        every = self.net.snapshot_every
        if every and len(self.applied) % every == 0:
            self.send(b"N", struct.pack("<Q", index) + struct.pack("<Q", index) + b"state")


class Net:
    """Servers, and the way between them."""

    def __init__(self, count, designs, options=(), seed=1, trouble=0.0, snapshot_every=0):
        self.random = random.Random(seed)
        self.count, self.trouble, self.snapshot_every = count, trouble, snapshot_every
        self.selector = selectors.DefaultSelector()
        self.due = []  # (time, order, action)
        self.order = itertools.count()
        self.requests = {}  # number: (server who asked, its life)
        self.answered = {}  # number: replies
        self.numbers = itertools.count(1)
        self.answers, self.committed, self.leaders = {}, {}, {}
        self.cut = set()
        self.installed = 0
        self.servers = [Server(self, me, designs[me % len(designs)], list(options))
                        for me in range(count)]
        for server in self.servers:
            server.start()

    def end(self):
        for server in self.servers:
            if server.popen is not None:
                server.kill()
        self.selector.close()

    def later(self, action):
        delay = self.random.uniform(0.0, 0.02) if self.trouble else 0.0
        if self.random.random() < self.trouble:
            delay *= 10  # and so others overtake it
        heapq.heappush(self.due, (time.monotonic() + delay, next(self.order), action))

    def passes(self, one, other):
        return one not in self.cut and other not in self.cut and \
            self.random.random() >= self.trouble

    def request(self, sender, to, message):
        copies = 2 if self.random.random() < self.trouble else 1
        for _ in range(copies):
            if self.passes(sender.me, to):
                life = sender.life

                def arrive():
                    receiver = self.servers[to]
                    if receiver.popen is None:
                        return
                    number = next(self.numbers)
                    self.requests[number] = (sender, life, receiver, receiver.life)
                    receiver.send(b"R", u32(sender.me) + u32(number) + message)
                self.later(arrive)

    def reply(self, replier, number, message):
        asker, life, _, _ = self.requests[number]
        self.answered[number] = self.answered.get(number, 0) + 1
        assert self.answered[number] == 1, "request %d is answered twice" % number
        if not self.passes(replier.me, asker.me):
            return

        def arrive():
            if asker.popen is not None and asker.life == life:
                asker.send(b"P", u32(replier.me) + message)
        self.later(arrive)

    def run(self, seconds):
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2]()
            if now >= until:
                return
            wait = min(until - now, self.due[0][0] - now if self.due else 0.05)
            for key, _ in self.selector.select(max(wait, 0)):
                if key.data.popen is not None:
                    key.data.read()

    def run_until(self, true, what):
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, "not within %d s: %s" % (PATIENCE, what)
            self.run(0.01)

    def ask(self, server, kind, payload=b""):
        """What the server answers to an S or G frame; None when it died meanwhile."""
        number = next(self.numbers)
        life = server.life
        server.send(kind, u32(number) + payload)
        self.run_until(lambda: number in self.answers or server.life != life or
                       server.popen is None, "an answer to %r" % kind)
        answer = self.answers.get(number)
        if answer is not None and answer[3]:
            known = self.leaders.setdefault(answer[2], answer[0])
            assert known == answer[0], "two leaders of term %d" % answer[2]
        return answer

    def leader(self):
        found = []

        def look():
            for server in self.servers:
                if server.popen is not None and server.me not in self.cut:
                    answer = self.ask(server, b"G")
                    if answer is not None and answer[3]:
                        found.append(server)
                        return True
            return False
        self.run_until(look, "a leader")
        return found[-1]

    def commit(self, command):
        """Proposes until it is committed; the application may get it twice."""
        deadline = time.monotonic() + PATIENCE
        while command not in self.committed.values():
            assert time.monotonic() < deadline, "%r is not committed" % command
            answer = self.ask(self.leader(), b"S", command)
            if answer is None or not answer[3]:
                continue
            index = answer[1]
            waited = time.monotonic() + 2 * SLOW
            while index not in self.committed and time.monotonic() < waited:
                self.run(0.005)


def with_net(*arguments, **options):
    def decorate(function):
        def test(self):
            designs = DESIGNS if DESIGN == "mixed" else (DESIGN,)
            net = Net(3, designs, *arguments, **options)
            try:
                function(self, net)
            finally:
                net.end()
        test.__doc__ = function.__doc__
        return test
    return decorate


class RaftPipe(unittest.TestCase):
    @with_net()
    def test_commits_and_ends_with_the_input(self, net):
        for number in range(20):
            net.commit(b"command %d" % number)
        net.run_until(lambda: all(len(s.applied) >= 20 for s in net.servers), "all to apply all")
        # What is proposed again, because the leader changed, may come twice.
        commands = list(dict.fromkeys(net.committed[index] for index in sorted(net.committed)))
        self.assertEqual(commands, [b"command %d" % number for number in range(20)])
        for server in net.servers:
            self.assertEqual(server.end(), 0)

    @with_net(options=["--no-noop"])
    def test_without_no_op_commands_have_the_indexes_from_1_on(self, net):
        for number in range(10):
            net.commit(b"%d" % number)
        self.assertEqual(sorted(net.committed), list(range(1, len(net.committed) + 1)))
        self.assertEqual(set(net.committed.values()), {b"%d" % number for number in range(10)})
        leader = net.leader()
        leader.kill()
        net.commit(b"after")
        self.assertEqual(sorted(net.committed), list(range(1, len(net.committed) + 1)))

    @with_net(options=["--no-noop"])
    def test_a_follower_refuses(self, net):
        leader = net.leader()
        term = max(term for term, me in net.leaders.items() if me == leader.me)
        refused = 0
        for server in net.servers:
            if server is not leader:
                _, _, its_term, leads = net.ask(server, b"S", b"x")
                self.assertTrue(not leads or its_term > term)
                refused += not leads
        self.assertGreater(refused, 0)

    @with_net(seed=2, trouble=0.15)
    def test_a_bad_network_and_restarts(self, net):
        for number in range(30):
            net.commit(b"command %d" % number)
            if number % 5 == 4:
                victim = net.random.choice(net.servers)
                victim.kill()
                net.run(net.random.uniform(0, 0.3))
                victim.start()
        self.finish(net, 30)

    @with_net(options=["--no-noop"], seed=3, trouble=0.1)
    def test_all_are_killed_and_begin_again(self, net):
        for number in range(12):
            net.commit(b"command %d" % number)
            if number % 4 == 3:
                for server in net.servers:
                    server.kill()
                for server in net.servers:
                    server.start()
        net.commit(b"after")  # in a log without no-ops it commits what is before it
        self.finish(net, 13)

    @with_net(options=["--no-noop"], seed=4, snapshot_every=10)
    def test_snapshots_keep_the_state_small(self, net):
        for number in range(60):
            net.commit(b"command %d" % number)
        net.run_until(lambda: all(s.position >= 60 for s in net.servers), "all to apply all")
        for server in net.servers:
            self.assertTrue(server.saved)
            self.assertLess(len(server.state), 2000)
            server.kill()
        for server in net.servers:
            server.start()
        net.commit(b"after")
        self.finish(net, 61)

    @with_net(options=["--no-noop"], seed=5, trouble=0.1, snapshot_every=5)
    def test_a_server_that_lags_gets_a_snapshot(self, net):
        leader = net.leader()
        lagging = next(s for s in net.servers if s is not leader)
        net.cut.add(lagging.me)
        for number in range(30):
            net.commit(b"command %d" % number)
        net.cut.clear()
        net.run_until(lambda: lagging.position >= 30, "the lagging server to catch up")
        self.assertGreater(net.installed, 0)
        lagging.kill()
        lagging.start()
        net.commit(b"after")
        self.finish(net, 31)

    def finish(self, net, count):
        """All come to the same, and nothing that was committed is gone."""
        net.trouble = 0.0
        for server in net.servers:
            if server.popen is None:
                server.start()
        last = max(net.committed)
        net.run_until(lambda: all(s.position >= last for s in net.servers), "all to apply all")
        self.assertGreaterEqual(len(net.committed), count)
        for server in net.servers:
            self.assertEqual(server.end(), 0)
        # Each request was answered, unless somebody died or the end came first.
        self.assertGreater(len(net.answered), 0)


class RaftPipeRefuses(unittest.TestCase):
    BEGIN = frame(b"I", u32(0) + u32(3) + string(b"") + string(b""))

    def check(self, data, sentence):
        done = subprocess.run([RAFTPIPE, "--design", DESIGNS[0]], input=data, capture_output=True,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn(sentence, done.stderr)

    def test_malformed_frames(self):
        begin = self.BEGIN
        self.check(frame(b"G", u32(1)), b"first frame must be an I")
        self.check(frame(b"I", u32(3) + u32(3) + string(b"") + string(b"")), b"me and count")
        self.check(frame(b"I", u32(0) + u32(3) + string(b"nonsense") + string(b"")), b"state")
        self.check(frame(b"I", u32(0) + u32(3) + u32(99)), b"too short")
        self.check(frame(b"I", u32(0) + u32(3) + string(b"") + string(b"x")), b"no snapshot")
        self.check(begin + begin, b"second I")
        self.check(begin + b"\x00\x00\x00\x00\x00", b"length of 0")
        self.check(begin + b"\xff\xff\xff\xffR", b"length of 0, or more")
        self.check(begin + b"\x05\x00", b"ends within")
        self.check(begin + frame(b"S", b"ab")[:-1], b"ends within its payload")
        self.check(begin + frame(b"R", u32(7) + u32(1) + b"x"), b"from")
        self.check(begin + frame(b"R", u32(0) + u32(1) + b"x"), b"from")
        self.check(begin + frame(b"R", u32(1) + u32(1) + b"garbage of some length"), b"frame")
        self.check(begin + frame(b"P", u32(1) + b"garbage of some length"), b"frame")
        self.check(begin + frame(b"S", b"ab"), b"too short")
        self.check(begin + frame(b"G", u32(1) + b"x"), b"behind the id")
        self.check(begin + frame(b"N", struct.pack("<Q", 99) + b"s"), b"not given to be applied")
        self.check(begin + frame(b"X", b""), b"no frame has this type")

    def test_states_that_no_server_has_had(self):
        def state(start=1, term=2, vote=0, base=(0, 0)):
            words = struct.pack("<IQQIQQI", 1, start, term, vote, *base, 0)
            return frame(b"I", u32(0) + u32(3) + string(b"mrPS" + words) + string(b""))
        self.check(state(), b"lacks its first entry")
        self.check(state(term=0), b"term is out of bounds")
        self.check(state(term=2 ** 64 - 1), b"term is out of bounds")
        self.check(state(vote=4), b"vote is for no server")
        self.check(state(start=2 ** 64 - 1), b"started that often")
        self.check(state(base=(1, 2 ** 64 - 1)), b"snapshot is out of bounds")
        self.check(state(base=(3, 5)), b"snapshot is out of bounds")
        self.check(state(base=(0, 5)), b"without a term")

    def test_usage(self):
        for words in (["--design", "other"], ["--heartbeat", "1s"], ["--election-timeout", "x"],
                      ["more"]):
            done = subprocess.run([RAFTPIPE, *words], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 64, done.stderr)


if __name__ == "__main__":
    unittest.main()
