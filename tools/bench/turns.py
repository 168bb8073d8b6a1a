"""The bound, Redis and mailraft by turns: what a write costs each, in one run."""
import os
import re
import statistics

LOADS = [
    ("1", ["-c", "1"], 10000),
    ("16", ["-c", "16"], 60000),
    ("64", ["-c", "64"], 120000),
    ("256", ["-c", "256"], 150000),
    ("64 x 16", ["-c", "64", "-P", "16"], 1000000),
]


def written_to(directory):
    """Bytes that the whole machine has written to the disk of a directory: what a process's own
    count says is of pages, of which the disk gets a part. 0 where the disk is not known."""
    device = os.stat(directory).st_dev
    try:
        with open("/sys/dev/block/%d:%d/stat" % (os.major(device), os.minor(device))) as stat:
            return int(stat.read().split()[6]) * 512
    except OSError:
        return 0


class Cost:
    """What some processes have used since this was made."""

    def __init__(self, pids, directory):
        self.pids, self.directory = pids, directory
        self.before = self.now()

    def now(self):
        """Microseconds of processor, bytes to the disk, switches to another thread."""
        cpu = switches = 0
        for pid in self.pids:
            with open("/proc/%d/stat" % pid) as stat:
                fields = stat.read().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) * 1000000 // os.sysconf("SC_CLK_TCK")
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/status" % (pid, task)) as status:
                    switches += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", status.read())))
        return cpu, written_to(self.directory), switches

    def each(self, count):
        return [(now - before) / count for now, before in zip(self.now(), self.before)]


def median_row(rows):
    return [statistics.median(column) for column in zip(*rows)]


def compare(contenders, load, directory, runs, divide):
    """`contenders`: {name: a function that returns (process to load, pids of all its servers)};
    the first one is what the others are divided by. `load` runs redis-benchmark. Of a quiet machine
    only: its other writes count as theirs."""
    print("| clients | server | SET/s | of the bound | p50, p99 ms | CPU µs an op, all | switches an op |"
          " bytes to disk an op |\n|---|---|---|---|---|---|---|---|")
    for name, words, count in LOADS:
        count = max(count // divide, 1000)
        rows = {who: [] for who in contenders}
        for _ in range(runs):
            for who, find in contenders.items():
                process, pids = find()
                cost = Cost(pids, directory)
                figures = load(process, ["-t", "set", "-d", "256", *words], count)
                rows[who].append([*figures, *cost.each(count)])
        medians = {who: median_row(row) for who, row in rows.items()}
        first = next(iter(medians.values()))[0]
        for who, (rps, p50, p99, cpu, written, switches) in medians.items():
            print("| %s | %s | %s | %.2f | %.3f, %.3f | %.1f | %.2f | %.0f |" % (
                name, who, format(round(rps), ","), rps / first, p50, p99, cpu, switches, written),
                flush=True)
