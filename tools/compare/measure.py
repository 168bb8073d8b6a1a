"""Real clusters of three servers, of each design in turn, on this machine.

Each run starts a fresh cluster of each design, one after the other, so that whatever else the
machine does hits all alike; what is reported is the median of the runs."""
import csv
import io
import mmap
import os
import platform
import shutil
import statistics
import struct
import subprocess
import time

from cluster import Client, Cluster, Unlucky
from page import Lines, heading, paragraph, table

LOADS = ((1, 1), (16, 1), (64, 1), (256, 1), (16, 16))  # clients, commands in a pipeline
VALUE_SIZE = 256
COUNTED_WRITES = 2000
# As in count.c.
COUNTS = ("locks taken", "of these, held by somebody else", "waits for a condition",
          "wake-ups given", "fdatasync", "messages sent (sendmsg, send)")


ATTEMPTS = 3  # at each measurement: on a busy machine leadership may move in the midst of one


def attempt(say, place, measure_in):
    """What measure_in(place) finds in a new place, where it may have failed before; None when that was
    always so: all else that was measured is kept."""
    for number in range(ATTEMPTS):
        try:
            return measure_in("%s-%d" % (place, number))
        except (Unlucky, OSError, subprocess.TimeoutExpired) as error:
            say("it came to nothing (attempt %d of %d): %s" % (number + 1, ATTEMPTS, error))
    return None


# ---- throughput and latency ----

def benchmark(port, clients, pipeline, count):
    """redis-benchmark's own figures of one run of SET, by name."""
    words = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "set", "-d",
             str(VALUE_SIZE), "-r", "100000", "-c", str(clients), "-P", str(pipeline), "-n",
             str(count), "--csv"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=600)
    rows = [r for r in csv.reader(io.StringIO(done.stdout)) if len(r) > 5]
    if done.returncode != 0 or len(rows) < 2:
        raise Unlucky("redis-benchmark: %s" % done.stdout[-500:].strip())
    return dict(zip(rows[0], map(number, rows[1])))


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def run_loads(cluster, seconds):
    found = {}
    port = cluster.wait_for_leader().port
    for clients, pipeline in LOADS:
        # A short run says how many commands make a run of the wanted length.
        first = benchmark(port, clients, pipeline, 500 + 100 * clients * pipeline)
        count = max(1000, int(first["rps"] * seconds))
        found[(clients, pipeline)] = benchmark(port, clients, pipeline, count)
    return found


# ---- elections ----

def fail_over(cluster):
    """Kills the leader. Returns the seconds until a write through another server succeeds."""
    leader = cluster.wait_for_leader()
    cluster.wait_until_even()
    other = next(s for s in cluster.servers if s is not leader)
    with Client(other.port) as client:
        client.ask("SET", "k", "before")
        begun = time.monotonic()
        leader.kill()
        while client.ask("SET", "k", "after") != "+OK":
            if time.monotonic() > begun + 30:
                raise Unlucky("no write succeeds after the leader was killed")
        took = time.monotonic() - begun
    leader.start()
    return took


# ---- what a write passes through ----

def switches(pid):
    """Voluntary context switches of each thread: {(id, name): count}."""
    found = {}
    for task in os.listdir("/proc/%d/task" % pid):
        base = "/proc/%d/task/%s/" % (pid, task)
        try:
            with open(base + "comm", encoding="utf-8") as comm:
                name = comm.read().strip()
            with open(base + "status", encoding="utf-8") as status:
                fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        except FileNotFoundError:
            continue  # it has ended
        found[(task, name)] = int(fields["voluntary_ctxt_switches"])
    return found


class Counters:
    def __init__(self, path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 8 * len(COUNTS))

    def read(self):
        return struct.unpack("%dQ" % len(COUNTS), self.map[:])


def write_one_by_one(port, count):
    with Client(port) as client:
        for i in range(count):
            answer = client.ask("SET", "k%d" % (i % 100), "x" * VALUE_SIZE)
            if answer != "+OK":
                raise Unlucky("a write was refused: " + answer)


