"""tools/quickstart: which run folder it takes, and what it passes on. CMake and the program are
stand-ins; tests/app runs the real program."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS
from commands_test import SUMMARY

# This script creates the program. It saves the targets that it is to build.
FAKE_CMAKE = """#!/usr/bin/env python3
import pathlib, sys
if sys.argv[1:] == ["--version"]:
    print("cmake version 3.25.1")
    sys.exit()
if sys.argv[1] == "--build":
    pathlib.Path("targets").write_text(" ".join(b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--target"))
program = pathlib.Path("build/cpu/bin/sculpt_run")
program.parent.mkdir(parents=True, exist_ok=True)
program.write_text(%r)
program.chmod(0o755)
"""
# This program saves its arguments. It ends with the status in the file `status` and leaves a
# checkpoint, or it finishes.
FAKE_PROGRAM = """#!/usr/bin/env python3
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "checkpoints").mkdir(parents=True, exist_ok=True)
(out / "checkpoints" / "last.safetensors").write_text("")
pathlib.Path("arguments").write_text(" ".join(sys.argv[1:]))
status = pathlib.Path("status")
if status.exists():
    sys.exit(int(status.read_text()))
(out / "summary.json").write_text(json.dumps(%r))
""" % SUMMARY


class Quickstart(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        (self.root / "tools").mkdir()
        for name in ("quickstart", "setup_common.sh", "show_summary.py", "run_folder.py"):
            shutil.copy(TOOLS / name, self.root / "tools" / name)
        (self.root / "bin").mkdir()
        cmake = self.root / "bin" / "cmake"
        cmake.write_text(FAKE_CMAKE % FAKE_PROGRAM)
        cmake.chmod(0o755)

    def quickstart(self, *words):
        environment = {**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        result = subprocess.run([str(self.root / "tools" / "quickstart"), "--no-install", *words],
                                capture_output=True, text=True, env=environment, timeout=60,
                                stdin=subprocess.DEVNULL, check=False, cwd="/")
        arguments = self.root / "arguments"
        return result, arguments.read_text() if arguments.exists() else ""

    def test_folders(self):
        result, arguments = self.quickstart()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(arguments, "configs/quickstart.toml --out runs/first-sculpt")
        self.assertIn("50.00 % in the last epoch", result.stdout)
        self.assertIn(f"run folder: {self.root}/runs/first-sculpt ", result.stdout)

        result, arguments = self.quickstart()
        self.assertIn("runs/first-sculpt is a finished run, kept", result.stdout)
        self.assertEqual(arguments, "configs/quickstart.toml --out runs/first-sculpt-2")

    def test_the_programs_of_the_readme_are_built(self):
        self.quickstart()
        built = (self.root / "targets").read_text().split()
        commands = (ROOT / "README.md").read_text().split("**Three commands**")[1].split("**One result.**")[0]
        named = set(re.findall(r"build/cpu/bin/(\w+)", commands))
        self.assertEqual(named, {"sculpt_run", "sculpt_study"})
        # A study writes its page with sculpt_report.
        self.assertLessEqual(named | {"sculpt_report"}, set(built))
        # The study does not write into the folder of the quickstart's run.
        self.assertFalse((self.root / "runs" / "quickstart").exists())

    def test_unfinished_run_is_continued(self):
        (self.root / "status").write_text("75")
        result, _ = self.quickstart()
        self.assertEqual(result.returncode, 75)
        (self.root / "status").unlink()
        result, arguments = self.quickstart()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(arguments, "configs/quickstart.toml --out runs/first-sculpt --resume")

    def test_data_folder(self):
        data = self.root / "my data"
        data.mkdir()
        _, arguments = self.quickstart("--data", str(data))
        self.assertEqual(arguments, "configs/quickstart.toml --out runs/first-sculpt-cifar10 "
                         f"--set data.name=cifar10 --set data.root={data}")


if __name__ == "__main__":
    unittest.main()
