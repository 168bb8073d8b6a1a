"""A disk that does not answer for a while: it is said while it lasts, and nobody waits for it in vain.

The disk is held up by a library that is built here and preloaded into one server."""
import json
import os
import subprocess
import time
import unittest

import cluster
from cluster import CALM, RAFTCTL, SLOW, Case, run, wait_until
from test_stop import command

SOURCE = os.path.join(cluster.TOP, "test", "process", "stalled_disk.c")
STALLED = b"-CLUSTERDOWN this server has stalled, INFO raft says on what; nothing was executed\r\n"


def hear(link, size=1):
    """At least so many bytes."""
    heard = b""
    while len(heard) < size:
        more = link.recv(10000)
        if not more:
            raise ConnectionError("hung up on after %r" % heard)
        heard += more
    return heard


@unittest.skipIf(SLOW > 1, "a sanitizer wants to be loaded first")
class Stall(Case):
    def setUp(self):
        super().setUp()
        self.library = os.path.join(self.directory, "stalled_disk.so")
        subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-o",
                        self.library, SOURCE, "-ldl"], check=True)

    def use(self, design):
        before, cluster.DESIGN = cluster.DESIGN, design
        self.addCleanup(setattr, cluster, "DESIGN", before)

    def start(self, servers):
        """Each server with the library, and a file of its own whose being there stalls its disk."""
        servers.init()
        for server in servers.servers:
            server.stalled = server.data + ".stalled"
            os.environ.update(LD_PRELOAD=self.library, STALLED_DISK=server.stalled)
            try:
                server.start()
            finally:
                del os.environ["LD_PRELOAD"], os.environ["STALLED_DISK"]
        servers.wait_for_leader()
        return servers

    def stall(self, server):
        open(server.stalled, "w").close()
        self.addCleanup(self.release, server)

    @staticmethod
    def release(server):
        if os.path.exists(server.stalled):
            os.remove(server.stalled)

    def status(self, servers):
        code, text = run(RAFTCTL, "status", "-c", servers.config, "-w", "json")
        return code, {row["id"]: row for row in json.loads(text.split("\n")[0])["servers"]}

    def check_one(self, servers, server, role):
        servers.wait_until_equal()
        said = server.log().count("the disk has not answered")
        writer, reader, late = server.raw(), server.raw(), server.raw()
        writer.sendall(command("SET", "before", role))
        self.assertEqual(hear(writer), b"+OK\r\n")
        servers.wait_until_equal()
        self.stall(server)
        begun = time.monotonic()
        # Under way, and behind each something that shows whether its answer stays the only one.
        writer.sendall(command("SET", "during", role) + command("PING"))
        time.sleep(0.1)
        reader.sendall(command("GET", "before") + command("ECHO", "behind"))
        # It is seen while it lasts, and INFO has what was known.
        info = wait_until("INFO tells", lambda: (lambda i: i if i.get("raft_stalled_ms") else None)
                          (server.info()))
        self.assertEqual((info["raft_stalled_on"], info["raft_id"], info["raft_state"]),
                         ("disk", server.number, role))
        self.assertGreater(info["raft_status_age_ms"], 0)
        wait_until("the log tells", lambda: server.log().count("the disk has not answered") > said)
        code, rows = self.status(servers)
        self.assertEqual(code, 69)
        self.assertGreater(rows[server.number]["stalled_ms"], 0)
        self.assertEqual([n for n, row in rows.items() if row.get("stalled_ms")], [server.number])
        text = run(RAFTCTL, "status", "-c", servers.config)[1]
        self.assertRegex(text, r"its disk has not answered for \S+; this is of \S+ ago")
        # What is new is refused at once; what needs no server is answered.
        late.sendall(command("SET", "late", role) + command("GET", "before") + command("PING") +
                     command("CONFIG", "SET", "heartbeat", "49ms"))
        wanted = STALLED + STALLED + b"+PONG\r\n" + STALLED
        self.assertEqual(hear(late, len(wanted)), wanted)
        # What is under way ends in time, and in order.
        self.assertRegex(hear(writer, 50), rb"^-TIMEOUT outcome unknown.*\r\n\+PONG\r\n$")
        self.assertEqual(hear(reader, 50), STALLED + b"$6\r\nbehind\r\n")
        self.assertLess(time.monotonic() - begun, 20)
        self.assertTrue(os.path.exists(server.stalled))
        time.sleep(max(0, 2 - (time.monotonic() - begun)))
        self.release(server)
        wait_until("it goes on", lambda: server.info().get("raft_stalled_ms") == 0)
        wait_until("it says so", lambda: "this server goes on, after" in server.log())
        # The late answers went nowhere: each connection has its next answer next.
        for link in (writer, reader, late):
            wait_until("a leader", lambda l=link: (l.sendall(command("GET", "before")), hear(l))[1]
                       == b"$%d\r\n%s\r\n" % (len(role), role.encode()))
            link.close()
        wait_until("all is well", lambda: self.status(servers)[0] == 0)

    def check_design(self, design):
        self.use(design)
        servers = self.start(self.cluster(settings=CALM + "forward-timeout 1s\n"))
        leader = servers.wait_for_leader()
        self.check_one(servers, leader, "leader")
        servers.wait_for_leader()
        self.check_one(servers, servers.followers()[0], "follower")

    def test_is_said_while_it_lasts_per_state(self):
        self.check_design("per-state")

    def test_is_said_while_it_lasts_dispatch(self):
        self.check_design("dispatch")

    def test_is_said_while_it_lasts_step(self):
        self.check_design("step")
