"""One scenario played by every design, from the same seed, and what happens put side by side."""
import difflib
import os
import re
import subprocess


COLUMN = 24  # how far the columns of two servers are apart in a story


def play(top, build, scenario, design, seed):
    """[(time, who, what)]; who is a server's number, or 0 for the scenario's own step."""
    words = [os.path.join(build, "raftsim"), "play", scenario, "--design", design, "--seed",
             str(seed), "--story"]
    done = subprocess.run(words, cwd=top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300)
    if done.returncode != 0:
        raise SystemExit("raftcompare: %s\n%s" % (" ".join(words), done.stdout))
    return list(read(done.stdout))


def read(text):
    for line in text.splitlines():
        match = re.match(r"\s*(\d+\.\d+) ( *)(.+?)\s*$", line)
        if not match:
            continue
        time, indent, what = match.groups()
        who = 0 if what.startswith("==") else len(indent) // COLUMN + 1
        yield float(time), who, what


def align(stories):
    """Rows of {design: (time, who, what)}: the same event of several designs in one row."""
    designs = list(stories)
    rows = [{designs[0]: event} for event in stories[designs[0]]]
    for design in designs[1:]:
        def key(row):
            return next(iter(row.values()))[1:]

        events = stories[design]
        matcher = difflib.SequenceMatcher(None, [key(r) for r in rows], [e[1:] for e in events],
                                          autojunk=False)
        merged = []
        for op, a0, a1, b0, b1 in matcher.get_opcodes():
            if op == "equal":
                for row, event in zip(rows[a0:a1], events[b0:b1]):
                    row[design] = event
                    merged.append(row)
                continue
            merged += rows[a0:a1]
            merged += [{design: event} for event in events[b0:b1]]
        rows = merged
    return rows


def table_rows(stories):
    for row in align(stories):
        _, who, what = next(iter(row.values()))
        label = what if who == 0 else "%d: %s" % (who, what)
        yield [label] + ["%.1f ms" % (row[d][0] * 1000) if d in row else "·" for d in stories]


def summary_rows(stories):
    """How many of each kind of event, in each design."""
    kinds = {}
    for design, events in stories.items():
        for _, who, what in events:
            if who == 0:
                continue
            word = re.sub(r" .*", "", what)
            kinds.setdefault(word, {}).setdefault(design, 0)
            kinds[word][design] += 1
    for word in sorted(kinds):
        yield [word] + [str(kinds[word].get(design, 0)) for design in stories]
