"""A cluster of three real servers for the measurements, in a directory of its own: it takes free
ports on 127.0.0.1, and nothing of it is left when it is closed or this process dies."""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time

SERVERS = 3
PATIENCE = 30  # seconds; what takes longer is broken

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    PR_SET_PDEATHSIG = 1
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count):
    """Ports that nobody listens on, outside of those that the kernel hands to outgoing connections."""
    ports = []
    while len(ports) < count:
        port = random.randrange(12000, 31000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


class Unlucky(Exception):
    """A measurement that came to nothing, as a command got an error or no answer."""


class Client:
    """Speaks RESP over one connection, a command at a time."""

    def __init__(self, port, seconds=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """The answer: "+OK" and "-ERR ..." as they are, a bulk string as its text."""
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            out.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(out))
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        if line[:1] != b"$":
            return line.strip().decode()
        return self.file.read(int(line[1:]) + 2)[:-2].decode()


class Server:
    def __init__(self, cluster, number, peer_port, port):
        self.cluster = cluster
        self.number = number
        self.peer_port = peer_port
        self.port = port
        self.process = None

    def path(self, name):
        return os.path.join(self.cluster.directory, "%d%s" % (self.number, name))

    def words(self):
        return [self.cluster.raftd, "--config", self.cluster.config, "--id", str(self.number),
                "--data", self.path(""), "--design", self.cluster.design]

    def init(self):
        made = "--bootstrap" if self.number == 1 else "--init"
        subprocess.run(self.words() + [made], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    def start(self, environment=None):
        with open(self.path(".log"), "ab") as log:
            self.process = subprocess.Popen(
                self.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent, env=dict(os.environ, **(environment or {})))

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def info(self):
        """INFO raft as a dictionary; empty when there is no answer."""
        try:
            with Client(self.port, 2) as client:
                text = client.ask("INFO", "raft")
        except OSError:
            return {}
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class Cluster:
    def __init__(self, raftd, design, directory, environment=None):
        """`environment` of a server's number: what it gets beside its own."""
        self.raftd = raftd
        self.design = design
        self.directory = directory
        os.makedirs(directory)
        self.config = os.path.join(directory, "cluster.conf")
        ports = free_ports(2 * SERVERS)
        self.servers = [Server(self, i + 1, ports[2 * i], ports[2 * i + 1])
                        for i in range(SERVERS)]
        with open(self.config, "w", encoding="utf-8") as config:
            config.write("cluster-id compare\n")
            for s in self.servers:
                config.write("server %d 127.0.0.1:%d client=127.0.0.1:%d\n" %
                             (s.number, s.peer_port, s.port))
        for server in self.servers:
            server.init()
        for server in self.servers:
            server.start(environment(server.number) if environment else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            if server.process is not None:
                server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def leader(self):
        """The server that all running ones follow, or None."""
        running = [s for s in self.servers if s.process is not None]
        infos = {s.number: s.info() for s in running}
        for server in running:
            if infos[server.number].get("raft_state") != "leader":
                continue
            if all(i.get("raft_leader_id") == str(server.number) for i in infos.values()):
                return server
        return None

    def wait_for(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        raise Unlucky("%s: not so in time: %s; see %s" %
                      (self.design, what, self.directory))

    def wait_for_leader(self):
        return self.wait_for("a leader whom all follow", self.leader)

    def wait_until_even(self):
        def even():
            applied = {s.info().get("raft_last_applied") for s in self.servers}
            return len(applied) == 1 and None not in applied
        return self.wait_for("all have applied the same", even)
