"""Leadership handed over by order, and by a server that is told to end."""
import signal

import redis

from cluster import CALM, RAFTCTL, Case, Load, run, wait_until


def transfer(cluster, *words):
    return run(RAFTCTL, "transfer", "-c", cluster.config, *words)


class Transfer(Case):
    def test_costs_no_client_of_the_leader_an_error(self):
        cluster = self.cluster(settings=CALM).start()
        for _ in range(3):
            load = Load([cluster.wait_for_leader()])
            load.wait_for_more()
            code, text = transfer(cluster)
            self.assertEqual(code, 0, text)
            load.wait_for_more()
            load.stop()
            self.assertEqual((load.unknown, load.refused), ({}, {}))

    def test_costs_no_client_of_the_next_leader_an_error(self):
        """What it has forwarded comes to its end before it takes over."""
        cluster = self.cluster(settings=CALM).start()
        pair = [cluster.wait_for_leader(), cluster.followers()[0]]
        load = Load(pair, threads=16)
        for number in range(8):
            load.wait_for_more(300)
            target = pair[(number + 1) % 2].number
            self.assertEqual(transfer(cluster, str(target)), (0, "server %d leads\n" % target))
        load.wait_for_more()
        load.stop()
        self.assertEqual((load.unknown, load.refused), ({}, {}))

    def test_by_order_under_load(self):
        cluster = self.cluster(settings=CALM).start()
        cluster.wait_for_leader()
        load = Load(cluster.servers)
        for _ in range(3):
            for server in cluster.servers:
                load.wait_for_more(20)
                code, text = transfer(cluster, str(server.number))
                self.assertEqual((code, text), (0, "server %d leads\n" % server.number))
        load.wait_for_more()
        leader = cluster.wait_for_leader()
        code, text = transfer(cluster)
        self.assertEqual(code, 0, text)
        self.assertNotEqual(text, "server %d leads\n" % leader.number)
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)
        # Of a command that was on its way from a third server to the old leader when it heard of the new
        # term, the outcome may be unknown.
        self.assertEqual(load.refused, {})

    def test_any_member_may_be_named(self):
        """raftctl finds the leader, though -s names a follower alone."""
        cluster = self.cluster(settings=CALM).start()
        cluster.wait_for_leader()
        follower = cluster.followers()[0]
        answers = []

        def ordered():  # the follower hears of its leader with the first heartbeat
            answers.append(run(RAFTCTL, "-s", "127.0.0.1:%d" % follower.port, "transfer"))
            return answers[-1][0] == 0
        wait_until("leadership moves", ordered)
        self.assertRegex(answers[-1][1], "^server \\d leads\n$")

    def test_what_cannot_be_done_is_said(self):
        cluster = self.cluster(settings=CALM).start()
        leader = cluster.wait_for_leader()
        dead, follower = cluster.followers()
        code, text = transfer(cluster, "9")
        self.assertEqual((code, text), (69, "raftctl: ERR server 9 is no member of the cluster\n"))
        dead.kill()
        wait_until("it is known to be down", lambda: "has not answered for an election timeout"
                   in transfer(cluster, str(dead.number))[1])
        self.assertEqual(transfer(cluster, "nobody")[0], 64)
        self.assertEqual(transfer(cluster, "1", "2")[0], 64)
        with follower.client() as client:
            with self.assertRaisesRegex(redis.ResponseError,
                                        "does not lead: order it from server %d" % leader.number):
                client.execute_command("RAFT.TRANSFER")
        with leader.client() as client:
            with self.assertRaisesRegex(redis.ResponseError, "takes the number of a server"):
                client.execute_command("RAFT.TRANSFER", "two")
            self.assertEqual(client.execute_command("RAFT.TRANSFER", leader.number), leader.number)
            self.assertEqual(client.execute_command("RAFT.TRANSFER"), follower.number)
        self.assertEqual(cluster.wait_for_leader().number, follower.number)

    def test_who_is_told_to_end_hands_over_first(self):
        cluster = self.cluster(settings=CALM).start()
        load = Load(cluster.servers)
        for _ in range(3):
            load.wait_for_more()
            leader = cluster.wait_for_leader()
            self.assertEqual(leader.end(signal.SIGTERM), 0)
            log = leader.log()[leader.log().rindex("SIGTERM"):]
            self.assertIn("leader -> follower: a newer term has begun", log)
            leader.start()
            load.wait_for_more()
        load.stop()
        cluster.wait_for_leader()
        load.check(self, cluster)  # who was refused while it ended was not executed

    def test_nobody_to_hand_over_to(self):
        cluster = self.cluster(count=1).start()
        leader = cluster.wait_for_leader()
        code, text = transfer(cluster)
        self.assertEqual((code, text), (69, "raftctl: ERR no server but 1 could lead now\n"))
        self.assertEqual(leader.end(signal.SIGTERM), 0)
        cluster = self.cluster(name="of three", settings=CALM).start()
        leader = cluster.wait_for_leader()
        for server in cluster.followers():
            server.signal(signal.SIGSTOP)
        self.assertEqual(leader.end(signal.SIGTERM), 0)