def path_of_a_write(cluster, counts_path):
    """For the leader and one follower: what one committed write of a single client costs."""
    leader = cluster.wait_for_leader()
    follower = next(s for s in cluster.servers if s is not leader)
    write_one_by_one(leader.port, 200)
    counters = {s: Counters(counts_path(s.number)) for s in (leader, follower)}
    before = {s: (counters[s].read(), switches(s.process.pid)) for s in counters}
    write_one_by_one(leader.port, COUNTED_WRITES)
    found = {}
    for role, server in (("leader", leader), ("follower", follower)):
        counts = [(b - a) / COUNTED_WRITES for a, b in zip(before[server][0],
                                                           counters[server].read())]
        after = switches(server.process.pid)
        threads = {}
        for key, count in after.items():
            name = key[1].rstrip("0123456789 ")
            threads[name] = threads.get(name, 0) + (
                count - before[server][1].get(key, 0)) / COUNTED_WRITES
        found[role] = {"counts": counts, "threads": len(after), "switches": threads}
    return found


# ---- the machine ----

def sync_seconds(directory, count=200):
    """What one small fdatasync takes here, in the median."""
    path = os.path.join(directory, "probe")
    took = []
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(file, bytes(count * 512))
        os.fsync(file)
        for i in range(count):
            os.pwrite(file, b"x" * 512, i * 512)
            begun = time.monotonic()
            os.fdatasync(file)
            took.append(time.monotonic() - begun)
    finally:
        os.close(file)
        os.unlink(path)
    return statistics.median(took)


def machine(directory):
    return ("%s, Linux %s, %d processors, load %.1f before it began; one fdatasync of 512 bytes "
            "took %.0f µs" % (platform.machine(), platform.release(), os.cpu_count(),
                              os.getloadavg()[0], sync_seconds(directory) * 1e6))


# ---- all of it ----

class Measured:
    def __init__(self, designs):
        self.designs = designs
        self.machine = ""
        self.loads = {d: [] for d in designs}
        self.fail_overs = {d: [] for d in designs}
        self.paths = {d: [] for d in designs}


def build_counter(top, directory):
    library = os.path.join(directory, "count.so")
    subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-pthread",
                    os.path.join(top, "tools", "compare", "count.c"), "-o", library], check=True)
    return library


def measure_one(found, design, place, raftd, library, seconds, kills, say):
    """One run of one design. What comes to nothing is left out."""
    def loads(where):
        with Cluster(raftd, design, where) as cluster:
            return run_loads(cluster, seconds), [fail_over(cluster) for _ in range(kills)]

    def path(where):
        def counts_path(number):
            return "%s-counts-%d" % (where, number)

        def environment(number):
            return {"LD_PRELOAD": library, "RAFTCOMPARE_COUNTS": counts_path(number)}

        with Cluster(raftd, design, where, environment) as cluster:
            return path_of_a_write(cluster, counts_path)

    measured = attempt(say, place + "-loads", loads)
    if measured is not None:
        found.loads[design].append(measured[0])
        found.fail_overs[design] += measured[1]
    costs = attempt(say, place + "-path", path)
    if costs is not None:
        found.paths[design].append(costs)


def measure(top, designs, raftd, directory, runs, seconds, kills, say):
    for program in ("redis-benchmark", "gcc"):
        if shutil.which(program) is None:
            raise SystemExit("raftcompare: there is no %s: use --no-measure" % program)
    work = os.path.join(directory, "run-%d" % os.getpid())
    os.makedirs(work)
    found = Measured(designs)
    try:
        found.machine = machine(work)
        library = build_counter(top, work)
        for run in range(runs):
            # Each run begins with another design: none is always first.
            first = run % len(designs)
            for design in designs[first:] + designs[:first]:
                say("run %d of %d: %s" % (run + 1, runs, design))
                place = os.path.join(work, "%s-%d" % (design, run))
                measure_one(found, design, place, raftd, library, seconds, kills, say)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for design in designs:
        if not found.loads[design] or not found.fail_overs[design] or not found.paths[design]:
            raise SystemExit("raftcompare: %s could not be measured once: is the machine too busy? "
                             "--no-measure reports what the sources tell" % design)
    return found


# ---- the report ----

def median(values, form):
    return form % statistics.median(values)


