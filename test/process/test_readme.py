"""README.md, word for word: its commands are run in its order, and what it names is there.

A line of a block marked "sh" that ends in "# prints WORDS" must print these words, whatever its exit
code; any other must succeed. Only ports, the counts of seeds and of requests are changed."""
import os
import re
import shutil
import signal
import subprocess

from cluster import BUILD, PATIENCE, SLOW, TOP, Case, die_with_parent, free_ports, run

SHORT = ((r"(--seeds 1\.\.)\d+", r"\g<1>2"), (r"(-n )\d+", r"\g<1>1000"),
         (r"(--seconds )\d+", r"\g<1>10"))
SHELL = """
set -e
raftcluster() { command raftcluster --wait %ds "$@"; }
prints() { # WORDS WHAT-WAS-PRINTED
    printf '%%s\\n' "$2"
    case $2 in *"$1"*) ;; *) echo "README.md promises: $1" >&2; exit 1 ;; esac
}
""" % PATIENCE


def readme():
    with open(os.path.join(TOP, "README.md")) as file:
        return file.read()


def blocks(kind):
    return re.findall(r"^```%s\n(.*?)^```$" % kind, readme(), re.M | re.S)


def with_promises(block):
    """The block, with each promise checked where it stands."""
    lines = []
    for line in block.splitlines():
        promise = re.fullmatch(r"(.*?)\s+# prints (.*)", line)
        if promise:
            line = "out=$(%s 2>&1) || true; prints '%s' \"$out\"" % promise.groups()
        lines.append(line)
    return "\n".join(lines) + "\n"


class Readme(Case):
    def setUp(self):
        super().setUp()
        ports = free_ports(6)
        self.ports = {str(6000 + n): str(ports[n - 1]) for n in (1, 2, 3)}
        self.ports.update({str(7000 + n): str(ports[n + 2]) for n in (1, 2, 3)})
        tools = os.path.join(self.directory, "tools")
        os.makedirs(tools)
        os.makedirs(os.path.join(self.directory, "build"))
        os.symlink(BUILD, os.path.join(self.directory, "build", "release"))
        os.symlink(os.path.join(TOP, "test"), os.path.join(self.directory, "test"))
        shutil.copy(os.path.join(TOP, "tools", "raftcluster"), tools)
        with open(os.path.join(TOP, "cluster.conf")) as file:
            text = self.moved(file.read())
        if SLOW > 1:
            text += "election-timeout %dms..%dms\n" % (150 * SLOW, 300 * SLOW)
        with open(os.path.join(self.directory, "cluster.conf"), "w") as file:
            file.write(text)
        self.addCleanup(run, os.path.join(tools, "raftcluster"), "stop", cwd=self.directory)

    def moved(self, text):
        """With the ports of this test in place of those of cluster.conf."""
        return re.sub(r"\b[67]00[123]\b", lambda port: self.ports[port.group()], text)

    def shell(self, script):
        process = subprocess.Popen(["bash", "-c", SHELL + self.moved(script)], cwd=self.directory,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                   preexec_fn=die_with_parent)
        try:
            text = process.communicate(timeout=6 * PATIENCE)[0]
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # servers that a block has left behind
            except ProcessLookupError:
                pass
        self.assertEqual(process.returncode, 0, text)
        return text

    def test_its_picture(self):
        """The session at the top: the same words lead to the same lines."""
        (picture,) = blocks("console")
        commands = re.findall(r"^\$ (.*?)(?:\s+# .*)?$", picture, re.M)
        self.assertEqual(commands[0], "tools/setup run")
        commands[0] = "tools/raftcluster start"  # without what installs and builds
        text = self.shell("\n".join(commands))
        for line in ("3 of 3 voters follow it", "OK", "server 1 was killed", "hello"):
            self.assertIn(line, picture)
            self.assertIn(line + "\n", text)
        self.assertRegex(text, "room=server msg=\"term \\d+: candidate -> leader: a quorum voted for it")

    def test_its_commands(self):
        """All blocks, pasted one after the other into one shell."""
        script = "".join(with_promises(block) for block in blocks("sh"))
        self.assertGreater(script.count("prints "), 8)
        for pattern, short in SHORT:
            script = re.sub(pattern, short, script)
        self.shell(script)

    def test_its_numbered_steps(self):
        """The steps for a wiped server are those of the block below them."""
        steps = re.findall(r"^\d\. .*", readme(), re.M)
        block = next(block for block in blocks("sh") if "readmit" in block)
        for step in steps:
            for command in re.findall(r"`(raft(?:cluster|ctl) [^`]*)`", step):
                self.assertIn(command, block)

    def test_what_it_names_is_there(self):
        text = readme()
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            self.assertTrue(os.path.exists(os.path.join(TOP, link)), link)
        with open(os.path.join(TOP, "cluster.conf")) as file:
            keys = set(re.findall(r"^#?([a-z][a-z-]+) ", file.read(), re.M))
        rows = re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|[^|]*\|$", text.partition("## Bounds")[2], re.M)
        bounds = {key for row in rows for key in re.findall(r"`([a-z-]+)`", row)}
        self.assertGreater(len(bounds), 10)
        self.assertEqual(bounds - keys, set())
        # CI reads this line.
        self.assertEqual(len(re.findall(r"^    tools/setup test$", text, re.M)), 1)
