"""Names with several addresses, names that nobody knows as yet, and a name service that is silent: in
a mount namespace with an /etc/hosts of the test's own."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

from cluster import CALM, Case, die_with_parent, wait_until

# In the namespace the files of the test stand in the places of the system's.
SCRIPT = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && ' \
         'mount --bind "$3" /etc/nsswitch.conf && shift 3 && exec "$@"'


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare") and
                     all(os.path.exists(path) for path in
                         ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf")),
                     "an /etc/hosts of its own needs root")
class Names(Case):
    def prepare(self, names, count=3, silent=False):
        """A cluster whose servers are called by name; `names`: what /etc/hosts says of them."""
        cluster = self.cluster(count, CALM)
        with open(cluster.config) as config:
            text = config.read()
        for server in cluster.servers:
            text = text.replace("127.0.0.1:%d client=127.0.0.1:" % server.peer_port,
                                "raft%d:%d client=raft%d:" % (server.number, server.peer_port,
                                                              server.number))
        with open(cluster.config, "w") as config:
            config.write(text)
        self.files = [os.path.join(self.directory, name) for name in ("hosts", "resolv", "switch")]
        self.write_hosts(names)
        with open(self.files[1], "w") as resolv:
            if silent:  # this test listens there, and says nothing
                self.silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.silent.bind(("127.0.0.53", 53))
                self.addCleanup(self.silent.close)
                resolv.write("nameserver 127.0.0.53\noptions timeout:10 attempts:3\n")
        with open(self.files[2], "w") as switch:
            switch.write("hosts: files%s\n" % (" dns" if silent else ""))
        cluster.init()
        return cluster

    def write_hosts(self, names):
        with open(self.files[0], "w") as hosts:
            hosts.write(names)

    def start(self, server):
        with open(server.log_path, "ab") as log:
            server.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", SCRIPT, "sh", *self.files, *server.words()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def test_several_addresses(self):
        """The first one is dead to all but its own server; it listens at all that are its machine's,
        and says which."""
        cluster = self.prepare("203.0.113.7 raft1\n127.0.0.1 raft1\n::1 raft1\n"
                               "203.0.113.7 raft2\n127.0.0.1 raft2\n127.0.0.1 raft3\n")
        for server in cluster.servers:
            self.start(server)
        leader = cluster.wait_for_leader()
        with leader.client() as client:
            client.set("key", "value")
        cluster.wait_until_equal()
        wait_until("it says where it listens", lambda: re.search(
            r"listening for clients at raft1:\d+ \((::1, )?127\.0\.0\.1(, ::1)?\)", cluster[1].log()))
        if os.path.exists("/proc/net/if_inet6") and "::1" in cluster[1].log():
            with socket.create_connection(("::1", cluster[1].port)) as connection:
                connection.sendall(b"PING\r\n")
                self.assertEqual(connection.recv(100), b"+PONG\r\n")

    def test_an_own_name_that_is_not_known_as_yet(self):
        """It is waited for, with a line, and is no wrong configuration."""
        cluster = self.prepare("127.0.0.1 elsewhere\n", 1)
        self.start(cluster[1])
        wait_until("it says so", lambda: "is not known as yet, trying again: resolve raft1" in
                   cluster[1].log())
        self.write_hosts("127.0.0.1 raft1\n")
        wait_until("it leads", lambda: cluster[1].info().get("raft_state") == "leader")
        self.assertEqual(cluster[1].end(signal.SIGTERM), 0)
        self.write_hosts("127.0.0.1 elsewhere\n")
        self.start(cluster[1])
        self.assertEqual(cluster[1].process.wait(60), 78)
        cluster[1].process = None

    def test_a_silent_name_service_holds_nobody_up(self):
        """The own names are in /etc/hosts, another's is asked of a server that says nothing: SIGTERM
        ends it as ever. So it does one that waits for its own."""
        try:
            cluster = self.prepare("127.0.0.1 raft1\n127.0.0.1 raft2\n", 3, silent=True)
        except OSError as error:
            self.skipTest("no name server can be played here: %s" % error)
        for server in cluster.servers[:2]:
            self.start(server)
        cluster.wait_for_leader(cluster.servers[:2])
        wait_until("it is said", lambda: "the name service has not answered as yet" in
                   cluster[1].log())
        for server in cluster.servers[:2]:
            begun = time.monotonic()
            self.assertEqual(server.end(signal.SIGTERM), 0)
            self.assertLess(time.monotonic() - begun, 8)  # the name service takes 30 s, or more
        self.start(cluster[3])
        wait_until("it waits for its own name", lambda: "is not known as yet" in cluster[3].log())
        begun = time.monotonic()
        self.assertEqual(cluster[3].end(signal.SIGTERM), 0)
        self.assertLess(time.monotonic() - begun, 8)
