"""How planted mistakes find their places (test/planted), and what of them is refused."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
import edits  # noqa: E402 (found in the directory above)

CODE = """/* first() is not here. */
static int first(int a);

static int first(int a)
{
    if (a > 1 &&
        a < 9)
        return 2;
    return 1;
}

int second(int a,
           int b)
{
    if (a > b)
        return 1;
    if (b > a)
        return 1;
    return first(a);
}
enum { LIMIT = 3 };
"""


class TestPlanted(unittest.TestCase):
    def plant(self, *places, judge="judge simulator"):
        """The code of the file once the mistake is in it."""
        with tempfile.TemporaryDirectory() as tree:
            with open(os.path.join(tree, "a.c"), "w", encoding="utf-8") as file:
                file.write(CODE)
            path = os.path.join(tree, "01-wrong.edit")
            with open(path, "w", encoding="utf-8") as file:
                file.write("Something is wrong.\n\n%s\n\n%s\n" % (judge, "\n\n".join(places)))
            mistake = edits.Mistake(path)
            return edits.planted(mistake, tree)["a.c"][1]

    def refused(self, says, *places, **more):
        with self.assertRaises(edits.EditError) as caught:
            self.plant(*places, **more)
        self.assertIn(says, str(caught.exception))

    def test_finds_the_old_lines_in_their_function_alone(self):
        self.assertEqual(self.plant("edit a.c first\n-    return 1;\n+    return 7;"),
                         CODE.replace("2;\n    return 1;", "2;\n    return 7;"))

    def test_finds_lines_that_are_broken_otherwise(self):
        self.assertEqual(self.plant("edit a.c first\n-if (a > 1 && a < 9)\n+    if (a > 1)"),
                         CODE.replace("a > 1 &&\n        a < 9)", "a > 1)"))

    def test_lines_that_stay_say_where(self):
        changed = self.plant("edit a.c second\n     if (b > a)\n-return 1;\n+        return 5;")
        self.assertEqual(changed, CODE.replace("if (b > a)\n        return 1",
                                               "if (b > a)\n        return 5"))

    def test_several_places_and_what_stands_in_no_function(self):
        changed = self.plant("edit a.c -\n-enum { LIMIT = 3 };\n+enum { LIMIT = 4 };",
                             "edit a.c second\n     return first(a);\n+    /* added */")
        self.assertEqual(changed, CODE.replace("= 3", "= 4").replace(
            "    return first(a);\n", "    return first(a);\n    /* added */\n"))

    def test_refuses_old_lines_that_are_not_there_exactly_once(self):
        self.refused("second in a.c has the old lines 2 times",
                     "edit a.c second\n-        return 1;\n+        return 7;")
        self.refused("first in a.c has the old lines nowhere",
                     "edit a.c first\n-    return first(a);\n+    return 7;")
        self.refused("has no function third", "edit a.c third\n-    return 1;\n+    return 7;")
        self.refused("b.c", "edit b.c first\n-    return 1;\n+    return 7;")

    def test_refuses_an_edit_that_says_too_little(self):
        self.refused("wanted at least one old line", "edit a.c first\n+    return 7;")
        self.refused("and a change", "edit a.c first\n     return 1;")
        self.refused("edit FILE FUNCTION", "edit a.c\n-    return 1;\n+    return 7;")
        self.refused("wanted: judge", "edit a.c first\n-    return 1;\n+    return 7;",
                     judge="judge nobody")
        self.refused("a judge and an edit", "edit a.c first\n-    return 1;\n+    return 7;",
                     judge="")
        self.refused("wanted a line that begins with",
                     "edit a.c first\n-    return 1;\n+    return 7;\nand more")


if __name__ == "__main__":
    unittest.main()
