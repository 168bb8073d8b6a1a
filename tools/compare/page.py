"""The report as a list of blocks, and the two ways to print it: Markdown, and one HTML page.

A text is a string or a list of strings, Code and Ref. In the page a Ref leads to the line itself,
since the sources it names are part of the page; in Markdown it is a link to the file."""
import html
import re


class Code(str):
    pass


class Strong(str):
    pass


class Ref:
    """A line of the sources."""

    def __init__(self, path, line, text=None):
        self.path = path
        self.line = line
        self.text = text or "%s:%d" % (path.replace("server/", "", 1), line)


class Lines(list):
    """Texts that stand under one another in a cell."""


class Block:
    def __init__(self, kind, **fields):
        self.kind = kind
        self.__dict__.update(fields)


def heading(level, text):
    return Block("heading", level=level, text=text)


def paragraph(text):
    return Block("paragraph", text=text)


def items(texts):
    return Block("items", texts=texts)


def table(columns, rows, numbers=False, wide=False):
    """The first column names the row. `numbers`: the others are aligned as numbers."""
    return Block("table", columns=columns, rows=rows, numbers=numbers, wide=wide)


def verbatim(text):
    return Block("verbatim", text=text)


def parts(text):
    return text if isinstance(text, list) else [text]


# ---- Markdown ----

def md_text(text):
    if isinstance(text, Lines):
        return "<br>".join(md_text(t) for t in text) or " "
    out = []
    for part in parts(text):
        if isinstance(part, Ref):
            out.append("[%s](../../%s#L%d)" % (part.text, part.path, part.line))
        elif isinstance(part, Code):
            out.append("`%s`" % part.replace("|", "\\|"))
        elif isinstance(part, Strong):
            out.append("**%s**" % part)
        elif isinstance(part, list):
            out.append(md_text(part))
        else:
            out.append(str(part).replace("|", "\\|"))
    return "".join(out)


def markdown(title, blocks):
    out = ["# %s\n" % title]
    for block in blocks:
        if block.kind == "heading":
            out.append("%s %s\n" % ("#" * block.level, md_text(block.text)))
        elif block.kind == "paragraph":
            out.append(md_text(block.text) + "\n")
        elif block.kind == "items":
            out.append("\n".join("- " + md_text(text) for text in block.texts) + "\n")
        elif block.kind == "table":
            right = "---:" if block.numbers else "---"
            rows = ["| " + " | ".join(md_text(c) for c in block.columns) + " |",
                    "|---|" + "|".join([right] * (len(block.columns) - 1)) + "|"]
            rows += ["| " + " | ".join(md_text(c) for c in row) + " |" for row in block.rows]
            out.append("\n".join(rows) + "\n")
        elif block.kind == "verbatim":
            out.append("```\n%s\n```\n" % block.text)
    return "\n".join(out)


# ---- HTML ----

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #5d6673; --paper: #fdfdfb;
  --card: #f3f3ef; --line: #d9d9d2; --link: #0b57a4; --mark: #fff2b8; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe3e8; --dim: #98a2af; --paper: #15181c;
  --card: #1e2228; --line: #353b44; --link: #7db7f5; --mark: #4a4318; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main, nav { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
nav { padding-top: 8px; font-size: 14px; color: var(--dim); }
nav a { margin-right: 14px; white-space: nowrap; display: inline-block; }
h1 { font-size: 29px; line-height: 1.2; margin: 28px 0 10px; }
h2 { font-size: 22px; margin: 46px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 17px; margin: 28px 0 6px; }
p, li { max-width: 78ch; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre, .ref { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 14px; line-height: 1.45; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 8px;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--dim); position: sticky; top: 0;
  background: var(--paper); }
tbody th { font-weight: 600; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right;
  font-variant-numeric: tabular-nums; }
