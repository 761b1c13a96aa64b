"""A small study of two methods, and what the tests of sculpt_study share."""
import subprocess
from pathlib import Path

from common import PROGRAM, TIMEOUT, ProgramTest, main

STUDY_PROGRAM = str(Path(PROGRAM).with_name("sculpt_study"))

STUDY = """
title = "Two methods"
base = "tiny.toml"

[vary]
seed = [1, 2]

[variant.sculpt]
label = "SCULPT"

[variant.cyclic]
method = "cyclic"
"""
NAMES = ["001-sculpt-s1", "002-sculpt-s2", "003-cyclic-s1", "004-cyclic-s2"]


def study(*words, **options):
    """Runs sculpt_study and returns the finished process with its output as text."""
    return subprocess.run([STUDY_PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False, stdin=subprocess.DEVNULL, **options)


def start_study(*words):
    return subprocess.Popen([STUDY_PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            stdin=subprocess.DEVNULL, text=True)


def children_of(folder):
    """Returns the ids of the processes of sculpt_run that work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sculpt_run") and any(str(folder).encode() in word for word in words):
            found.append(int(process.name))
    return found


def starts(folder):
    """Returns how often each run of a study was started."""
    return {log.stem: log.read_text().count("\n== ") + log.read_text().startswith("== ")
            for log in (folder / "logs").glob("*.log")}


class StudyTest(ProgramTest):
    """A test with the study STUDY in self.file, which is to run in self.out."""

    def setUp(self):
        super().setUp()
        self.file = self.write("two.toml", STUDY)
        self.out = self.folder / "out"

    def run_study(self, *words, code=0, out=None):
        done = study(self.file, "--out", out or self.out, *words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def refuse(self, part, *words):
        """Checks that the study is refused with one message that has `part`, and that nothing was made."""
        done = self.run_study(*words, code=2)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn(part, errors[0])
        self.assertFalse(self.out.exists())


def run_study_tests():
    """Runs the tests of the file that calls it."""
    if not Path(STUDY_PROGRAM).exists():
        raise SystemExit(f"error: {STUDY_PROGRAM} is not built")
    main()
