"""Tests tools/long_tests with a test of its own that passes or fails."""
import contextlib
import importlib.machinery
import importlib.util
import io
import stat
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run

TEST = """import os, sys
print("case", sys.argv[1], "of", os.environ["NUMBER"], "with", os.environ["SCULPT_RUN"])
sys.exit(sys.argv[1] == "bad")
"""


def load_tool():
    loader = importlib.machinery.SourceFileLoader("long_tests", str(TOOLS / "long_tests"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("long_tests", loader))
    loader.exec_module(module)
    return module


class LongTests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "test.py").write_text(TEST)
        program = self.folder / "sculpt_run"
        program.write_text("#!/bin/sh\necho 'sculpt_run 1'\necho 'commit     0123456789abcdef'\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def main(self, *cases):
        tool = load_tool()
        script = str(self.folder / "test.py")
        tool.TESTS = {name: tool.LongTest(f"Title of {name}", "What it does.", script, (name,), {"NUMBER": "9"})
                      for name in cases}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            code = tool.main(["--bin", str(self.folder), "--results", str(self.folder)])
        return code, errors.getvalue()

    def test_a_test_that_passes_has_a_page(self):
        self.assertEqual(self.main("good"), (0, ""))
        page = (self.folder / "good.md").read_text()
        for text in ("# Title of good\n", "`tools/long_tests good`", "with NUMBER=9", "What it does.",
                     f"case good of 9 with {self.folder}/sculpt_run\n", "commit\n012345678;"):
            self.assertIn(text, page)

    def test_a_failure_leaves_the_page_of_the_last_good_run(self):
        (self.folder / "bad.md").write_text("old")
        self.assertEqual(self.main("bad", "good"), (1, "failed: bad\n"))
        self.assertEqual((self.folder / "bad.md").read_text(), "old")
        self.assertTrue((self.folder / "good.md").exists())

    def test_mistakes(self):
        result = run(TOOLS / "long_tests", "kill")
        self.assertEqual(result.returncode, 2)
        self.assertIn("there is no long test 'kill'; there are kills", result.stderr)
        result = run(TOOLS / "long_tests", "kills", "--bin", self.folder / "none")
        self.assertEqual(result.returncode, 2)
        self.assertIn("has no sculpt_run; build it", result.stderr)

    def test_scripts_and_their_cases_exist(self):
        for name in run(TOOLS / "long_tests", "--list").stdout.split():
            test = load_tool().TESTS[name]
            text = (ROOT / test.script).read_text()
            for case in test.cases:
                self.assertIn(f"def {case.rpartition('.')[2]}(", text)
            for key in test.settings:
                self.assertIn(f'"{key}"', text)


if __name__ == "__main__":
    unittest.main()
