"""What the designs weigh: lines, functions, complexity, and the places that touch what is delicate.

Places are counted from the calls in a design's folder, so that no design is asked how many it
has."""
import subprocess

from page import Code, Lines, Ref
from source import calls_in

# What the designs do alike, beside the rules.
SHARED_ROOMS = tuple("server/%s/" % room for room in ("requests", "jobs", "replica", "admin", "service"))


def measure_functions(source, paths):
    """pmccabe's view: (complexity, lines, file, line, name) of each function."""
    words = ["pmccabe"] + sorted(paths)
    printed = subprocess.run(words, cwd=source.top, check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    for line in printed.splitlines():
        complexity, _, _, _, length, place, name = line.replace("\t", " ").split()[:7]
        path, first = place.rstrip("):").split("(")
        yield int(complexity), int(length), path, int(first), name.rstrip(":")


def setters(source, design):
    """(file, name) -> which parameter: the design's functions that are told the state to go to,
    and go there, themselves or through one another."""
    found = {}
    grown = True
    while grown:
        grown = False
        for function in source.functions_of(design):
            key = (function.file, function.name)
            position = function.position("enum", "raft_state")
            if position is None or key in found:
                continue
            name = function.parameter_names()[position]
            if name in told_to(source, function, found):
                found[key] = position
                grown = True
    return found


def told_to(source, function, setting):
    """The last word of each place in this function that says to which state to go."""
    tokens = function.body
    for i, token in enumerate(tokens):
        if (token == "state" and i > 0 and tokens[i - 1] == "->" and i + 2 < len(tokens) and
                tokens[i + 1] == "="):
            yield tokens[i + 2]
    for call in calls_in(tokens, function):
        position = told_by(source, call, setting)
        if position is not None and position < len(call.arguments):
            yield call.arguments[position][-1]


def told_by(source, call, setting):
    """Which argument of this call is the state to go to; None when it sets none."""
    if call.name == "server_enter":
        return 1
    function = source.resolve(call.name, call.caller.file)
    return setting.get((function.file, function.name)) if function is not None else None


def setters_of(source, design):
    known = source.__dict__.setdefault("setters", {})
    if design not in known:
        known[design] = setters(source, design)
    return known[design]


KEYS = {"check_term": "term", "server_check_term": "term", "adopt_term": "adopt", "server_flush": "save",
        "server_store_state": "save", "server_store_log": "save",
        "server_collect": "wait", "mailbox_collect": "wait", "condition_wait": "wait",
        "condition_wait_until": "wait", "mutex_lock": "lock"}


class Place:
    def __init__(self, function, line):
        self.function = function
        self.line = line


def places(source, design):
    """key -> the places in this design that do it."""
    setting = setters_of(source, design)
    found = {key: [] for key, _ in PLACES}
    for function in source.functions_of(design):
        # What hands its own parameter on is the setter itself.
        parameters = function.parameter_names()
        for word in told_to(source, function, setting):
            if word not in parameters and (word.startswith("RAFT_") or word == ")"):
                found["state"].append(Place(function, word.line))
        tokens = function.body
        for i, token in enumerate(tokens[1:-1], 1):
            if token == "deadline_ns" and tokens[i - 1] in ("->", ".") and tokens[i + 1] == "=":
                found["timer"].append(Place(function, token.line))
        for call in calls_in(tokens, function):
            if call.name in KEYS:
                found[KEYS[call.name]].append(Place(function, call.line))
    return found


PLACES = (("state", "that change the state"),
          ("timer", "that wind up the election timer"),
          ("term", "that check a message's term"),
          ("adopt", "that adopt a newer term"),
          ("save", "that save to disk, or flush: save and speak"),
          ("wait", "that wait for something to happen"),
          ("lock", "that take a lock"))


def group(source, paths):
    functions = list(measure_functions(source, [p for p in paths if p.endswith(".c")]))
    return {"lines": sum(source.files[p].code_lines() for p in paths),
            "files": sum(1 for p in paths if p.endswith(".c")),
            "functions": functions}


def groups(source):
    """Each design, then what they share: name -> its measures."""
    found = {}
    for design in source.designs:
        found[design] = group(source, [f.path for f in source.files_of(design)])
    found["shared: rules"] = group(source, [p for p in source.files
                                            if p.startswith("server/rules/")])
    found["shared: a server's work"] = group(source, [
        p for p in source.files if p.startswith(SHARED_ROOMS)])
    return found


def size_rows(found):
    def row(name, value):
        return [name] + [str(value(g)) for g in found.values()]

    def complexity(g):
        return [f[0] for f in g["functions"]]

    return [row("lines of code, without comments and blanks", lambda g: g["lines"]),
            row("C files", lambda g: g["files"]),
            row("functions", lambda g: len(g["functions"])),
            row("complexity, sum", lambda g: sum(complexity(g))),
            row("complexity, mean", lambda g: "%.1f" % (sum(complexity(g)) /
                                                        len(complexity(g)))),
            row("complexity, max", lambda g: max(complexity(g))),
            row("longest function, lines", lambda g: max(f[1] for f in g["functions"]))]


def function_rows(source, found, count=8):
    """The most complex functions of each design, one below the other."""
    columns = []
    for design in source.designs:
        worst = sorted(found[design]["functions"], reverse=True)[:count]
        columns.append([[Ref(path, line, name), " %d" % complexity]
                        for complexity, _, path, line, name in worst])
    for i in range(count):
        yield [str(i + 1)] + [column[i] if i < len(column) else "" for column in columns]


def place_rows(source):
    counted = {design: places(source, design) for design in source.designs}
    for key, words in PLACES:
        row = ["places " + words]
        for design in source.designs:
            found = counted[design][key]
            row.append(Lines([[str(len(found))]] + [
                [Ref(p.function.file, p.line), " ", Code(p.function.name)] for p in found]))
        yield row


def place_counts(source, design):
    return {key: len(found) for key, found in places(source, design).items()}
