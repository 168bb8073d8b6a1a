"""A server that is told to end, by SIGTERM or SIGINT: it answers before it goes."""
import re
import signal
import threading
import time

import cluster
from cluster import CALM, NOT_EXECUTED, PATIENCE, UNKNOWN, Case, wait_until

CLIENTS = 32


def command(*words):
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Talker:
    """One client with a bare socket, which sends writes, some at a time, and reads every answer. It
    leaves a server that refuses it, or that nobody listens at any more, for the next one."""

    def __init__(self, servers, number, ending, stopping):
        self.servers = servers
        self.number = number
        self.ending = ending
        self.stopping = stopping
        self.done, self.refused, self.wrong = {}, {}, []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _connect(self, at):
        try:
            return self.servers[at % len(self.servers)].raw()
        except ConnectionError:
            time.sleep(0.02)  # it is down, and says so before anything was sent
            return None

    def _run(self):
        at, count, link = self.number, 0, None
        try:
            while not self.stopping.is_set():
                link = link or self._connect(at)
                if link is None:
                    at += 1
                    continue
                keys = ["stop:%d:%d" % (self.number, count + i) for i in range(1 + self.number % 4)]
                count += len(keys)
                if not self._exchange(link, keys, at % len(self.servers) + 1):
                    link.close()
                    link, at = None, at + 1
        except Exception as error:  # whatever it is, the test must hear of it
            self.wrong.append("server %d: %r" % (at % len(self.servers) + 1, error))

    def _exchange(self, link, keys, server):
        """Returns whether the client stays."""
        link.sendall(b"".join(command("SET", key, key) for key in keys))
        text = b""
        while text.count(b"\r\n") < len(keys):
            more = link.recv(65536)
            if not more:
                raise ConnectionError("hung up on %d commands, of which %d were answered" %
                                      (len(keys), text.count(b"\r\n")))
            text += more
        stays = True
        for key, answer in zip(keys, text.decode().split("\r\n")):
            if answer == "+OK":
                self.done[key] = key
                continue
            stays = False
            if NOT_EXECUTED.match(answer[1:]):
                self.refused[key] = key
            elif UNKNOWN.match(answer[1:]) and server != self.ending():
                pass  # it was on its way from one follower to the old leader just then
            else:
                self.wrong.append("server %d: %s" % (server, answer))
        return stays


class Stop(Case):
    def use(self, design):
        before, cluster.DESIGN = cluster.DESIGN, design
        self.addCleanup(setattr, cluster, "DESIGN", before)

    def in_turn(self, design, number):
        """Each server in turn is told to end, and started again, under load. Nobody is left without
        an answer, or with one that says that the outcome is unknown."""
        self.use(design)
        servers = self.cluster(settings=CALM, name=design).start()
        stopping = threading.Event()
        ending = None
        talkers = [Talker(servers.servers, i, lambda: ending, stopping) for i in range(CLIENTS)]

        def done():
            return sum(len(talker.done) for talker in talkers)

        def goes_on():
            enough = done() + 10 * CLIENTS
            wait_until("writes go on", lambda: done() >= enough)
        order = [servers.wait_for_leader()]
        order += [server for server in servers.servers if server is not order[0]]
        for server in order:
            goes_on()
            ending = server.number
            self.assertEqual(server.end(number), 0)
            goes_on()
            server.start()
            wait_until("it follows", lambda s=server: s.info().get("raft_leader_id", 0) != 0)
        stopping.set()
        for talker in talkers:
            talker.thread.join(PATIENCE)
            self.assertEqual((talker.thread.is_alive(), talker.wrong), (False, []))
        with servers[1].client() as client:
            for talker in talkers:
                for known, value in ((talker.done, lambda key: key), (talker.refused, lambda key: None)):
                    keys = list(known)
                    for first in range(0, len(keys), 500):
                        part = keys[first:first + 500]
                        self.assertEqual(client.mget(part), [value(key) for key in part])
        self.assertEqual(len(set(servers.wait_until_equal())), 1)

    def test_answers_everybody_per_state(self):
        self.in_turn("per-state", signal.SIGTERM)

    def test_answers_everybody_dispatch(self):
        self.in_turn("dispatch", signal.SIGTERM)

    def test_answers_everybody_step(self):
        self.in_turn("step", signal.SIGINT)

    def test_answers_everybody_mixed(self):
        self.in_turn("mixed", signal.SIGTERM)

    def test_refuses_what_is_new_and_lets_the_silent_go(self):
        servers = self.cluster(settings=CALM).start()
        for server in (servers.wait_for_leader(), servers.followers()[0]):
            idle, busy = server.raw(), server.raw()
            busy.sendall(command("SET", "key", "1"))
            self.assertEqual(busy.recv(100), b"+OK\r\n")
            server.signal(signal.SIGTERM)
            heard = b""
            while b"stopping" not in heard:  # it may be the last to be told
                busy.sendall(command("SET", "key", "2"))
                heard = busy.recv(100)
                self.assertRegex(heard, rb"^(\+OK|-CLUSTERDOWN this server is stopping; .*)\r\n$")
            busy.sendall(command("PING") + command("CONFIG", "SET", "heartbeat", "20ms"))
            heard = b""
            while heard.count(b"\r\n") < 2:
                heard += busy.recv(200)
            self.assertRegex(heard, rb"^\+PONG\r\n-CLUSTERDOWN this server is stopping")
            self.assertEqual(idle.recv(100), b"")  # an end, and no reset
            self.assertEqual(busy.recv(100), b"")
            self.assertEqual(server.process.wait(PATIENCE), 0)
            server.process = None
            server.start()
            servers.wait_for_leader()

    def test_a_second_signal_ends_it_at_once(self):
        servers = self.cluster(settings=CALM + "stop-timeout 10m\n").start()
        server = servers.followers()[0]
        link = server.raw()

        def insist():
            try:
                while True:
                    link.sendall(command("PING"))
                    if not link.recv(100):
                        return
            except ConnectionError:
                return
        thread = threading.Thread(target=insist, daemon=True)
        thread.start()
        server.signal(signal.SIGTERM)
        wait_until("it was heard", lambda: "stopping because of SIGTERM" in server.log())
        time.sleep(0.3)
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.end(signal.SIGINT), -signal.SIGINT)
        thread.join(PATIENCE)
        server.start()
        wait_until("it is back", lambda: server.info().get("raft_leader_id", 0) != 0)

    def test_insistence_and_silence_are_bounded(self):
        """Nobody to answer a write, and a client that does not leave: it ends all the same."""
        servers = self.cluster(settings=CALM + "stop-timeout 300ms\nforward-timeout 10m\n").start()
        leader = servers.wait_for_leader()
        server = [s for s in servers.servers if s is not leader][0]
        link = server.raw()
        leader.signal(signal.SIGSTOP)
        link.sendall(command("SET", "key", "value"))
        self.assertEqual(server.end(signal.SIGTERM), 0)
        answers = b""
        while True:
            more = link.recv(1000)
            if not more:
                break
            answers += more
        self.assertTrue(re.match(rb"^(-(TIMEOUT|CLUSTERDOWN) .*\r\n)?$", answers), answers)
