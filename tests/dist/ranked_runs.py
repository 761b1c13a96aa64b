"""Runs of sculpt_run on several ranks, for tests. SCULPT_RUN names the program."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import on_ranks

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app"))
from common import TINY, sets  # noqa: E402

PROGRAM = os.environ.get("SCULPT_RUN", "")
EXACT = sets("dist.reduction=exact")


class RankedRuns(unittest.TestCase):
    """A test that has a temporary folder with a tiny config in it, and runs it on several ranks."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sculpt-ranks-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.config = self.folder / "tiny.toml"
        self.config.write_text(TINY)

    def words(self, ranks, *words):
        count = ["--ranks", ranks, "--ranks-by", on_ranks.ranks_by()] if ranks > 1 else []
        return [str(word) for word in (PROGRAM, *count, *words)]

    def run_program(self, ranks, *words):
        return self.run_command(self.words(ranks, *words))

    @staticmethod
    def run_command(words):
        return subprocess.run([str(word) for word in words], env=on_ranks.environment(), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=240, check=False)

    def finish(self, ranks, name, *words):
        """Runs the config to its end and returns the run folder."""
        out = self.folder / name
        done = self.run_program(ranks, self.config, "--out", out, *words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return out

    def start(self, ranks, out, *words):
        return self.start_command(self.words(ranks, self.config, "--out", out, *words))

    def start_command(self, command):
        return subprocess.Popen(command, env=on_ranks.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def resume(self, ranks, out, *words):
        done = self.run_program(ranks, self.config, "--out", out, "--resume", *words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done