def load_rows(found):
    for load in LOADS:
        words = "%d client%s" % (load[0], "" if load[0] == 1 else "s")
        if load[1] > 1:
            words += ", pipeline of %d" % load[1]
        rates = {d: [r[load]["rps"] for r in found.loads[d]] for d in found.designs}
        yield [words + ": writes a second"] + [
            Lines([median(rates[d], "%.0f"), "%.0f … %.0f" % (min(rates[d]), max(rates[d]))])
            for d in found.designs]
    for name, words in (("p50_latency_ms", "half of all"), ("p99_latency_ms", "99 of 100")):
        yield ["1 client: %s within, ms" % words] + [
            median([r[(1, 1)][name] for r in found.loads[d]], "%.3f") for d in found.designs]


def fail_over_rows(found):
    for words, value in (("median", statistics.median), ("fastest", min), ("slowest", max)):
        yield [words + ", ms"] + ["%.1f" % (value(found.fail_overs[d]) * 1000)
                                  for d in found.designs]
    yield ["kills"] + [str(len(found.fail_overs[d])) for d in found.designs]


def path_rows(found):
    for role in ("leader", "follower"):
        def each(value, form, role=role):
            return [median([value(run[role]) for run in found.paths[d]], form)
                    for d in found.designs]

        yield [role + ": threads it has"] + each(lambda r: r["threads"], "%.0f")
        for i, words in enumerate(COUNTS):
            yield ["%s: %s" % (role, words)] + each(lambda r, i=i: r["counts"][i], "%.2f")
        yield ["%s: times a thread went to sleep, all together" % role] + each(
            lambda r: sum(r["switches"].values()), "%.2f")
        names = sorted({n for d in found.designs for run in found.paths[d]
                        for n in run[role]["switches"]})
        for name in names:
            values = {d: [run[role]["switches"].get(name, 0) for run in found.paths[d]]
                      for d in found.designs}
            if max(statistics.median(v) for v in values.values()) >= 0.05:
                yield ["%s: of these, thread “%s”" % (role, name)] + [
                    median(values[d], "%.2f") for d in found.designs]


def main_rows(found):
    """For the report's first table."""
    for load in ((1, 1), (64, 1)):
        yield ["writes a second, %d client%s" % (load[0], "s" if load[0] > 1 else "")] + [
            median([r[load]["rps"] for r in found.loads[d]], "%.0f") for d in found.designs]
    yield ["half of one client's writes within, ms"] + [
        median([r[(1, 1)]["p50_latency_ms"] for r in found.loads[d]], "%.3f")
        for d in found.designs]
    yield ["writing again after the leader was killed, ms"] + [
        "%.1f" % (statistics.median(found.fail_overs[d]) * 1000) for d in found.designs]
    for role in ("leader", "follower"):
        yield ["locks taken for one write, %s" % role] + [
            median([run[role]["counts"][0] for run in found.paths[d]], "%.1f")
            for d in found.designs]
        yield ["hand-offs for one write (threads going to sleep), %s" % role] + [
            median([sum(run[role]["switches"].values()) for run in found.paths[d]], "%.1f")
            for d in found.designs]


def times(runs):
    return "1 run" if runs == 1 else "%d runs" % runs


def blocks(found, runs):
    columns = [""] + found.designs
    return [heading(2, "What a committed write passes through"),
            paragraph("Three servers, one client that writes %d values of %d bytes one after the "
                      "other, per write; the median of %s. Counted from inside by a library that "
                      "stands in front of the C library's locks and calls; a thread that goes to "
                      "sleep (the kernel's voluntary context switches) is a hand-off: it waits for "
                      "another thread, another machine or the disk. Heartbeats and the segment "
                      "preparer's work are in the numbers." %
                      (COUNTED_WRITES, VALUE_SIZE, times(runs))),
            table(columns, list(path_rows(found)), numbers=True),
            heading(2, "Measured side by side"),
            paragraph("Three servers on one machine and one disk, settings as shipped; each "
                      "design's cluster runs alone, one after the other, in %s. %s. Where the "
                      "ranges of two designs overlap, these runs do not tell them apart." %
                      (times(runs), found.machine)),
            heading(3, "Throughput and latency"),
            paragraph("redis-benchmark, SET of %d bytes to the leader: the median of the runs, and "
                      "below it the slowest and the fastest." % VALUE_SIZE),
            table(columns, list(load_rows(found)), numbers=True),
            heading(3, "Fail-over"),
            paragraph("The leader's process is killed; until a write through another server "
                      "succeeds."),
            table(columns, list(fail_over_rows(found)), numbers=True)]
