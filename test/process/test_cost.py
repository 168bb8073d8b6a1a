"""What commands cost: cheap words that are dear, and bulk that the disk is too slow for. The leader
stays, rounds and memory are bounded, and others are served meanwhile."""
import threading
import unittest

import redis

from cluster import CALM, PATIENCE, Case

# Small files for the log, so that it needs a new one with every few writes.
SMALL_SEGMENTS = CALM + "max-value-bytes 1MiB\nclient-input-bytes 2MiB\nmessage-bytes 1MiB\n" \
    "segment-bytes 4MiB\n"

def offices(cluster):
    """What an election changes."""
    return [(s.info()["raft_current_term"], s.info()["raft_elections_begun"])
            for s in cluster.servers]

class Cost(Case):
    def test_bulk_writes_do_not_wait_for_the_next_segment(self):
        cluster = self.cluster(settings=SMALL_SEGMENTS).start()
        before = offices(cluster)
        errors = []

        def write(number):
            port = cluster[1 + number % 3].port
            client = redis.Redis("127.0.0.1", port, socket_timeout=PATIENCE)
            for count in range(30):
                try:
                    client.set("key:%d:%d" % (number, count), b"x" * (400000 + number))
                except redis.RedisError as error:
                    errors.append(str(error))
        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(errors, [])
        cluster.wait_until_equal()
        self.assertEqual(offices(cluster), before)
        for server in cluster.servers:
            info = server.info()
            self.assertEqual(info["raft_segment_waits"], 0, "server %d" % server.number)

        self.assertEqual(len(set(cluster.wait_until_equal())), 1)

if __name__ == "__main__":
    unittest.main()