.wide { width: 100%; }
td .row { display: block; }
tbody tr:hover { background: var(--card); }
pre { background: var(--card); padding: 12px; overflow-x: auto; border-radius: 6px; margin: 0; }
.source span { display: block; white-space: pre; }
.source span::before { content: attr(data-n); display: inline-block; width: 4ch;
  margin-right: 2ch; text-align: right; color: var(--dim); }
.source span:target { background: var(--mark); }
details { margin: 8px 0; }
summary { cursor: pointer; font-family: ui-monospace, "DejaVu Sans Mono", monospace;
  font-size: 14px; }
"""

# A link into a closed file opens it.
SCRIPT = """
function show() {
  const line = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const box = line && line.closest("details");
  if (box) { box.open = true; line.scrollIntoView({block: "center"}); }
}
addEventListener("hashchange", show); show();
"""


class Html:
    def __init__(self, source):
        self.source = source
        self.files = set()  # that a Ref names

    def text(self, text):
        if isinstance(text, Lines):
            return "".join('<span class="row">%s</span>' % self.text(t) for t in text)
        out = []
        for part in parts(text):
            if isinstance(part, Ref):
                self.files.add(part.path)
                code = self.source.line(part.path, part.line)
                out.append('<a class="ref" href="#%s:%d" title="%s">%s</a>' % (
                    part.path, part.line, html.escape(code, quote=True), html.escape(part.text)))
            elif isinstance(part, Code):
                out.append("<code>%s</code>" % html.escape(part))
            elif isinstance(part, Strong):
                out.append("<strong>%s</strong>" % html.escape(part))
            elif isinstance(part, list):
                out.append(self.text(part))
            else:
                out.append(html.escape(str(part)))
        return "".join(out)

    def table(self, block):
        head = "".join("<th>%s</th>" % self.text(c) for c in block.columns)
        body = "".join("<tr><th>%s</th>%s</tr>\n" % (
            self.text(row[0]), "".join("<td>%s</td>" % self.text(c) for c in row[1:]))
            for row in block.rows)
        kind = " ".join(k for k, on in (("numbers", block.numbers), ("wide", block.wide)) if on)
        return ('<div class="scroll"><table class="%s"><thead><tr>%s</tr></thead>\n<tbody>%s'
                "</tbody></table></div>" % (kind, head, body))

    def block(self, block):
        if block.kind == "heading":
            text = self.text(block.text)
            return '<h%d id="%s">%s</h%d>' % (block.level, slug(block.text), text, block.level)
        if block.kind == "paragraph":
            return "<p>%s</p>" % self.text(block.text)
        if block.kind == "items":
            return "<ul>%s</ul>" % "".join("<li>%s</li>" % self.text(t) for t in block.texts)
        if block.kind == "table":
            return self.table(block)
        return "<pre>%s</pre>" % html.escape(block.text)

    def sources(self):
        for path in sorted(self.files):
            lines = self.source.files[path].lines
            body = "".join('<span id="%s:%d" data-n="%d">%s</span>' % (
                path, n, n, html.escape(line) or " ") for n, line in enumerate(lines[:-1], 1))
            yield '<details><summary>%s</summary><pre class="source">%s</pre></details>' % (
                path, body)


def slug(text):
    return re.sub(r"\W+", "-", str(text).lower()).strip("-")


def page(title, blocks, source):
    printer = Html(source)
    body = "\n".join(printer.block(block) for block in blocks)
    contents = "".join('<a href="#%s">%s</a>' % (slug(b.text), html.escape(b.text))
                       for b in blocks if b.kind == "heading" and b.level == 2)
    contents += '<a href="#sources">The lines themselves</a>'
    files = "\n".join(printer.sources())
    return """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title><style>%s</style></head>
<body><nav>%s</nav><main><h1>%s</h1>
%s
<h2 id="sources">The lines themselves</h2>
<p>Every file that this page refers to, as it was when the page was made.</p>
%s
</main><script>%s</script></body></html>
""" % (html.escape(title), STYLE, contents, html.escape(title), body, files, SCRIPT)
