"""raftcompare, without measuring: the report is whole, and what is missing is noticed."""
import html.parser
import os
import re
import shutil
import sys

from cluster import BUILD, TOP, Case, run

RAFTCOMPARE = os.path.join(TOP, "tools", "raftcompare")
VOID = {"meta", "br", "link", "img"}


class Page(html.parser.HTMLParser):
    """Which anchors a page has and uses, what it loads, and whether its elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.ids = []
        self.links = []
        self.loaded = []
        self.open = []
        self.faults = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if "href" in attributes:
            self.links.append(attributes["href"])
        if "src" in attributes:
            self.loaded.append(attributes["src"])

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append("</%s> at %s" % (tag, self.getpos()))


def designs():
    with open(os.path.join(TOP, "server", "server.h")) as header:
        return re.findall(r'X\(DESIGN_\w+, "([\w-]+)"\)', header.read())


class Compare(Case):
    def test_report_is_whole(self):
        out = os.path.join(self.directory, "out")
        code, text = run(sys.executable, RAFTCOMPARE, "--no-measure", "--build", BUILD, "--out", out)
        self.assertEqual(code, 0, text)
        with open(os.path.join(out, "report.html"), encoding="utf-8") as report:
            page = Page(report.read())
        self.assertEqual((page.faults, page.open, page.loaded), ([], [], []))
        self.assertEqual(len(page.ids), len(set(page.ids)))
        self.assertGreater(len(page.links), 100)
        for link in page.links:
            self.assertEqual(link[0], "#", "the page needs no other")
            self.assertIn(link[1:], page.ids)
        with open(os.path.join(out, "report.md"), encoding="utf-8") as report:
            text = report.read()
        for design in designs():
            self.assertIn("\n### %s\n" % design, text)
        for path, line in re.findall(r"\(\.\./\.\./([^)#]+)#L(\d+)\)", text):
            with open(os.path.join(TOP, path)) as source:
                self.assertLessEqual(int(line), len(source.readlines()))

    def copy_with(self, path, before, after):
        """A copy of the sources in which one file says something else."""
        top = os.path.join(self.directory, "top")
        shutil.copytree(os.path.join(TOP, "server"), os.path.join(top, "server"))
        place = os.path.join(top, path)
        with open(place) as source:
            text = source.read()
        self.assertIn(before, text)
        with open(place, "w") as source:
            source.write(text.replace(before, after))
        return run(sys.executable, RAFTCOMPARE, "--check", "--sources", top)

    def test_rule_without_call_is_noticed(self):
        code, text = self.copy_with("server/dispatch/handler.c", "follow_take_entries", "take_nothing")
        self.assertEqual(code, 1, text)
        self.assertIn("AppendEntries 3: no call site and no tag in the design dispatch", text)
        self.assertNotIn("design per-state", text)

    def test_state_without_handler_is_noticed(self):
        code, text = self.copy_with("server/per_state/leader.c", "switch (mail->kind)",
                                    "switch (mail->size)")
        self.assertEqual(code, 1, text)
        self.assertIn("no switch on the kind of mail for the state RAFT_LEADER", text)

    def test_line_that_prose_speaks_of_is_missed(self):
        code, text = self.copy_with("server/dispatch/transitions.c", "void end_state", "void finish")
        self.assertEqual(code, 1, text)
        self.assertIn("no line of server/dispatch/transitions.c fits", text)
