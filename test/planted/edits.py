"""Planted mistakes: reads NAME.edit (README.md says how they look) and carries one out in a tree.

An edit finds its place by the function and by the old lines, whatever stands around them, and however
they are indented or broken; not finding them exactly once is an error."""
import os
import re

DESIGNS = ("per-state", "dispatch", "step", "mixed")


class EditError(Exception):
    pass


class Edit:
    """One place of a mistake: in a function of a file, old lines that become new ones."""

    def __init__(self, where, path, function):
        self.where, self.path, self.function = where, path, function
        self.lines = []  # (mark, text); the marks are " ", "-", "+", as in a diff

    def old(self):
        return [text for mark, text in self.lines if mark != "+"]

    def new(self):
        return [text for mark, text in self.lines if mark != "-"]


class Mistake:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-len(".edit")]
        self.says, self.judge, self.edits = [], None, []
        with open(path) as file:
            self._parse(os.path.basename(path), file.read().split("\n"))

    def _parse(self, file_name, lines):
        edit = None
        for number, line in enumerate(lines, 1):
            where = "%s:%d" % (file_name, number)
            words = line.split()
            if edit is not None and line[:1] in ("-", "+", " ") and words:
                edit.lines.append((line[0], line[1:]))
            elif words[:1] == ["edit"]:
                if len(words) != 3:
                    raise EditError("%s: wanted: edit FILE FUNCTION" % where)
                edit = Edit(where, words[1], words[2])
                self.edits.append(edit)
            elif words[:1] == ["judge"] and edit is None:
                if self.judge is not None:
                    raise EditError("%s: a second judge" % where)
                self.judge = judge_of(where, words[1:])
            elif words and (edit is not None or self.judge is not None):
                raise EditError("%s: wanted a line that begins with '-', '+' or a blank, or \"edit\""
                                % where)
            else:
                self.says.append(line)
        if not "".join(self.says).strip() or self.judge is None or not self.edits:
            raise EditError("%s: wanted what the mistake is, a judge and an edit" % file_name)
        for edit in self.edits:
            if not any(text.strip() for text in edit.old()) or edit.old() == edit.new():
                raise EditError("%s: wanted at least one old line, and a change" % edit.where)


def judge_of(where, words):
    """Who must catch it: ("simulator", designs), ("unit", program) or ("process", test)."""
    if words[:1] == ["simulator"] and all(word in DESIGNS for word in words[1:]):
        return ("simulator", tuple(words[1:]) or ("per-state",))
    if len(words) == 2 and words[0] in ("unit", "process"):
        return (words[0], words[1])
    raise EditError("%s: wanted: judge simulator [DESIGN...], or unit PROGRAM, or process TEST"
                    % where)


def extent(lines, function):
    """The lines [begin, end) of the definition of a function; of all for "-", which is for what
    stands in no function. A definition ends with the first brace at the margin."""
    if function == "-":
        return [(0, len(lines))]
    found = []
    name = re.compile(r"(^|[\s*])%s\(" % re.escape(function))
    for begin, line in enumerate(lines):
        if line[:1].isspace() or not name.search(line) or line.startswith(("/", "#")):
            continue
        head = begin
        while head < len(lines) and not lines[head].startswith("{"):
            if lines[head].rstrip().endswith(";"):
                head = len(lines)  # a prototype
            head += 1
        if head < len(lines):
            end = next((i for i in range(head, len(lines)) if lines[i].startswith("}")), None)
            if end is not None:
                found.append((begin, end + 1))
    return found


def find(lines, begin, end, wanted):
    """The places [first, last) in lines[begin:end] of whole lines with exactly these words."""
    words = " ".join(wanted).split()
    places = []
    for first in range(begin, end):
        got, last = [], first
        if not lines[first].split():
            continue
        while last < end and len(got) < len(words):
            got += lines[last].split()
            last += 1
        if got == words:
            places.append((first, last))
    return places


def changed(text, edit):
    """The text of a file with an edit carried out."""
    lines = text.split("\n")
    extents = extent(lines, edit.function)
    if len(extents) != 1:
        raise EditError("%s: %s has %s function %s" %
                        (edit.where, edit.path, "no" if not extents else "more than one",
                         edit.function))
    places = find(lines, *extents[0], edit.old())
    if len(places) != 1:
        raise EditError("%s: %s in %s has the old lines %s, wanted exactly once" %
                        (edit.where, edit.function, edit.path,
                         "nowhere" if not places else "%d times" % len(places)))
    first, last = places[0]
    return "\n".join(lines[:first] + edit.new() + lines[last:])


def planted(mistake, tree):
    """What a mistake makes of the files of a tree: {path: (text before, text after)}."""
    files = {}
    for edit in mistake.edits:
        if edit.path not in files:
            try:
                with open(os.path.join(tree, edit.path), encoding="utf-8") as file:
                    text = file.read()
            except OSError as error:
                raise EditError("%s: %s" % (edit.where, error)) from error
            files[edit.path] = (text, text)
        before, after = files[edit.path]
        files[edit.path] = (before, changed(after, edit))
    return files


def write(tree, files):
    for path, text in files.items():
        with open(os.path.join(tree, path), "w", encoding="utf-8") as file:
            file.write(text)
