"""The server's C sources as tokens, functions and calls.

Not a compiler: it reads the plain C in which this project is written, and knows as much of it as
the report needs. A name is looked up as C does: a static function of the same file first."""
import os
import re

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[A-Za-z_]\w*|0[xX][0-9a-fA-F]+|\d\w*'
                   r'|->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|\S')
NAME = re.compile(r"[A-Za-z_]\w*$")
NOT_CALLS = {"if", "for", "while", "switch", "return", "sizeof", "do", "case", "defined"}


class Token(str):
    """A piece of C, and the line on which it stands."""
    line = 0

    def __new__(cls, text, line):
        self = super().__new__(cls, text)
        self.line = line
        return self


class Function:
    def __init__(self, file, name, static, parameters, body, line, end):
        self.file = file
        self.name = name
        self.static = static
        self.parameters = parameters  # a list of lists of tokens
        self.body = body  # tokens between the braces
        self.line = line
        self.end = end

    def parameter_names(self):
        return [p[-1] for p in self.parameters if p and NAME.match(p[-1])]

    def position(self, *wanted):
        """Which parameter is declared with these words, from 0; None when none is."""
        for i, parameter in enumerate(self.parameters):
            if all(word in parameter for word in wanted):
                return i
        return None


def without_comments(text):
    """The code alone, and [(line, comment)]. Lines stay where they are."""
    comments = []

    def blank(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece
        comments.append((text.count("\n", 0, match.start()) + 1, piece))
        return re.sub(r"[^\n]", " ", piece)

    code = re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, text,
                  flags=re.S)
    return code, comments


class File:
    def __init__(self, top, path):
        self.path = path
        with open(os.path.join(top, path), encoding="utf-8") as source:
            self.text = source.read()
        self.lines = self.text.split("\n")
        self.code, self.comments = without_comments(self.text)
        # A macro's definition is no code of this place.
        plain = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
                       lambda m: "\n" * m.group(0).count("\n"), self.code, flags=re.M)
        self.tokens = []
        line = 1
        last = 0
        for match in TOKEN.finditer(plain):
            line += plain.count("\n", last, match.start())
            last = match.start()
            self.tokens.append(Token(match.group(0), line))
        self.functions = list(self._find_functions())

    def code_lines(self):
        """Lines that hold code: neither blank, nor comment alone."""
        return sum(1 for line in self.code.split("\n") if line.strip())

    def _find_functions(self):
        tokens = self.tokens
        i = 0
        while i < len(tokens):
            if tokens[i] != "{":
                i += 1
                continue
            end = matching(tokens, i)
            if i > 0 and tokens[i - 1] == ")":
                opening = matching_back(tokens, i - 1)
                name = tokens[opening - 1]
                begin = opening - 1
                while begin > 0 and tokens[begin - 1] not in (";", "}"):
                    begin -= 1
                if NAME.match(name):
                    parameters = split_commas(tokens[opening + 1:i - 1])
                    yield Function(self.path, str(name), "static" in tokens[begin:opening],
                                   parameters, tokens[i + 1:end], name.line, tokens[end].line)
            i = end + 1

    def function_at(self, line):
        for function in self.functions:
            if function.line <= line <= function.end:
                return function
        return None


def matching(tokens, i):
    """The place of the bracket that closes the one at i."""
    opening = tokens[i]
    closing = {"(": ")", "{": "}", "[": "]"}[opening]
    depth = 0
    for j in range(i, len(tokens)):
        if tokens[j] == opening:
            depth += 1
        elif tokens[j] == closing:
            depth -= 1
            if depth == 0:
                return j
    raise ValueError("line %d: %s is not closed" % (tokens[i].line, opening))


def matching_back(tokens, i):
    depth = 0
    for j in range(i, -1, -1):
        if tokens[j] == ")":
            depth += 1
        elif tokens[j] == "(":
            depth -= 1
            if depth == 0:
                return j
    raise ValueError("line %d: ) was not opened" % tokens[i].line)


def split_commas(tokens):
    parts = [[]]
    depth = 0
    for token in tokens:
        depth += (token in "([{") - (token in ")]}")
        if token == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


class Call:
    def __init__(self, caller, name, line, arguments):
        self.caller = caller  # a Function
        self.name = name
        self.line = line
        self.arguments = arguments  # a list of lists of tokens


def calls_in(tokens, caller=None):
    for i, token in enumerate(tokens):
        if (NAME.match(token) and token not in NOT_CALLS and i + 1 < len(tokens) and
                tokens[i + 1] == "(" and not (i > 0 and NAME.match(tokens[i - 1]) and
                                              tokens[i - 1] not in ("return", "else", "do"))):
            arguments = split_commas(tokens[i + 2:matching(tokens, i + 1)])
            yield Call(caller, str(token), token.line, arguments)


class Source:
    """All of server/, and which designs there are."""

    def __init__(self, top):
        self.top = top
        self.files = {}
        for directory, _, names in sorted(os.walk(os.path.join(top, "server"))):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.relpath(os.path.join(directory, name), top)
                    self.files[path] = File(top, path)
        self.designs = re.findall(r'X\(DESIGN_\w+,\s*"([\w-]+)"\)', self.files[
            "server/replica/replica.h"].text)
        if not self.designs:
            raise SystemExit("raftcompare: server/replica/replica.h names no design in SERVER_DESIGNS")
        self.functions = {}
        self.callers = {}  # name of the called one -> calls
        for file in self.files.values():
            for function in file.functions:
                self.functions.setdefault(function.name, []).append(function)
        for file in self.files.values():
            for function in file.functions:
                for call in calls_in(function.body, function):
                    self.callers.setdefault(call.name, []).append(call)

    def folder(self, design):
        return "server/%s/" % design.replace("-", "_")

    def design_of(self, path):
        for design in self.designs:
            if path.startswith(self.folder(design)):
                return design
        return None

    def files_of(self, design, ending=(".c", ".h")):
        folder = self.folder(design)
        return [f for path, f in self.files.items()
                if path.startswith(folder) and path.endswith(ending)]

    def functions_of(self, design):
        return [f for file in self.files_of(design, ".c") for f in file.functions]

    def resolve(self, name, path):
        """The function that this name means in that file; None when server/ has none."""
        found = self.functions.get(name, [])
        for function in found:
            if function.file == path:
                return function
        for function in found:
            if not function.static:
                return function
        return None

    def calls_of(self, function):
        """All calls of this very function."""
        return [call for call in self.callers.get(function.name, [])
                if self.resolve(function.name, call.caller.file) is function]

    def line(self, path, number):
        return self.files[path].lines[number - 1].strip()

    def find(self, path, pattern):
        """The first line of the file that fits the pattern."""
        if path not in self.files:
            return None
        for number, line in enumerate(self.files[path].lines, 1):
            if re.search(pattern, line):
                return number
        return None
