"""Figure 2, rule by rule: where a rule stands, and where each design comes to it.

A rule is found by its tag, "[AppendEntries 3, §5.3]", in a comment or a RULE() of server/rules/ or
of the acts that all designs share. From the function that carries the tag the calls are followed upwards until
they arrive in a design's folder."""
import re

import follow
from page import Code, Lines, Ref

# The paper's figure: how many rules stand in each of its boxes.
FIGURE_2 = {"AppendEntries": 5, "RequestVote": 2, "All Servers": 2, "Followers": 2,
            "Candidates": 4, "Leaders": 4}
TAG = re.compile(r"\[(%s) (\d)(?:-(\d))?, *([^\]]*)\]" % "|".join(FIGURE_2))
# The first of the followers' rules, "respond to RPCs", is nothing but two others.
ANSWERS = {("Followers", 1): ("election_answer_vote", "append_entries")}
DEPTH_MAX = 6


class Rule:
    def __init__(self, box, number):
        self.box = box
        self.number = number
        self.sections = set()
        self.stands = []  # (file, line, Function) outside of the designs
        self.tagged = {}  # design -> [(file, line)]: the design itself carries the tag
        self.called = {}  # design -> [(Call in the design, [functions down to the rule])]

    def name(self):
        return "%s %d" % (self.box, self.number)


def tags_of(file):
    """(box, number, section, line) of every tag in the file, each once a line."""
    watched = [(number, line) for number, line in enumerate(file.lines, 1) if "RULE(" in line]
    for first_line, text in file.comments + watched:
        for match in TAG.finditer(text):
            line = first_line + text.count("\n", 0, match.start())
            box, first, last, section = match.groups()
            for number in range(int(first), int(last or first) + 1):
                yield box, number, section, line


def carrier(file, line):
    """The function in whose body, or above which, the line stands."""
    for function in file.functions:
        if line <= function.end:
            return function
    return None


def ways_up(source, function, trail, ways):
    """Fills `ways` with the calls in designs that lead to the function: the shortest way each."""
    if len(trail) > DEPTH_MAX:
        return
    for call in source.calls_of(function):
        caller = call.caller
        if caller is function or caller in trail:
            continue
        design = source.design_of(caller.file)
        if design is None:
            ways_up(source, caller, [caller] + trail, ways)
            continue
        key = (caller.file, call.line)
        known = ways.setdefault(design, {})
        if key not in known or len(trail) < len(known[key][1]):
            known[key] = (call, trail)


def message_of(file, function, line):
    """The kind of message whose `case` the line stands in; None when it stands in none."""
    kind = None
    for number in range(function.line, line + 1):
        match = re.search(r"case MESSAGE_(\w+):", file.lines[number - 1])
        if match:
            kind = "MAIL_" + match.group(1)
    return kind


def calls_of_designs(source, kinds):
    found = {}
    for function, kind in kinds.items():
        ways = {}
        ways_up(source, function, [function], ways)
        for design, calls in ways.items():
            if kind is not None:
                reached = follow.visited(source, design, kind)
                calls = {key: way for key, way in calls.items() if key in reached}
            for key, way in calls.items():
                known = found.setdefault(design, {})
                if key not in known or len(way[1]) < len(known[key][1]):
                    known[key] = way
    return {design: [calls[key] for key in sorted(calls)] for design, calls in found.items()}


def find(source):
    rules = {(box, number): Rule(box, number)
             for box, count in FIGURE_2.items() for number in range(1, count + 1)}
    for path, file in source.files.items():
        design = source.design_of(path)
        if not path.endswith(".c") and design is None:
            continue  # the shared headers say again what stands in their sources
        for box, number, section, line in tags_of(file):
            rule = rules.get((box, number))
            if rule is None:
                raise SystemExit("raftcompare: %s:%d: Figure 2 has no %s %d" %
                                 (path, line, box, number))
            rule.sections.update(re.findall(r"§[\d.]+", section))
            if design is not None:
                rule.tagged.setdefault(design, []).append((path, line))
                continue
            function = carrier(file, line)
            if function is not None:
                rule.stands.append((path, line, function))
    for (box, number), rule in rules.items():
        kinds = {}  # function -> the only kind of message for which it is this rule, or None
        for path, line, function in rule.stands:
            kinds[function] = message_of(source.files[path], function, line)
        for name in ANSWERS.get((box, number), ()):
            function = source.resolve(name, "")
            kinds[function] = None
            rule.stands.append((function.file, function.line, function))
        rule.called = calls_of_designs(source, kinds)
    return list(rules.values())


def problems(source, rules):
    """What a reader of the table would miss. Empty when every rule is found in every design."""
    missing = []
    for rule in rules:
        if not rule.stands and not rule.tagged:
            missing.append("%s: no line of server/ carries this tag" % rule.name())
            continue
        for design in source.designs:
            if not rule.called.get(design) and not rule.tagged.get(design):
                missing.append("%s: no call site and no tag in the design %s" %
                               (rule.name(), design))
    return missing


def cell(rule, design):
    lines = Lines()
    for path, line in sorted(rule.tagged.get(design, [])):
        lines.append([Ref(path, line), " tag"])
    for call, trail in rule.called.get(design, []):
        text = [Ref(call.caller.file, call.line), " ", Code(trail[0].name)]
        for function in trail[1:]:
            text += [" → ", Code(function.name)]
        lines.append(text)
    return lines or Lines(["—"])


def rows(source, rules):
    for rule in rules:
        name = rule.name()
        if rule.sections:
            name += ", " + ", ".join(sorted(rule.sections))
        stands = Lines([Ref(path, line), " ", Code(function.name)]
                       for path, line, function in sorted(rule.stands, key=lambda s: s[:2]))
        yield [name, stands or Lines(["control flow: in the designs"])] + [
            cell(rule, design) for design in source.designs]
