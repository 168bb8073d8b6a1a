"""The commands of one connection, sent one behind the other, take effect in the order of sending."""
import threading
import time

from cluster import CALM, RAFTCTL, Case, run, wait_until


def words(*arguments):
    return b"*%d\r\n" % len(arguments) + b"".join(
        b"$%d\r\n%s\r\n" % (len(a), a) for a in (x if isinstance(x, bytes) else str(x).encode()
                                                 for x in arguments))


def read_answers(connection, count):
    """So many answers of one line or one bulk string each."""
    answers = []
    with connection.makefile("rb") as lines:
        while len(answers) < count:
            line = lines.readline()
            assert line.endswith(b"\r\n"), "the connection ended behind %d answers" % len(answers)
            if line.startswith(b"$") and not line.startswith(b"$-"):
                line = lines.read(int(line[1:]) + 2)
            answers.append(line[:-2])
    return answers


class Pipeline(threading.Thread):
    """Appends rising numbers to a key, many at once, and reads it in between."""

    DEPTH = 40

    def __init__(self, server, key):
        super().__init__(daemon=True)
        self.server, self.key = server, key
        self.sent = []      # numbers, in the order of sending
        self.taken = set()  # answered with a length: executed
        self.refused = set()  # answered with a definite error: never executed
        self.trouble = None
        self.over = False
        self.start()

    def run(self):
        try:
            with self.server.raw() as connection:
                while not self.over:
                    self.burst(connection)
        except Exception as error:  # told by whoever joins
            self.trouble = error

    def burst(self, connection):
        first = len(self.sent)
        numbers = range(first, first + self.DEPTH)
        self.sent += numbers
        text = b"".join(words("APPEND", self.key, "%d," % number) for number in numbers)
        connection.sendall(text + words("GET", self.key))
        *answers, value = read_answers(connection, self.DEPTH + 1)
        for number, answer in zip(numbers, answers):
            if answer.startswith(b":"):
                self.taken.add(number)
            elif not answer.startswith(b"-TIMEOUT"):
                self.refused.add(number)
        if not value.startswith(b"-"):  # the read sees what was written before it
            seen = {int(number) for number in value.decode().split(",")[:-1]}
            missing = self.taken - seen
            assert not missing, "a read does not see %s" % sorted(missing)[:5]

    def end(self):
        self.over = True
        self.join()


class Order(Case):
    def check(self, cluster, pipeline):
        self.assertIsNone(pipeline.trouble)
        with cluster.wait_for_leader().client() as client:
            value = client.get(pipeline.key)
        found = [int(number) for number in value.split(",")[:-1]]
        self.assertEqual(found, sorted(set(found)), "out of order, or twice")
        self.assertEqual(pipeline.taken - set(found), set())
        self.assertEqual(pipeline.refused & set(found), set())
        self.assertGreater(len(pipeline.taken), 2 * Pipeline.DEPTH)

    def test_while_leadership_moves(self):
        cluster = self.cluster(settings=CALM).start()
        pipelines = [Pipeline(server, "key%d" % server.number) for server in cluster.servers]
        for number in (2, 3, 1, 3, 2, 1):
            time.sleep(0.2)
            run(RAFTCTL, "transfer", "-c", cluster.config, str(number))
        for pipeline in pipelines:
            wait_until("the pipeline goes on", lambda p=pipeline: p.trouble or
                       len(p.taken) > 4 * Pipeline.DEPTH)
            pipeline.end()
        for pipeline in pipelines:
            self.check(cluster, pipeline)

    def test_while_a_transfer_comes_to_nothing(self):
        cluster = self.cluster().start()
        leader = cluster.wait_for_leader()
        target, follower = cluster.followers()
        pipelines = [Pipeline(server, "key%d" % server.number) for server in (leader, follower)]
        for _ in range(4):
            target.signal(19)  # SIGSTOP: it does not catch up, or does not take over
            run(RAFTCTL, "transfer", "-c", cluster.config, str(target.number))
            target.signal(18)
            time.sleep(0.3)
        for pipeline in pipelines:
            pipeline.end()
            self.check(cluster, pipeline)

    def test_redirects_that_are_switched_on_in_the_middle(self):
        cluster = self.cluster(settings=CALM).start()
        follower = cluster.followers()[0]
        with follower.raw() as connection:
            connection.sendall(words("SET", "k", "first") + words("SET", "k", "second") +
                               words("RAFT.REDIRECT", "on") + words("SET", "k", "third") +
                               words("RAFT.REDIRECT", "off") + words("SET", "k", "last") +
                               words("GET", "k"))
            answers = read_answers(connection, 7)
        self.assertEqual(answers[:3], [b"+OK"] * 3)
        self.assertTrue(answers[3].startswith(b"-MOVED"), answers)
        self.assertEqual(answers[4:], [b"+OK", b"+OK", b"last"])
