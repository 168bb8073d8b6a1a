"""What stands between servers: bits that flip on the way, members that were given different limits."""
import re
import socket
import threading
import types

import redis

from cluster import CALM, Case, free_ports, wait_until

MIB = 1024 * 1024


class FlippingProxy:
    """Stands before a server's port. Once it is told to, it flips a bit in the length of the next
    frame that passes in that direction, whatever else the kernel's checksums would have seen."""

    def __init__(self, port, behind):
        self.behind = behind
        self.flip = threading.Event()
        self.flipped = 0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                front, _ = self.listener.accept()
            except OSError:
                return
            try:
                back = socket.create_connection(("127.0.0.1", self.behind))
            except OSError:
                front.close()
                continue
            threading.Thread(target=self.carry, args=(front, back, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(back, front, False), daemon=True).start()

    def exactly(self, source, size):
        data = b""
        while len(data) < size:
            part = source.recv(size - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def carry(self, source, target, forth):
        try:
            while True:
                length = self.exactly(source, 4)
                rest = self.exactly(source, int.from_bytes(length, "little"))
                if forth and rest[0] == 1 and self.flip.is_set():
                    self.flip.clear()
                    self.flipped += 1
                    length = bytes([length[0], length[1], length[2] ^ 8, length[3]])  # 512 KiB more
                target.sendall(length + rest)
        except (OSError, ConnectionError):
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()


class Peers(Case):
    def test_a_flipped_bit_in_a_length_makes_nobody_deaf(self):
        """The connection ends at once and comes again, and the follower goes on hearing its leader."""
        cluster = self.cluster(2, CALM)
        cluster.init()
        # The first server calls the second through the proxy; by its own file that is where it is.
        port = free_ports(1)[0]
        proxy = FlippingProxy(port, cluster[2].peer_port)
        self.addCleanup(proxy.close)
        self.own_file(cluster[1], lambda text: text.replace("127.0.0.1:%d client" % cluster[2].peer_port,
                                                            "127.0.0.1:%d client" % port))
        for server in cluster.servers:
            server.start()
        leader = cluster.wait_for_leader()
        with leader.client() as client:
            for turn in range(3):
                proxy.flip.set()
                for i in range(20):
                    client.set("key", "%d.%d" % (turn, i))
                wait_until("a bit was flipped", lambda: proxy.flipped == turn + 1)
                client.set("key", "after %d" % turn)
        wait_until("it was noticed", lambda: re.search(
            r"closed the connection from server 1: .*first bytes have a bad checksum", cluster[2].log()))
        cluster.wait_until_equal()

    def own_file(self, server, change):
        """Gives a server a cluster.conf of its own."""
        with open(server.cluster.config) as config:
            text = change(config.read())
        path = server.data + ".conf"
        with open(path, "w") as config:
            config.write(text)
        server.cluster = types.SimpleNamespace(config=path, directory=server.cluster.directory,
                                               servers=server.cluster.servers)

    def test_members_with_different_limits(self):
        """The smaller ones hold for the clients of all; the difference is said once."""
        cluster = self.cluster(3, CALM)
        self.own_file(cluster[3], lambda text: text + "max-value-bytes 1MiB\nclient-input-bytes 2MiB\n")
        cluster.start()
        wait_until("they know of each other", lambda: all(
            "max-value-bytes is" in server.log() for server in cluster.servers))
        for server in cluster.servers:
            with server.client(patient=False) as client:
                with self.assertRaisesRegex(redis.ResponseError, r"1048576 bytes \(max-value-bytes\)"):
                    client.set("large", b"x" * (MIB + 1))
                client.set("fits", b"x" * MIB)
                held = client.info("clients")
                self.assertEqual((held["max_value_bytes"], held["max_command_bytes"]),
                                 (MIB, 2 * MIB))
                self.assertEqual(held["max_key_bytes"], 64 * 1024)  # nobody differs
        cluster.wait_until_equal()
        for server in cluster.servers:
            self.assertEqual(len(re.findall("max-value-bytes is", server.log())),
                             2 if server.number == 3 else 1)
            self.assertEqual(len(re.findall("has ended", server.log())), 0)

    def test_what_was_taken_before_a_member_with_smaller_limits_came(self):
        """It gets that all the same, and nobody hangs up on anybody."""
        cluster = self.cluster(3, CALM)
        self.own_file(cluster[3], lambda text: text + "max-value-bytes 1MiB\nclient-input-bytes 2MiB\n")
        cluster.init()
        for server in cluster.servers[:2]:
            server.start()
        leader = cluster.wait_for_leader(cluster.servers[:2])
        with leader.client() as client:
            client.set("large", b"x" * (6 * MIB))
        cluster[3].start()
        cluster.wait_until_equal()
        with cluster[3].client(decode_responses=False) as client:
            self.assertEqual(len(client.get("large")), 6 * MIB)
        self.assertNotIn("closed the connection", cluster[3].log())
        with leader.client(patient=False) as client:
            with self.assertRaisesRegex(redis.ResponseError, "max-value-bytes"):
                client.set("large", b"x" * (MIB + 1))
