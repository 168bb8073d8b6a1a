"""What happens to each kind of mail in each state, by following the source.

The statements that deal with mail are walked with two things known: the kind of the mail, and the
state of the server. A `switch` or an `if` about them is decided; any other condition stays open, and
is written beside what depends on it. A design's own functions are entered, those that all designs
share are named. So the table says what the code says, whatever control flow stands around it."""
import re

import size
from page import Code, Lines, Ref
from source import calls_in, matching

STATES = ("RAFT_FOLLOWER", "RAFT_CANDIDATE", "RAFT_LEADER")
KIND = re.compile(r"(MAIL|ON)_[A-Z_]+$")
VERDICT = re.compile(r"TERM_[A-Z]+$")
# Keeping the books of a pile: says nothing of Raft.
HOUSEKEEPING = {"server_open_mail", "server_next_mail", "server_put_back", "server_enter",
                "raft_message", "server_put", "leadership_peer"}
DEPTH_MAX = 8


# ---- statements ----

class Statement:
    def __init__(self, kind, line, **fields):
        self.kind = kind
        self.line = line
        self.__dict__.update(fields)


def parse_block(tokens):
    statements = []
    i = 0
    while i < len(tokens):
        statement, i = parse_statement(tokens, i)
        if statement is not None:
            statements.append(statement)
    return statements


def until(tokens, i, stop):
    """The place of the next `stop` outside of brackets."""
    depth = 0
    while i < len(tokens):
        if depth == 0 and tokens[i] == stop:
            return i
        depth += (tokens[i] in "([{") - (tokens[i] in ")]}")
        i += 1
    return i


def parse_statement(tokens, i):
    word, line = tokens[i], tokens[i].line
    if word == ";":
        return None, i + 1
    if word == "{":
        end = matching(tokens, i)
        return Statement("block", line, body=parse_block(tokens[i + 1:end])), end + 1
    if word in ("if", "while", "for", "switch"):
        end = matching(tokens, i + 1)
        head = tokens[i + 2:end]
        body, after = parse_statement(tokens, end + 1)
        if word == "if":
            otherwise = None
            if after < len(tokens) and tokens[after] == "else":
                otherwise, after = parse_statement(tokens, after + 1)
            return Statement("if", line, head=head, body=body, otherwise=otherwise), after
        kind = "switch" if word == "switch" else "loop"
        return Statement(kind, line, head=head, body=body), after
    if word == "do":
        body, after = parse_statement(tokens, i + 1)
        end = until(tokens, after, ";")
        return Statement("loop", line, head=tokens[after + 2:end - 1], body=body), end + 1
    if word in ("case", "default"):
        end = until(tokens, i, ":")
        return Statement("label", line, value=str(tokens[i + 1]) if word == "case" else None), end + 1
    end = until(tokens, i, ";")
    if word in ("break", "continue", "goto"):
        return Statement(str(word), line), end + 1
    if word == "return":
        return Statement("return", line, value=tokens[i + 1:end]), end + 1
    return Statement("expression", line, value=tokens[i:end]), end + 1


def body_of(function):
    if not hasattr(function, "statements"):
        function.statements = parse_block(function.body)
    return function.statements


def within(statements):
    """All statements, with those inside of others."""
    for statement in statements:
        yield statement
        inner = [statement.__dict__.get(name) for name in ("body", "otherwise")]
        for part in inner:
            if isinstance(part, list):
                yield from within(part)
            elif part is not None:
                yield from within([part])


def words(tokens):
    text = " ".join(tokens)
    text = re.sub(r"(^|[=(,|&] )([&*-]) ", r"\1\2", text)
    text = re.sub(r" ?(->|\.|\(|\[|\]) ?", r"\1", text)
    text = re.sub(r" ([,;)])", r"\1", text)
    text = re.sub(r"([=|&<>!+*/-]) ?\(", r"\1 (", text)
    return re.sub(r"! ", "!", text).replace("&&(", "&& (").replace("||(", "|| (")


def negated(condition):
    if "||" not in condition and "&&" not in condition:
        for operator, other in ((" != ", " == "), (" == ", " != "), (" >= ", " < "),
                                (" <= ", " > "), (" < ", " >= "), (" > ", " <= ")):
            if operator in condition:
                return condition.replace(operator, other)
        return condition[1:] if condition.startswith("!") else "!" + condition
    return "not (%s)" % condition


# ---- walking ----

