"""Data directories that are lost, or set back to an older copy: told clearly, and the cluster goes on."""
import os
import shutil
import signal

import redis

from cluster import CALM, RAFTCTL, SLOW, Case, Load, run, wait_until


class Unrecognised(Case):
    def await_unrecognised(self, cluster, lost, words):
        """All others say why they do not count the server; it knows, and says what to do."""
        for server in cluster.running():
            if server is not lost:
                wait_until("server %d does not recognise it" % server.number, lambda: words in
                           str(server.info().get("raft_unrecognised_%d" % lost.number)))
                self.assertRegex(server.log(), "server %d is not recognised: [^\n]*%s" %
                                 (lost.number, words))
        wait_until("it knows", lambda: lost.info().get("raft_may_vote") == 0)
        self.assertRegex(lost.log(), "does not recognise this server: [^\n]*" + words)
        self.assertRegex(lost.log(), "put its own newest data directory back, or, [^\n]*run: "
                         "raftctl member readmit %d" % lost.number)

    def await_met(self, cluster, server):
        """The others have met this start of the server: their disks know of it."""
        said = "connection from server %d " % server.number
        for other in cluster.servers:
            if other is not server:
                before = self.connections.get(other.number, 0)
                wait_until("server %d has met it" % other.number,
                           lambda: other.log().count(said) > before)
        self.connections = {s.number: s.log().count(said) for s in cluster.servers}
        # What a peer shows is saved before anything that it says is answered.
        with server.client() as client:
            wait_until("it serves", lambda: self.try_set(client))

    @staticmethod
    def try_set(client):
        try:
            return client.set("met", "yes")
        except redis.RedisError:
            return False

    def setUp(self):
        super().setUp()
        self.connections = {}

    def no_leader_without(self, cluster, needed, lost):
        """With `needed` down, the lost server and one other are no majority."""
        needed.kill()
        rest = [s for s in cluster.servers if s not in (needed, lost)]
        wait_until("nobody leads", lambda: all(s.info().get("raft_leader_id") == 0 for s in rest))
        elections = rest[0].info()["raft_current_term"]
        with rest[0].client(patient=False, socket_timeout=30 * SLOW) as client:
            with self.assertRaises(redis.ResponseError):
                client.set("never", "there")
        self.assertEqual(rest[0].info()["raft_leader_id"], 0)
        code, text = run(RAFTCTL, "status", "-c", cluster.config)
        self.assertEqual(code, 69)
        self.assertIn("no leader; 1 of 3 voters answer and count, and one needs 2", text)
        self.assertRegex(text, r"\n +%d .* not recognised, its vote does not count" % lost.number)
        self.assertEqual(rest[0].info()["raft_current_term"], elections)
        needed.start()
        cluster.wait_for_leader()

    def test_wiped_directory(self):
        cluster = self.cluster().start()
        lost = cluster.followers()[0]
        load = Load([server for server in cluster.servers if server is not lost])
        load.wait_for_more()
        lost.kill()
        shutil.rmtree(lost.data)
        lost.init()
        lost.start()
        self.await_unrecognised(cluster, lost, "another data directory")
        wait_until("raftctl says so", lambda: "not recognised, its vote does not count" in
                   run(RAFTCTL, "status", "-c", cluster.config)[1])
        wait_until("it is not counted", lambda: "2 of 3 voters follow it" in
                   run(RAFTCTL, "status", "-c", cluster.config)[1])
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)  # through the lost one, too
        self.no_leader_without(cluster, next(s for s in cluster.followers() if s is not lost), lost)
        # It remembers, and is remembered.
        for server in cluster.servers:
            self.assertEqual(server.end(signal.SIGTERM), 0)
        for server in cluster.servers:
            server.start()
        leader = cluster.wait_for_leader()
        self.assertIsNot(leader, lost)
        self.await_unrecognised(cluster, lost, "")
        self.assertIn("this server may not vote", lost.log())
        load.check(self, cluster)

    def test_older_copy(self):
        cluster = self.cluster().start()
        lost = cluster.followers()[0]
        self.assertEqual(lost.end(signal.SIGTERM), 0)
        copy = lost.data + ".copy"
        self.assertEqual(run("cp", "-a", lost.data, copy)[0], 0)
        self.connections = {s.number: s.log().count("connection from server %d " % lost.number)
                            for s in cluster.servers}
        lost.start()
        self.await_met(cluster, lost)
        load = Load(cluster.servers)
        load.wait_for_more()
        lost.kill()
        shutil.rmtree(lost.data)
        os.rename(copy, lost.data)
        lost.start()
        self.await_unrecognised(cluster, lost, "set back to an older copy")
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)

    def readmit(self, cluster, lost, code=0):
        words = [RAFTCTL, "member", "readmit", str(lost.number), "-c", cluster.config]
        if code == 0:  # a leader that is new, or is met anew, may ask for another try
            wait_until("it is readmitted", lambda: run(*words)[0] in (0, None) or
                       "is readmitted already" in run(*words)[1])
            return
        got, text = run(*words)
        self.assertEqual(got, code, text)
        return text

    def assert_votes_again(self, cluster, lost):
        for server in cluster.running():
            wait_until("server %d recognises all" % server.number,
                       lambda: server.info().get("raft_unrecognised_servers") == 0)
        wait_until("it may vote", lambda: lost.info().get("raft_may_vote") == 1)
        self.assertIn("this server was readmitted by entry", lost.log())
        # With one of the others down nobody leads without it.
        other = next(server for server in cluster.running() if server is not lost)
        other.kill()
        rest = [server for server in cluster.servers if server is not other]
        leader = wait_until("a leader", lambda: cluster.leader(rest))
        with leader.client() as client:
            client.set("with", "its vote")
        other.start()
        cluster.wait_until_equal()

    def assert_says_who_leads(self, cluster, lost):
        """Whom a follower tells to go elsewhere can do so. What it says may be older than the leader."""
        def told():
            leader = cluster.leader()
            with lost.client(patient=False) as client:
                try:
                    client.execute_command("RAFT.MEMBER", "READMIT", lost.number)
                except redis.ResponseError as error:
                    return leader and str(error) == ("this server does not lead: order it from server %d" %
                                                     leader.number)
            self.fail("it was taken by a server that does not lead")
        wait_until("the follower says who leads", told)

    def test_readmitted_when_any_member_is_asked(self):
        """raftctl finds the leader, whichever server -s names."""
        cluster = self.cluster(settings=CALM).start()
        follower, lost = cluster.followers()
        lost.kill()
        shutil.rmtree(lost.data)
        lost.init()
        lost.start()
        self.await_unrecognised(cluster, lost, "another data directory")
        words = [RAFTCTL, "-s", "127.0.0.1:%d" % follower.port, "member", "readmit", str(lost.number)]
        answers = []
        wait_until("it is readmitted", lambda: answers.append(run(*words)) or answers[-1][0] == 0 or
                   "is readmitted already" in answers[-1][1])
        self.assertNotIn("there is no leader", "".join(text for _, text in answers[-1:]))
        self.assert_votes_again(cluster, lost)

    def test_readmitted_after_its_directory_was_lost(self):
        cluster = self.cluster().start()
        lost = cluster.followers()[0]
        self.assertIn("there is nothing to readmit", self.readmit(cluster, lost, code=69))
        with lost.client() as client:
            client.set("kept", "value")
        lost.kill()
        wait_until("it is not connected", lambda: self.leader_says(cluster, lost, "contact_ms"))
        shutil.rmtree(lost.data)
        lost.init()
        lost.start()
        self.await_unrecognised(cluster, lost, "another data directory")
        self.assert_says_who_leads(cluster, lost)
        with cluster.wait_for_leader().client(patient=False) as client:
            with self.assertRaisesRegex(redis.ResponseError, "server 9 is no member"):
                client.execute_command("RAFT.MEMBER", "READMIT", 9)
            with self.assertRaisesRegex(redis.ResponseError, "takes the number of a server"):
                client.execute_command("RAFT.MEMBER", "READMIT", "x")
            with self.assertRaisesRegex(redis.ResponseError, "unknown subcommand"):
                client.execute_command("RAFT.MEMBER", "FORGET", 1)
        self.readmit(cluster, lost)
        self.assert_votes_again(cluster, lost)
        # All remember: after a restart of everybody, too.
        for server in cluster.servers:
            self.assertEqual(server.end(signal.SIGTERM), 0)
        for server in cluster.servers:
            server.start()
        cluster.wait_for_leader()
        for server in cluster.servers:
            wait_until("server %d recognises all" % server.number,
                       lambda: server.info().get("raft_unrecognised_servers") == 0)
        self.assertEqual(lost.info()["raft_may_vote"], 1)
        self.assertGreater(lost.info()["raft_readmitted"], 1)

    @staticmethod
    def leader_says(cluster, server, key):
        leader = cluster.leader()
        return leader is not None and key in str(leader.info().get("raft_peer_%d" % server.number))

    def test_readmitted_after_an_older_copy(self):
        cluster = self.cluster().start()
        lost = cluster.followers()[0]
        self.assertEqual(lost.end(signal.SIGTERM), 0)
        copy = lost.data + ".copy"
        self.assertEqual(run("cp", "-a", lost.data, copy)[0], 0)
        for _ in range(2):
            lost.start()
            cluster.wait_until_equal()
            lost.kill()
        shutil.rmtree(lost.data)
        os.rename(copy, lost.data)
        lost.start()
        self.await_unrecognised(cluster, lost, "set back to an older copy")
        # The starts that were seen may be another copy's, which runs somewhere.
        self.assertIn("a later start of server", self.readmit(cluster, lost, code=69))
        for _ in range(3):
            self.assertEqual(lost.end(signal.SIGTERM), 0)
            lost.start()
            wait_until("it is connected", lambda: lost.info().get("raft_leader_id"))
            if run(RAFTCTL, "member", "readmit", str(lost.number), "-c", cluster.config)[0] == 0:
                break
        self.assert_votes_again(cluster, lost)

    def test_its_own_directory_is_put_back(self):
        cluster = self.cluster().start()
        lost = cluster.followers()[0]
        with lost.client() as client:
            client.set("kept", "value")
        self.assertEqual(lost.end(signal.SIGTERM), 0)
        own = lost.data + ".own"
        os.rename(lost.data, own)
        lost.init()
        lost.start()
        self.await_unrecognised(cluster, lost, "another data directory")
        self.assertEqual(lost.end(signal.SIGTERM), 0)
        shutil.rmtree(lost.data)
        os.rename(own, lost.data)
        lost.start()
        for server in cluster.servers:
            wait_until("server %d knows nobody unrecognised" % server.number,
                       lambda: server.info().get("raft_unrecognised_servers") == 0)
            if server is not lost:
                self.assertIn("server %d is recognised again" % lost.number, server.log())
        self.assertEqual(lost.info()["raft_may_vote"], 1)
        cluster.wait_until_equal()
        # Its vote makes a majority again.
        leader = cluster.wait_for_leader()
        leader.kill()
        cluster.wait_for_leader()
        with lost.client() as client:
            self.assertEqual(client.get("kept"), "value")
