"""The page of prose: written by hand, but for the lines it leads to, which are found by pattern.

prose.md has "# " for the page, "## DESIGN" for what is said of one design (left out when there is no
such design), and paragraphs. In a paragraph {FILE:PATTERN} is the first line of the file that fits
the pattern, **bold** is a key word and `code` is code."""
import os
import re

from page import Code, Ref, Strong, heading, items, paragraph

PIECE = re.compile(r"\{(server/[\w/.]+):((?:[^{}\\]|\\.)+)\}|`([^`]+)`|\*\*([^*]+)\*\*")


def text_of(source, line, missing):
    out = []
    last = 0
    for match in PIECE.finditer(line):
        out.append(line[last:match.start()])
        last = match.end()
        path, pattern, code, strong = match.groups()
        if path is not None:
            number = source.find(path, pattern)
            if number is None:
                missing.append("prose.md: no line of %s fits %s" % (path, pattern))
            else:
                out.append(Ref(path, number))
        elif code is not None:
            out.append(Code(code))
        else:
            out.append(Strong(strong))
    return out + [line[last:]]


def blocks(source):
    """The page's blocks, and what its patterns did not find."""
    with open(os.path.join(os.path.dirname(__file__), "prose.md"), encoding="utf-8") as prose:
        lines = prose.read().splitlines()
    found, missing, said = [], [], set()
    design = None
    for line in lines:
        if line.startswith("## "):
            design = line[3:]
            said.add(design)
            if design in source.designs:
                found.append(heading(3, design))
        elif line.startswith("# "):
            found.append(heading(2, line[2:]))
        elif line and (design is None or design in source.designs):
            text = text_of(source, line, missing)
            found.append(paragraph(text) if design is None else items([text]))
    missing += ["prose.md says nothing of the design " + d for d in source.designs
                if d not in said]
    return found, missing