class Known:
    """What is known where the walk has come to."""

    def __init__(self, state, kind, conditions=(), bound=None):
        self.state = state
        self.kind = kind
        self.conditions = conditions
        self.bound = bound or {}  # a parameter's name -> the constant that was handed in

    def under(self, condition):
        return Known(self.state, self.kind, self.conditions + (condition,), self.bound)


class Event:
    def __init__(self, kind, text, file, line, conditions):
        self.kind = kind  # "call", "become", "timer", "action"
        self.text = text
        self.file = file
        self.line = line
        self.conditions = conditions


class Walk:
    def __init__(self, source, design):
        self.source = source
        self.design = design
        self.setters = size.setters_of(source, design)
        self.mail_of = {own: mail for mail, own in own_kinds(source, design).items()}
        self.messages = set(re.findall(r"(MAIL_\w+) = MESSAGE_",
                                       source.files["server/mail/mail.h"].text))
        self.events = []
        self.visited = set()  # (file, line) of every call on the way
        self.returned = {}
        self.verdict = "TERM_CURRENT"  # of the message's term; None: open
        self.depth = 0

    # -- conditions: True, False, or None: open --

    def truth(self, tokens, known, file):
        for operator, decided in (("||", True), ("&&", False)):
            parts = split_on(tokens, operator)
            if len(parts) > 1:
                values = [self.truth(part, known, file) for part in parts]
                if decided in values:
                    return decided
                return None if None in values else not decided
        if tokens and tokens[0] == "!" and "==" not in tokens and "!=" not in tokens:
            value = self.truth(tokens[1:], known, file)
            return None if value is None else not value
        if tokens and tokens[0] == "(" and matching(tokens, 0) == len(tokens) - 1:
            return self.truth(tokens[1:-1], known, file)
        for operator in ("==", "!="):
            parts = split_on(tokens, operator)
            if len(parts) == 2:
                left, right = (self.constant(part, known) for part in parts)
                if left is None or right is None:
                    return None
                return (left == right) == (operator == "==")
        if len(tokens) > 1 and tokens[1] == "(" and matching(tokens, 1) == len(tokens) - 1:
            return self.answer(str(tokens[0]), known, file)
        if len(tokens) != 1:
            return None
        return {"true": True, "false": False}.get(known.bound.get(str(tokens[0]), tokens[0]))

    def constant(self, tokens, known):
        """The enumerator that these tokens stand for, if that is known."""
        if not tokens:
            return None
        last = str(tokens[-1])
        if len(tokens) == 1:
            constant = last.isupper() or last.startswith('"')
            return self.plain_name(known.bound.get(last, last if constant else None))
        if len(tokens) > 2 and tokens[-2] in ("->", "."):
            if last == "kind" and "action" not in tokens:
                return self.plain_name(known.kind)
            return known.state if last == "state" else None
        return None

    def plain_name(self, name):
        """One name for a kind of message, of mail, and what a design calls it."""
        name = self.mail_of.get(name, name)
        return "MAIL_" + name[len("MESSAGE_"):] if str(name).startswith("MESSAGE_") else name

    def answer(self, name, known, file):
        """What a function of the design's returns, as far as that is known."""
        if name == "mail_is_message":
            return self.plain_name(known.kind) in self.messages
        function = self.source.resolve(name, file)
        if function is None or self.source.design_of(function.file) != self.design:
            return None
        return self.returned.get(function)

    def open_part(self, tokens, known, file):
        """The condition, without what is decided."""
        for operator in ("||", "&&"):
            parts = split_on(tokens, operator)
            if len(parts) > 1:
                still = [p for p in parts if self.truth(p, known, file) is None]
                return (" %s " % operator).join(words(p) for p in still)
        return words(tokens)

    # -- calls and statements --

    def add(self, kind, text, file, line, known):
        self.events.append(Event(kind, text, file, line, known.conditions))

    def visit(self, tokens, known, function):
        """An expression: notes what it calls and sets. Returns what is known afterwards."""
        for operator, enough in (("||", True), ("&&", False)):
            parts = split_on(tokens, operator)
            if len(parts) > 1:
                for part in parts:
                    known = self.visit(part, known, function)
                    if self.truth(part, known, function.file) == enough:
                        break
                return known
        for i, token in enumerate(tokens):
            if (token == "deadline_ns" and i > 0 and tokens[i - 1] in ("->", ".") and
                    i + 1 < len(tokens) and tokens[i + 1] == "="):
                self.add("timer", "election timer", function.file, token.line, known)
        for call in calls_in(tokens, function):
            self.visited.add((function.file, call.line))
            known = self.call(call, known, function)
        return known

    def call(self, call, known, function):
        callee = self.source.resolve(call.name, function.file)
        position = 1 if call.name == "server_enter" else None
        if callee is not None:
            position = self.setters.get((callee.file, callee.name), position)
        if position is not None and position < len(call.arguments):
            state = self.constant(call.arguments[position], known)
            if state in STATES + ("RAFT_STOPPED",):
                self.become(call, state, known, function)
                return Known(state, known.kind, known.conditions, known.bound)
            return known
        if call.name == "server_stop_because":
            self.become(call, "RAFT_STOPPED", known, function)
            return known
        for argument in call.arguments:
            if len(argument) == 1 and re.match(r"DO_[A-Z_]+$", argument[0]):
                self.add("action", str(argument[0]), function.file, call.line, known)
                return known
        if callee is None or call.name in HOUSEKEEPING or call.name.endswith("_ns"):
            return known
        if self.source.design_of(callee.file) == self.design:
            return self.enter(callee, call, known)
        room = callee.file.split("/")[1]
        if (room == "rules" or room.endswith(".c")) and changes_something(callee):
            self.add("call", call.name, function.file, call.line, known)
        return known

    def become(self, call, state, known, function):
        reasons = [known.bound.get(a[0], a[0]) for a in call.arguments if len(a) == 1]
        reasons = [r for r in reasons if r.startswith('"')]
        why = ": " + reasons[0].strip('"') if reasons else ""
        self.add("become", (state, why), function.file, call.line, known)

    def enter(self, callee, call, known):
        if self.depth >= DEPTH_MAX:
            return known
        bound = {}
        for name, argument in zip(callee.parameter_names(), call.arguments):
            value = self.constant(argument, known)
            if value is not None:
                bound[name] = value
        inner = Known(known.state, known.kind, known.conditions, bound)
        self.depth += 1
        self.returned[callee] = None
        _, after = self.run(body_of(callee), inner, callee)
        self.depth -= 1
        return Known(after.state, known.kind, known.conditions, known.bound)

    def run(self, statements, known, function):
        """Returns how the walk ended (None: it goes on), and what is known then."""
        for statement in statements:
            end, known = self.step(statement, known, function)
            if end is not None:
                return end, known
        return None, known

    def step(self, statement, known, function):
        kind = statement.kind
        if kind == "block":
            return self.run(statement.body, known, function)
        if kind in ("break", "continue", "goto"):
            return kind, known
        if kind == "return":
            known = self.visit(statement.value, known, function)
            self.returned[function] = self.truth(statement.value, known, function.file)
            return "return", known
        if kind == "expression":
            known = self.visit(statement.value, known, function)
            return None, self.remember(statement.value, known, function)
        if kind == "loop":
            known = self.visit(statement.head, known, function)
            end, known = self.step(statement.body, known, function) if statement.body else (None,
                                                                                            known)
            return ("return" if end == "return" else None), known
        if kind == "if":
            return self.step_if(statement, known, function)
        if kind == "switch":
            return self.step_switch(statement, known, function)
        return None, known

    def remember(self, tokens, known, function):
        """A local that says something about what is known: bool pre_vote = request->kind == ...;"""
        if tokens[:1] == ["bool"] and tokens[2:3] == ["="]:
            truth = self.truth(tokens[3:], known, function.file)
            if truth is not None:
                bound = dict(known.bound)
                bound[str(tokens[1])] = "true" if truth else "false"
                return Known(known.state, known.kind, known.conditions, bound)
        return known

    def step_if(self, statement, known, function):
        known = self.visit(statement.head, known, function)
        truth = self.truth(statement.head, known, function.file)
        branches = {True: statement.body, False: statement.otherwise}
        if truth is not None:
            branch = branches[truth]
            return self.step(branch, known, function) if branch else (None, known)
        condition = self.open_part(statement.head, known, function.file)
        end, _ = self.step(statement.body, known.under(condition), function)
        if statement.otherwise is not None:
            other, _ = self.step(statement.otherwise, known.under(negated(condition)), function)
            return (end if end == other else None), known
        if end is not None:
            return None, known.under(negated(condition))
        return None, known

    def step_switch(self, statement, known, function):
        known = self.visit(statement.head, known, function)
        value = self.constant(statement.head, known)
        if checks_term(statement.head):
            value = self.verdict
        body = statement.body.body
        labels = [self.plain_name(s.value) if s.kind == "label" else None for s in body]
        if value is None or value not in labels:
            # Open: every case may be taken.
            for labels, part in cases(body):
                name = words(statement.head) + " is " + " or ".join(labels)
                self.run(part, known.under(name), function)
            return None, known
        end, known = self.run(body[labels.index(value):], known, function)
        return (None if end == "break" else end), known



