"""Bad input of every kind: a clear line that says what and where, the right exit code, and all else
unharmed."""
import glob
import os
import random
import re
import shutil
import signal
import socket
import struct

import redis

from cluster import CALM, PATIENCE, RAFTD, Case, run, wait_until


class Refusals(Case):
    def assert_refused(self, words, code, *parts):
        """The command ends with this code, and a last line that has all the parts."""
        got, text = run(*words)
        self.assertEqual(got, code, text)
        for part in parts:
            self.assertIn(part, text)
        return text

    def edit_config(self, cluster, old, new):
        """A copy of the cluster's configuration with one text replaced."""
        with open(cluster.config) as config:
            text = config.read()
        self.assertIn(old, text)
        path = os.path.join(cluster.directory, "edited.conf")
        with open(path, "w") as edited:
            edited.write(text.replace(old, new))
        return path

    # ---- the command line and cluster.conf ----

    def test_command_line(self):
        for words in ([], ["--id", "0"], ["--id", "one"], ["--id", "1", "more"], ["--nonsense"],
                      ["--id", "1", "--design", "other"], ["--id", "1", "--data", ""]):
            self.assert_refused([RAFTD, *words], 64, "raftd: ")
        cluster = self.cluster()
        for option in ("--log-level", "--log-format"):
            self.assert_refused(cluster[1].words(option, "other"), 64, option + " other: expected")

    def test_configuration(self):
        cluster = self.cluster()
        self.assert_refused([RAFTD, "-c", "/nonexistent/a.conf", "--id", "1"], 66,
                            "/nonexistent/a.conf: No such file")
        self.assert_refused([RAFTD, "-c", self.directory, "--id", "1"], 74, "Is a directory")
        self.assert_refused([RAFTD, "-c", cluster.config, "--id", "9"], 78, cluster.config,
                            'no line "server 9 ..."')
        cases = [("cluster-id test", "cluster-id test\nheartbeet 1s",
                  ':2: unknown key "heartbeet"; did you mean "heartbeat"?'),
                 ("cluster-id test", "cluster-id test\nheartbeat fast",
                  ':2: heartbeat: "fast" will not do; expected a duration'),
                 ("cluster-id test", "cluster-id test\ncluster-id again",
                  ":2: cluster-id: line 1 has given it already"),
                 ("cluster-id test", "", ': "cluster-id" is missing'),
                 ("client=", "clients=", ":2: server: "),
                 ("server 3", "server 2", ":4: server: server 2 is there twice")]
        for old, new, sentence in cases:
            path = self.edit_config(cluster, old, new)
            self.assert_refused([RAFTD, "-c", path, "--id", "1"], 78, path + sentence)

    # ---- data directories ----

    def test_directories_that_are_not_this_servers(self):
        cluster = self.cluster()
        one, two = cluster[1], cluster[2]
        self.assert_refused(one.words(), 66, "no data directory", "--init")
        os.mkdir(one.data)
        self.assert_refused(one.words(), 66, one.data, "--init")
        one.bootstrap()
        self.assert_refused(one.words("--init"), 73, one.data, "already initialised")
        os.mkdir(two.data)
        open(os.path.join(two.data, "letter.txt"), "w").close()
        self.assert_refused(two.words("--init"), 73, "letter.txt")
        self.assert_refused([RAFTD, "-c", cluster.config, "--id", "2", "--data", one.data], 78,
                            one.data + " belongs to server 1, and --id says 2")
        other = self.edit_config(cluster, "cluster-id test", "cluster-id elsewhere")
        self.assert_refused([RAFTD, "-c", other, "--id", "1", "--data", one.data], 78,
                            "belongs to cluster test, and", "elsewhere")
        fewer = self.edit_config(cluster, "server 3", "#server 3")
        self.assert_refused([RAFTD, "-c", fewer, "--id", "1", "--data", one.data], 78,
                            'no line "server 3 ..."')

    def test_second_process_on_the_same_directory(self):
        cluster = self.cluster().start()
        self.assert_refused(cluster[1].words(), 75, cluster[1].data)
        with cluster[1].client() as client:
            self.assertTrue(client.set("unharmed", "yes"))

    def test_port_in_use(self):
        cluster = self.cluster()
        for port in (cluster[1].peer_port, cluster[1].port):
            if not os.path.exists(cluster[1].data):
                cluster[1].init()
            with socket.create_server(("127.0.0.1", port)):
                self.assert_refused(cluster[1].words(), 69, "127.0.0.1:%d" % port,
                                    "Address already in use")

    def test_trace_that_cannot_be_opened(self):
        cluster = self.cluster()
        cluster[1].init()
        self.assert_refused(cluster[1].words("--trace", "/nonexistent/t"), 74, "/nonexistent/t")

    def test_damaged_segment(self):
        """One byte is changed amid the records: the server says where, and is repaired by the leader."""
        cluster = self.cluster().start()
        with cluster[1].client() as client:
            for number in range(200):
                client.set("key-%d" % number, "value-%d" % number)
        cluster.wait_until_equal()
        cluster[1].end(signal.SIGTERM)
        path = sorted(glob.glob(os.path.join(cluster[1].data, "log", "*.seg")))[0]
        with open(path, "r+b") as segment:
            found = segment.read().find(b"value-50")
            self.assertGreater(found, 0)
            segment.seek(found)
            segment.write(b"V")
        with cluster.wait_for_leader().client() as client:
            self.assertTrue(client.set("unharmed", "yes"))
        cluster[1].start()
        wait_until("the log is repaired", lambda: "the log is repaired" in cluster[1].log())
        said = cluster[1].log()
        self.assertRegex(said, r"level=error .*room=storage .*%s: offset \d+: damaged: "
                         % os.path.basename(path))
        self.assertRegex(said, r"level=error .*the log can be used through entry \d+; it once reached")
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        with cluster[1].client() as client:
            self.assertEqual(client.get("key-50"), "value-50")
        # The damaged bytes stay until their segment goes, and nothing depends on them any more.
        self.assertEqual(cluster[1].end(signal.SIGTERM), 0)
        with open(cluster[1].log_path, "w"):
            pass
        cluster[1].start()
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        self.assertIn("replaced by later entries: the log is whole", cluster[1].log())
        self.assertNotIn("once reached", cluster[1].log())

    def test_damaged_metadata(self):
        """One slot of two may be damaged; a server without any is refused."""
        cluster = self.cluster(count=1).start()
        server = cluster[1]
        with server.client() as client:
            client.set("a", "1")
        server.end(signal.SIGTERM)
        path = os.path.join(server.data, "metadata")
        with open(path, "rb") as metadata:
            whole = metadata.read()
        half = len(whole) // 2
        for damaged in (b"\xff" * half + whole[half:], whole[:half] + b"\xff" * half):
            shutil.copytree(server.data, server.data + ".kept")
            with open(path, "wb") as metadata:
                metadata.write(damaged)
            server.start()
            cluster.wait_for_leader()
            with server.client() as client:
                self.assertEqual(client.get("a"), "1")
            server.end(signal.SIGTERM)
            shutil.rmtree(server.data)
            os.rename(server.data + ".kept", server.data)
        with open(path, "wb") as metadata:
            metadata.write(b"\xff" * len(whole))
        self.assert_refused(server.words(), 65, "metadata", "raftctl member readmit")

    def test_torn_tail_is_cut_and_said(self):
        cluster = self.cluster(count=1).start()
        server = cluster[1]
        with server.client() as client:
            client.set("a", "1")
        server.end(signal.SIGTERM)
        paths = sorted(glob.glob(os.path.join(server.data, "log", "*.seg")))
        with open(paths[0], "r+b") as segment:
            used = len(segment.read().rstrip(b"\0"))
            segment.seek((used + 4096 + 7) // 8 * 8)
            segment.write(b"half a sector of an unfinished write" * 10)
        server.start()
        cluster.wait_for_leader()
        with server.client() as client:
            self.assertEqual(client.get("a"), "1")
            self.assertTrue(client.set("b", "2"))
        self.assertRegex(server.log(), r"level=warn .*room=storage .*torn tail of \d+ bytes is cut")

    # ---- from the network ----

    def assert_unharmed(self, cluster):
        for server in cluster.running():
            self.assertIsNone(server.process.poll(), "server %d ended" % server.number)
            with server.client() as client:
                self.assertTrue(client.set("unharmed", "yes"))
                self.assertEqual(client.get("unharmed"), "yes")

    @staticmethod
    def send_and_wait_for_end(port, data):
        """Sends bytes; returns what came back until the other side hung up."""
        got = b""
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            try:
                connection.sendall(data)
            except ConnectionError:
                pass  # it hung up before it had read all; what it said is there nevertheless
            try:
                while True:
                    more = connection.recv(65536)
                    if not more:
                        return got
                    got += more
            except ConnectionError:
                return got

    def test_garbage_to_the_peer_port(self):
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        term = leader.info()["raft_current_term"]
        rng = random.Random(1)
        garbage = [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, b"\xff" * 4096,
                   struct.pack("<I", 0xffffffff) + b"x" * 100,
                   *(rng.randbytes(rng.randrange(1, 5000)) for _ in range(20))]
        for data in garbage:
            for server in cluster.servers:
                self.send_and_wait_for_end(server.peer_port, data)
        for server in cluster.servers:
            self.assertRegex(server.log(), r"level=warn .*room=peers")
        # Silence, and a connection that is closed at once.
        silent = socket.create_connection(("127.0.0.1", leader.peer_port))
        socket.create_connection(("127.0.0.1", leader.peer_port)).close()
        self.assert_unharmed(cluster)
        silent.close()
        self.assertEqual(leader.info()["raft_current_term"], term)

    def test_garbage_to_the_client_port(self):
        cluster = self.cluster().start()
        cases = [(b"*1\r\n+PING\r\n", b"-ERR"), (b"*-5\r\n*1\r\n$x\r\n", b"-ERR"),
                 (b"*1\r\n$99999999999999\r\n", b"-ERR"), (b"*99999999\r\n", b"-ERR"),
                 (b"*2\r\n$3\r\nGET\r\n$-1\r\n", b"-ERR"), (b"x" * 200000, b"-ERR")]
        for data, answer in cases:
            got = self.send_and_wait_for_end(cluster[1].port, data)
            self.assertEqual(got[:4], answer, (data[:40], got))
        rng = random.Random(2)
        for _ in range(30):
            with cluster[2].raw() as connection:
                connection.sendall(rng.randbytes(rng.randrange(1, 3000)))
        with cluster[3].raw() as connection:
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf of it")
        self.assert_unharmed(cluster)
        with cluster[1].client() as client:
            self.assertIsNone(client.get("k"))

    def test_server_of_another_cluster(self):
        """It has our addresses for its peers, and is refused by name on both sides."""
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        term = leader.info()["raft_current_term"]
        stranger = self.cluster(name="elsewhere", cluster_id="elsewhere")
        with open(stranger.config, "w") as config:
            config.write("cluster-id elsewhere\n")
            for server in cluster.servers[1:]:
                config.write("server %d 127.0.0.1:%d client=127.0.0.1:%d\n" %
                             (server.number, server.peer_port, server.port))
            config.write("server 1 127.0.0.1:%d client=127.0.0.1:%d\n" %
                         (stranger[1].peer_port, stranger[1].port))
        stranger[1].bootstrap()
        stranger[1].start()
        wait_until("the stranger is refused by name",
                   lambda: re.search(r"level=warn .*elsewhere", cluster[2].log()))
        wait_until("the stranger is told so", lambda: re.search(
            r"level=(warn|error) .*cluster", stranger[1].log()))
        self.assert_unharmed(cluster)
        self.assertEqual(leader.info()["raft_current_term"], term)

    def test_server_that_is_no_member(self):
        cluster = self.cluster().start()
        stranger = self.cluster(name="more", count=4)
        path = stranger.config
        with open(path, "w") as config:
            config.write("cluster-id test\n")
            for server in cluster.servers + [stranger[4]]:
                config.write("server %d 127.0.0.1:%d client=127.0.0.1:%d\n" %
                             (server.number, server.peer_port, server.port))
        stranger[4].init()
        stranger[4].start()
        wait_until("it is refused", lambda: any(
            re.search(r"level=warn .*room=peers .*server 4 is no member", server.log())
            for server in cluster.servers))
        self.assert_unharmed(cluster)

    def test_wiped_server_is_recognised(self):
        """A voter whose disk was wiped may not vote again: it could vote committed entries away."""
        cluster = self.cluster().start()
        with cluster[1].client() as client:
            client.set("kept", "yes")
        cluster.wait_until_equal()
        wiped = cluster.followers()[0]
        wiped.kill()
        shutil.rmtree(wiped.data)
        wiped.init()
        wiped.start()
        wait_until("the others know it for another directory", lambda: any(
            re.search(r"level=(warn|error) .*director", s.log()) for s in cluster.servers
            if s is not wiped))
        others = [server for server in cluster.servers if server is not wiped]
        cluster.wait_for_leader(others)
        for server in others:
            with server.client() as client:
                self.assertEqual(client.get("kept"), "yes")

    def test_too_large_for_a_command(self):
        cluster = self.cluster(settings="max-value-bytes 64KiB\nmax-key-bytes 1KiB\n"
                                        "client-input-bytes 128KiB\nmessage-bytes 128KiB\n"
                                        "segment-bytes 1MiB\n").start()
        with cluster.followers()[0].client() as client:
            with self.assertRaises(redis.ResponseError):
                client.set("k" * 1025, "v")
            with self.assertRaises(redis.ResponseError):
                client.set("k", "v" * (64 * 1024 + 1))
            self.assertTrue(client.set("k" * 1024, "v" * 64 * 1024))
            with self.assertRaises(redis.ResponseError):
                client.append("k" * 1024, "v")
            self.assertEqual(client.strlen("k" * 1024), 64 * 1024)
        answer = self.send_and_wait_for_end(
            cluster[1].port, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + b"x" * 1000000)
        self.assertEqual(answer[:1], b"-", answer)
        self.assert_unharmed(cluster)
