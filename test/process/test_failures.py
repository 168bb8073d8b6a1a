"""Servers that are killed, stopped, paused and cut off: nothing acknowledged is ever lost."""
import signal
import threading
import time

import redis

from cluster import CALM, PATIENCE, SLOW, Case, Load, wait_until


class Failures(Case):
    def test_elects_one_leader_and_takes_commands_everywhere(self):
        cluster = self.cluster(settings=CALM).start()
        infos = [server.info() for server in cluster.servers]
        self.assertEqual([info["raft_state"] for info in infos].count("leader"), 1)
        for server in cluster.servers:
            with server.client() as client: # since the server's start, not the machine's
                self.assertLessEqual(int(client.info("raft")["raft_state_seconds"]),
                                     int(client.info("server")["uptime_in_seconds"]) + 1)
        for server in cluster.servers:
            with server.client() as client:
                self.assertTrue(client.set("through-%d" % server.number, server.number))
        for server in cluster.servers:
            with server.client() as client:
                self.assertEqual(client.mget("through-1", "through-2", "through-3"),
                                 ["1", "2", "3"])
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

    def test_kill_each_in_turn_under_load(self):
        cluster = self.cluster().start()
        load = Load(cluster.servers)
        for server in cluster.servers:
            load.wait_for_more()
            server.kill()
            load.wait_for_more()
            server.start()
            wait_until("server %d follows again" % server.number,
                       lambda: server.info().get("raft_leader_id"))
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)

    def test_kill_the_leader_again_and_again_under_load(self):
        cluster = self.cluster().start()
        load = Load(cluster.servers)
        for _ in range(4):
            load.wait_for_more()
            leader = cluster.wait_for_leader()
            leader.kill()
            others = [server for server in cluster.servers if server is not leader]
            self.assertIsNot(cluster.wait_for_leader(others), leader)
            load.wait_for_more()
            leader.start()
        load.stop()
        cluster.wait_for_leader()
        load.check(self, cluster)

    def test_kill_all_at_once_under_load(self):
        cluster = self.cluster().start()
        load = Load(cluster.servers)
        for _ in range(2):
            load.wait_for_more()
            for server in cluster.servers:
                server.signal(signal.SIGKILL)
            for server in cluster.servers:
                server.process.wait(PATIENCE)
                server.process = None
            for server in cluster.servers:
                server.start()
            cluster.wait_for_leader()
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)

    def test_without_the_leader_goes_on_through_another(self):
        cluster = self.cluster().start()
        leader = cluster.wait_for_leader()
        with leader.client() as client:
            client.set("kept", "value")
        other = next(server for server in cluster.servers if server is not leader)
        leader.kill()
        with other.client() as client:
            self.assertTrue(client.set("later", "too"))
            self.assertEqual(client.get("kept"), "value")
        leader.start()
        with leader.client(retry_on_timeout=False) as client:
            wait_until("the old leader is back", lambda: leader.info().get("raft_leader_id"))
            self.assertEqual(client.mget("kept", "later"), ["value", "too"])

    def test_sigterm_under_load_ends_with_0_and_loses_nothing(self):
        cluster = self.cluster().start()
        load = Load(cluster.servers)
        for server in cluster.servers:
            load.wait_for_more()
            self.assertEqual(server.end(signal.SIGTERM), 0)
            self.assertIn("SIGTERM", server.log())
            server.start()
            cluster.wait_for_leader()
        load.stop()
        load.check(self, cluster)
        for server in cluster.servers:
            self.assertEqual(server.end(signal.SIGINT), 0)

    def test_paused_leader_is_replaced_and_gives_no_stale_read(self):
        cluster = self.cluster().start()
        for attempt in range(3):
            leader = cluster.wait_for_leader()
            term = leader.info()["raft_current_term"]
            others = [server for server in cluster.servers if server is not leader]
            with leader.client() as client:
                client.set("x", "old-%d" % attempt)
            waiting = [leader.raw() for _ in range(5)]
            leader.signal(signal.SIGSTOP)
            begun = time.monotonic()
            wait_until("another leads", lambda: cluster.leader(others))
            # Two election timeouts at most, then two rounds: less than a second, unless the machine
            # is busy with other things.
            self.assertLess(time.monotonic() - begun, 20 * SLOW)
            with others[0].client() as client:
                client.set("x", "new-%d" % attempt)
            # These are the first things the old leader reads when it goes on.
            for connection in waiting:
                connection.sendall(b"GET x\r\n")
            leader.signal(signal.SIGCONT)
            for connection in waiting:
                with connection, connection.makefile("rb") as answers:
                    answer = answers.readline()
                    if answer.startswith(b"$"):
                        self.assertEqual(answers.readline(), b"new-%d\r\n" % attempt)
                    else:
                        self.assertEqual(answer[:1], b"-", answer)
            wait_until("the old leader has heard of it", lambda: leader.info().get(
                "raft_current_term", 0) > term)

    def test_paused_follower_disturbs_nobody(self):
        seconds = max(1, 0.3 * SLOW)
        cluster = self.cluster(settings="election-timeout %dms..%dms\n" % (
            1000 * seconds, 1500 * seconds)).start()
        leader = cluster.wait_for_leader()
        term = leader.info()["raft_current_term"]
        paused = cluster.followers()[0]
        paused.signal(signal.SIGSTOP)
        with leader.client() as client:
            for number in range(50):
                client.set("k%d" % number, number)
            time.sleep(2 * seconds)  # so long that it must think that there is no leader
            client.set("last", "one")
        paused.signal(signal.SIGCONT)
        with paused.client() as client:
            wait_until("it answers again", lambda: client.get("last") == "one")
        info = leader.info()
        self.assertEqual((info["raft_state"], info["raft_current_term"]), ("leader", term))

    def test_forwarded_commands_of_a_killed_leader(self):
        """Each gets an answer, a definite error or -TIMEOUT, and none is executed twice."""
        cluster = self.cluster(settings="forward-timeout 2s\n").start()
        leader = cluster.wait_for_leader()
        follower = next(server for server in cluster.servers if server is not leader)
        outcomes = {"done": 0, "unknown": 0, "refused": 0}
        values = []
        lock = threading.Lock()

        def increment():
            with follower.client(patient=False) as client:
                for _ in range(200):
                    try:
                        value, kind = client.incr("n"), "done"
                    except redis.ResponseError as error:
                        unknown = str(error).startswith("TIMEOUT")
                        value, kind = None, "unknown" if unknown else "refused"
                    with lock:
                        outcomes[kind] += 1
                        values.extend([value] if value else [])

        threads = [threading.Thread(target=increment) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until("commands are under way", lambda: outcomes["done"] > 100)
        leader.kill()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        with follower.client() as client:
            total = int(client.get("n"))
        self.assertEqual(sum(outcomes.values()), 8 * 200)
        self.assertEqual(len(values), len(set(values)), "an answer was given twice")
        self.assertGreaterEqual(total, outcomes["done"])
        self.assertLessEqual(total, outcomes["done"] + outcomes["unknown"])

    def test_minority_refuses_and_majority_returns(self):
        cluster = self.cluster(settings="leader-wait 300ms\n").start()
        with cluster[1].client() as client:
            client.set("a", "1")
        cluster[2].kill()
        cluster[3].kill()
        with cluster[1].client(patient=False) as client:
            def refused():
                try:
                    client.set("a", "2")
                except redis.ResponseError as error:
                    return str(error)
                self.fail("a minority acknowledged a write")
            wait_until("refusals are definite", lambda: refused().startswith("CLUSTERDOWN"))
            with self.assertRaises(redis.ResponseError):
                client.get("a")
        cluster[2].start()
        cluster.wait_for_leader()
        with cluster[2].client() as client:
            # A write with an unknown outcome may have come true; a definite one may not.
            self.assertIn(client.get("a"), ("1", "2"))
            self.assertTrue(client.set("a", "3"))

    def test_one_server_alone(self):
        cluster = self.cluster(count=1).start()
        load = Load(cluster.servers, threads=3)
        for _ in range(3):
            load.wait_for_more()
            cluster[1].kill()
            cluster[1].start()
        load.wait_for_more()
        load.stop()
        load.check(self, cluster)

    def test_follower_catches_up_from_the_leaders_disk(self):
        settings = ("log-memory-bytes 64KiB\nsegment-bytes 1MiB\nclient-input-bytes 512KiB\n"
                    "max-value-bytes 256KiB\nmessage-bytes 64KiB\nwindow-bytes 256KiB\n")
        cluster = self.cluster(settings=settings + CALM).start()
        absent = cluster.followers()[0]
        absent.kill()
        leader = cluster.wait_for_leader()
        value = "x" * 10000
        with leader.client() as client:
            for part in range(20):
                pipe = client.pipeline(transaction=False)
                for number in range(20):
                    pipe.set("big:%d" % (part * 20 + number), value + str(number))
                self.assertTrue(all(pipe.execute()))
        self.assertGreater(leader.info()["raft_log_segments"], 3)
        absent.start()
        self.assertEqual(len(set(cluster.wait_until_equal())), 1)
        with absent.client() as client:
            self.assertEqual(client.get("big:399"), value + "19")