def split_on(tokens, operator):
    parts = [[]]
    depth = 0
    for token in tokens:
        depth += (token in "([{") - (token in ")]}")
        if token == operator and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def calls_to(tokens, name):
    return any(call.name == name for call in calls_in(tokens))


def checks_term(tokens):
    """The rule itself, or what all designs with a server do by its verdict (replica/replica.c)."""
    return calls_to(tokens, "check_term") or calls_to(tokens, "server_check_term")


def cases(body):
    """[(labels, statements)] of a switch."""
    found = []
    for statement in body:
        if statement.kind == "label":
            if not found or found[-1][1]:
                found.append(([], []))
            found[-1][0].append(statement.value or "default")
        elif found:
            found[-1][1].append(statement)
    return found


def changes_something(function):
    """Whether it is handed anything that it could change."""
    return any("*" in p and p[0] != "const" for p in function.parameters)


# ---- handlers ----

class Handler:
    """A function that switches on the kind of mail: for one state, or for all."""

    def __init__(self, function, state, statements, kinds):
        self.function = function
        self.state = state
        self.statements = statements
        self.kinds = kinds


def state_of(function):
    for state in STATES:
        if function.name.startswith(state[len("RAFT_"):].lower() + "_"):
            return state
    return None


def kinds_of(statement):
    return [s.value for s in statement.body.body
            if s.kind == "label" and s.value and KIND.match(s.value)]


