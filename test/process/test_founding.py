"""Clusters are founded in one place, and two of them never mix, whatever they are called: directories of
another cluster, of the same cluster made anew, and of the wrong server."""
import json
import os
import re
import shutil
import signal
import time

from cluster import RAFTCTL, RAFTD, RAFTDUMP, Case, run, wait_until


class Founding(Case):
    def aside(self, server, name):
        """Takes the server's directory away, to come back under that name."""
        os.rename(server.data, server.data + "." + name)

    def back(self, server, name):
        os.rename(server.data + "." + name, server.data)

    def end_all(self, cluster):
        for server in cluster.running():
            self.assertEqual(server.end(signal.SIGTERM), 0)

    def two_clusters(self):
        """Cluster A, which does not run, and the directories of cluster B, made from the same
        cluster.conf, under another name."""
        cluster = self.cluster().start()
        with cluster[2].client() as client:
            client.set("whose", "B")
        cluster.wait_until_equal()
        self.end_all(cluster)
        for server in cluster.servers:
            self.aside(server, "b")
        cluster.start()
        with cluster[2].client() as client:
            client.set("whose", "A")
        cluster.wait_until_equal()
        self.end_all(cluster)
        return cluster

    def incarnation(self, server):
        return server.info().get("raft_incarnation")

    def assert_both_say(self, stranger, others):
        for server in [stranger] + others:
            wait_until("server %d says that there are two clusters" % server.number,
                       lambda: re.search(r"two clusters of this name: [0-9a-f]{16} here, "
                                         r"[0-9a-f]{16} there; [^\n]*raftd --init", server.log()))

    def assert_elects_without(self, cluster, absent):
        """The two others go on electing, each in turn."""
        rest = [server for server in cluster.servers if server is not absent]
        for _ in range(2):
            leader = wait_until("a leader", lambda: cluster.leader(rest))
            self.assertEqual(leader.end(signal.SIGTERM), 0)
            leader.start()
            wait_until("a leader", lambda: cluster.leader(rest))
        for server in rest:
            self.assertEqual(server.info()["raft_may_vote"], 1)
            self.assertEqual(server.info()["raft_unrecognised_servers"], 0)

    # ---- founding ----

    def test_nobody_leads_before_one_server_founds_the_cluster(self):
        cluster = self.cluster()
        for server in cluster.servers[1:]:
            server.init()
            server.start()
        for server in cluster.servers[1:]:
            wait_until("it says what is missing",
                       lambda: "found one with raftd --bootstrap on ONE server" in server.log())
            info = server.info()
            self.assertEqual((info["raft_blank"], info["raft_current_term"], info["raft_last_index"]),
                             (1, 0, 0))
        code, text = run(RAFTDUMP, cluster[2].data)
        self.assertIn("blank", text)
        cluster[1].bootstrap()
        cluster[1].start()
        cluster.wait_for_leader()
        with cluster[3].client() as client:
            self.assertTrue(client.set("a", "b"))
        cluster.wait_until_equal()
        infos = [server.info() for server in cluster.servers]
        self.assertEqual(len({info["raft_incarnation"] for info in infos}), 1)
        self.assertNotEqual(int(infos[0]["raft_incarnation"], 16), 0)
        # The log names the directory of each, so that one that is wiped is seen by everybody.
        for server in cluster.servers:
            for other in cluster.servers:
                wait_until("server %d knows server %d's directory" % (server.number, other.number),
                           lambda: server.info()["raft_member_%d" % other.number]["directory"] ==
                           other.info()["raft_directory_id"])
        # They go on without the one that founded it.
        cluster[1].kill()
        wait_until("a leader", lambda: cluster.leader(cluster.servers[1:]))

    def test_alone_a_server_founds_its_cluster(self):
        cluster = self.cluster(count=1)
        code, text = run(*cluster[1].words("--init"))
        self.assertEqual(code, 78, text)
        self.assertIn("--bootstrap", text)
        cluster[1].bootstrap()
        cluster[1].start()
        cluster.wait_for_leader()
        self.assertEqual(run(*cluster[1].words("--init", "--bootstrap"))[0], 64)

    # ---- clusters that must not mix ----

    def test_directory_of_another_cluster(self):
        cluster = self.two_clusters()
        self.aside(cluster[3], "a")
        self.back(cluster[3], "b")
        for server in cluster.servers:
            server.start()
        self.assert_both_say(cluster[3], cluster.servers[:2])
        self.assert_elects_without(cluster, cluster[3])
        with cluster[1].client() as client:
            self.assertEqual(client.get("whose"), "A")
            client.set("while", "it is away")
        self.assertEqual(cluster[3].end(signal.SIGTERM), 0)
        self.aside(cluster[3], "b")
        self.back(cluster[3], "a")
        cluster[3].start()
        cluster.wait_until_equal()
        self.assert_elects_without(cluster, cluster[3])
        # Its vote makes a majority.
        cluster[1].kill()
        wait_until("a leader", lambda: cluster.leader(cluster.servers[1:]))
        with cluster[3].client() as client:
            self.assertEqual(client.get("while"), "it is away")

    def test_the_others_were_made_anew(self):
        cluster = self.two_clusters()
        for server in cluster.servers[:2]:
            self.aside(server, "a")
            self.back(server, "b")
        for server in cluster.servers:
            server.start()
        self.assert_both_say(cluster[3], cluster.servers[:2])
        self.assert_elects_without(cluster, cluster[3])
        # What it was told to do works.
        self.assertEqual(cluster[3].end(signal.SIGTERM), 0)
        shutil.rmtree(cluster[3].data)
        cluster[3].init()
        cluster[3].start()
        cluster.wait_until_equal()
        with cluster[3].client() as client:
            self.assertEqual(client.get("whose"), "B")

    def test_alone_under_the_same_name(self):
        """Server 1 is started from a list of its own, at the address where the others expect it."""
        cluster = self.cluster().start()
        self.assertEqual(cluster[1].end(signal.SIGTERM), 0)
        self.aside(cluster[1], "own")
        with open(cluster.config) as config:
            whole = config.read()
        alone = cluster.config + ".alone"
        with open(alone, "w") as config:
            config.write(re.sub(r"(?m)^server [23] .*\n", "", whole))
        words = [RAFTD, "--config", alone, "--id", "1", "--data", cluster[1].data]
        self.assertEqual(run(*words, "--bootstrap")[0], 0)
        config, cluster.config = cluster.config, alone
        cluster[1].start()
        cluster.config = config
        self.assert_both_say(cluster[1], cluster.servers[1:])
        wait_until("it leads alone", lambda: cluster[1].info().get("raft_state") == "leader")
        wait_until("the others have a leader", lambda: cluster.leader(cluster.servers[1:]))
        code, text = run(RAFTCTL, "status", "-c", cluster.config)
        self.assertEqual(code, 69, text)
        self.assertRegex(text, r"2 CLUSTERS are here under one name")
        self.assertRegex(text, r"cluster [0-9a-f]{16}: server 1 \(leads\)\n")
        self.assertRegex(text, r"cluster [0-9a-f]{16}: server (2 \(leads\), 3|2, 3 \(leads\))\n")
        self.assertIn("2 clusters answer under one name", text)
        code, text = run(RAFTCTL, "status", "-c", cluster.config, "-w", "json")
        self.assertEqual(code, 69, text)
        self.assertEqual(json.loads(text.splitlines()[0])["clusters"], 2)

    def test_a_second_founding_is_refused(self):
        """Who lost its directory and founds the cluster again has founded another one."""
        cluster = self.cluster().start()
        self.assertEqual(cluster[1].end(signal.SIGTERM), 0)
        shutil.rmtree(cluster[1].data)
        cluster[1].bootstrap()
        cluster[1].start()
        self.assert_both_say(cluster[1], cluster.servers[1:])
        self.assert_elects_without(cluster, cluster[1])
        self.assertEqual(cluster[1].info()["raft_leader_id"], 0)

    def test_swapped_directories(self):
        cluster = self.cluster().start()
        with cluster[2].client() as client:
            client.set("kept", "yes")
        cluster.wait_until_equal()
        self.end_all(cluster)
        self.aside(cluster[1], "own")
        self.aside(cluster[2], "own")
        os.rename(cluster[1].data + ".own", cluster[2].data)
        os.rename(cluster[2].data + ".own", cluster[1].data)
        for server, other in ((cluster[1], cluster[2]), (cluster[2], cluster[1])):
            code, text = run(*server.words())
            self.assertEqual(code, 78, text)
            self.assertIn("belongs to server %d" % other.number, text)
        os.rename(cluster[1].data, cluster[1].data + ".own")
        os.rename(cluster[2].data, cluster[1].data)
        os.rename(cluster[1].data + ".own", cluster[2].data)
        for server in cluster.servers:
            server.start()
        cluster.wait_until_equal()
        for server in cluster.servers:
            self.assertEqual(server.info()["raft_unrecognised_servers"], 0)

    # ---- copies ----

    def clone(self, cluster, server):
        """A copy of the running server's directory, and how to run it at another address."""
        clone = self.cluster(name="clone")
        with open(cluster.config) as config:
            text = config.read()
        mine = "server %d 127.0.0.1:%d client=127.0.0.1:%d"
        here = mine % (server.number, server.peer_port, server.port)
        self.assertIn(here, text)
        copy = clone[server.number]
        with open(clone.config, "w") as config:
            config.write(text.replace(here, mine % (server.number, copy.peer_port, copy.port)))
        self.assertEqual(run("cp", "-a", server.data, copy.data)[0], 0)
        return copy

    def test_copy_beside_its_original(self):
        cluster = self.cluster().start()
        cluster.wait_until_equal()
        original = cluster.followers()[0]
        copy = self.clone(cluster, original)
        copy.start()
        others = [server for server in cluster.servers if server is not original]
        for server in others:
            wait_until("server %d refuses the copy" % server.number, lambda: re.search(
                r"refused a connection from server %d [^\n]*start 1 of this data directory runs at "
                r"127\.0\.0\.1:%d" % (original.number, original.peer_port), server.log()))
        self.assertRegex(copy.log(), "it refuses this server: start 1 of this data directory")
        time.sleep(2)
        self.assertEqual(copy.info().get("raft_leader_id"), 0)
        for server in cluster.servers:
            self.assertEqual(server.info()["raft_unrecognised_servers"], 0)
        copy.kill()
        self.assertEqual(original.info()["raft_may_vote"], 1)
        # Its later starts are its own, and its vote makes a majority.
        self.assertEqual(original.end(signal.SIGTERM), 0)
        original.start()
        cluster.wait_until_equal()
        others[0].kill()
        wait_until("a leader", lambda: cluster.leader([original, others[1]]))
