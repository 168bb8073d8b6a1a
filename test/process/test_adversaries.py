"""Everything that costs more than it weighs, asked of all servers at once, beside honest clients: they
are served, or refused with an error that says so, never left in doubt; leadership stays where it is,
and memory within what cluster.conf promises."""
import os
import sys

from cluster import CALM, SLOW, Case

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "bench")
sys.path.insert(0, TOOLS)
import adversary  # noqa: E402 (found by the line above)

MIB = 1 << 20
# Nobody is in doubt only because the machine is busy: honest writes wait behind some hundred MiB of
# others', which a sanitizer makes a matter of a minute.
PATIENT = "forward-timeout %ds\n" % (30 * SLOW)
adversary.HONEST_TIMEOUT *= SLOW


def memory(server, what):
    """Bytes: VmHWM, the most there ever was, or VmRSS, what there is."""
    with open("/proc/%d/status" % server.process.pid) as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what + ":"))


class Adversaries(Case):
    def test_all_at_once_beside_honest_clients(self):
        cluster = self.cluster(settings=CALM + PATIENT).start()
        before = {s.number: s.info()["raft_elections_begun"] for s in cluster.running()}
        leader = cluster.wait_for_leader()
        felt = adversary.attack([s.port for s in cluster.servers],
                                [s.peer_port for s in cluster.servers], 10)
        for error in felt.errors:
            self.assertRegex(error, "^-(BUSY|CLUSTERDOWN) .*(nothing was executed|again)")
        # How many are refused depends on how busy the machine is besides: raftbench shows that.
        self.assertGreater(len(felt.waits) - len(felt.errors), 50)
        self.assertLess(felt.waits[-1], 40000 * SLOW)  # raftbench shows what is usual
        self.assertEqual(cluster.wait_for_leader(), leader)
        for server in cluster.running():
            self.assertEqual(server.info()["raft_elections_begun"], before[server.number])
            if SLOW == 1:  # a sanitizer's memory is another
                self.assertLess(memory(server, "VmHWM"), 1536 * MIB, "server %d" % server.number)
        cluster.wait_until_equal()