def innermost_loop(statements, wanted):
    """The body of the innermost loop around a statement, or all statements."""
    for statement in within(statements):
        if statement.kind == "loop" and wanted in list(within([statement])):
            inner = statement.body.body if statement.body.kind == "block" else [statement.body]
            return innermost_loop(inner, wanted)
    return statements


def handlers(source, design):
    found = []
    for function in source.functions_of(design):
        for statement in within(body_of(function)):
            if statement.kind != "switch" or not statement.head or statement.head[-1] != "kind":
                continue
            kinds = kinds_of(statement)
            if len(kinds) > 3:
                found.append(Handler(function, state_of(function),
                                     innermost_loop(body_of(function), statement), kinds))
    by_state = [h for h in found if h.state is not None]
    if by_state:
        return by_state
    return sorted(found, key=lambda h: -len(h.kinds))[:1]


def why_ignored(source, handler, kind):
    """The comment beside the case; "the same" is the one above."""
    file = source.files[handler.function.file]
    comments = {line: re.sub(r"\s+", " ", text.strip("/* \n")) for line, text in file.comments}
    why = ""
    for statement in within(body_of(handler.function)):
        if statement.kind == "label" and statement.value and KIND.match(statement.value):
            said = comments.get(statement.line, "")
            if re.match(r"\[|thesis", said):
                said = ""  # where it is from, not why
            if not re.match(r"the same\b", said):
                why = said
            if statement.value == kind:
                return why, statement.line
    return "", handler.function.line


def show(event):
    if event.kind == "become":
        state, why = event.text
        text = ["→ " + state[len("RAFT_"):].lower() + why + " "]
    elif event.kind == "timer":
        text = ["winds up the election timer "]
    else:
        text = [Code(event.text), " "]
    text.append(Ref(event.file, event.line))
    if event.conditions:
        text += [" if ", Code(" and ".join(map(short, event.conditions)))]
    return text


def short(condition):
    """Without what is handed to functions: the line says that."""
    text = re.sub(r"(\w)\((?:[^()]|\([^()]*\))+\)", r"\1(…)", condition)
    return "(%s)" % text if "||" in text and not text.startswith("not ") else text


def shown(events):
    lines = Lines()
    seen = set()
    for event in events:
        key = (event.kind, event.text if event.kind != "become" else event.text[0],
               event.conditions if event.kind != "become" else ())
        if key not in seen:
            seen.add(key)
            lines.append(show(event))
    return lines


def cell(source, design, found, state, kind):
    handler = next((h for h in found if h.state in (state, None) and kind in h.kinds), None)
    if handler is None:
        return Lines(["—"])
    walk = Walk(source, design)
    walk.run(handler.statements, Known(state, kind), handler.function)
    lines = shown(walk.events)
    if lines:
        return lines
    why, line = why_ignored(source, handler, kind)
    return Lines([["nothing" + (": " + why if why else "") + " ", Ref(handler.function.file, line)]])


# ---- the term ----

def term_switches(source, design):
    for function in source.functions_of(design):
        for statement in within(body_of(function)):
            if statement.kind == "switch" and checks_term(statement.head):
                yield function, statement


def term_cell(source, design, state, verdict):
    lines = Lines()
    for function, statement in term_switches(source, design):
        if state_of(function) not in (state, None):
            continue
        body = statement.body.body
        labels = [s.kind == "label" and s.value == verdict for s in body]
        if True not in labels:
            continue
        walk = Walk(source, design)
        walk.run(body[labels.index(True):], Known(state, None), function)
        lines += shown(walk.events)
    return lines or Lines(["goes on"])


# ---- the table ----

def plain(kind):
    return re.sub(r"^(MAIL|ON)_", "", kind)


def own_kinds(source, design):
    """Which kind of its own a design gives to each kind of mail, where it has its own: read from its
    table of them, or from the switch that turns the one into the other."""
    names = {}
    for file in source.files_of(design, ".c"):
        for message, own in re.findall(r"\[MESSAGE_(\w+)\]\s*=\s*(ON_\w+)", file.code):
            names["MAIL_" + message] = own
    for function in source.functions_of(design):
        for statement in within(body_of(function)):
            if statement.kind != "switch" or not statement.head or statement.head[-1] != "kind":
                continue
            for labels, part in cases(statement.body.body):
                for inner in within(part):
                    value = inner.__dict__.get("value") or []
                    if inner.kind == "expression" and re.match(r"ON_", value[-1]) and (
                            value[-2:-1] == ["="]):
                        names.update({label: str(value[-1]) for label in labels})
    return names


def tables(source):
    """For each state: its name, and rows of [kind, a cell for each design]."""
    found = {design: handlers(source, design) for design in source.designs}
    own = {}  # (design, row) -> the design's own kind
    order = []
    for design in source.designs:
        names = own_kinds(source, design)
        for mail, kind in names.items():
            own[(design, plain(mail))] = kind
        alias = {kind: mail for mail, kind in names.items()}
        for handler in found[design]:
            for kind in handler.kinds:
                row = plain(alias.get(kind, kind))
                own.setdefault((design, row), kind)
                if row not in order:
                    order.append(row)
    known = [plain(kind) for kind in re.findall(r"\bMAIL_\w+", source.files["server/mail/mail.h"].code)]
    order.sort(key=lambda row: known.index(row) if row in known else len(known))
    for state in STATES:
        rows = []
        for verdict, words_of in (("TERM_NEWER", "first: a newer term"),
                                  ("TERM_STALE", "first: an older term")):
            rows.append([words_of] + [term_cell(source, d, state, verdict)
                                      for d in source.designs])
        for row in order:
            cells = [cell(source, d, found[d], state, own[(d, row)]) if (d, row) in own
                     else Lines(["—"]) for d in source.designs]
            rows.append([row.replace("_", " ").lower()] + cells)
        yield state[len("RAFT_"):].lower(), rows


def visited(source, design, kind):
    """(file, line) of all calls that this kind of a peer's message can lead to, in any state."""
    lines = set()
    own = own_kinds(source, design).get(kind, kind)
    for handler in handlers(source, design):
        if own in handler.kinds:
            lines |= walked(source, design, handler.function, handler.statements, own)
    for function, _ in term_switches(source, design):
        lines |= walked(source, design, function, body_of(function), kind)
    return lines


def walked(source, design, function, statements, kind):
    lines = set()
    for state in STATES:
        if state_of(function) in (state, None):
            walk = Walk(source, design)
            walk.verdict = None
            walk.run(statements, Known(state, kind), function)
            lines |= walk.visited
    return lines


def problems(source):
    """States of designs in which no handler was found."""
    missing = []
    for design in source.designs:
        found = handlers(source, design)
        for state in STATES:
            if not any(h.state in (state, None) for h in found):
                missing.append("the design %s: no switch on the kind of mail for the state %s" %
                               (design, state))
    return missing
