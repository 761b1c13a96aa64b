"""Tests tools/bench_gpu.py as far as that is possible without a GPU."""
import contextlib
import copy
import io
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from common import TOOLS, run
import bench_gpu
from bench_test import WORKER


# These workers fail after a number of answers.
DIES = WORKER.replace("    steps =", "    if line.split()[1] == '12': sys.exit(3)\n    steps =")
SILENT = "#!/usr/bin/env python3\nimport time\ntime.sleep(600)\n"
NOISE = "#!/usr/bin/env python3\nwhile True:\n    print('noise' * 100)\n"
NO_LINE = "#!/usr/bin/env python3\nimport sys\nwhile True:\n    sys.stdout.buffer.write(b'\\xff' * 999)\n"
HALF = "#!/usr/bin/env python3\nprint('{\"ready\": tr', end='')\n"
NEGATIVE = WORKER.replace("SPEED", "-1")


class BenchGpu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def program(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def measure(self, ours, theirs, engines="sculpt,sculpt-auto,eager,compiled", ready_seconds=20):
        arguments = SimpleNamespace(
            bench=self.program("ours", ours), python=str(self.program("theirs", theirs)),
            engines=engines, device="cuda", precision="bf16", rounds=3, seconds=6,
            ready_seconds=ready_seconds)
        states, printed = [], io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            result = bench_gpu.measure(arguments, "resnet20", 4, 32,
                                       lambda result: states.append(copy.deepcopy(result)))
        return result, states, printed.getvalue().splitlines()

    def test_ratios_and_rows(self):
        result, states, rows = self.measure(WORKER.replace("SPEED", "0.5"),
                                            WORKER.replace("SPEED", "1.0"))
        self.assertEqual(result["ratios"], {"eager": 2.0, "compiled": 2.0})
        self.assertEqual(bench_gpu.row(result),
                         "| resnet20 | 4 | 32 | 8 | - | 8 | 4 | 4 | - | 2.00 | 2.00 | - |")
        # There is a row and a state after each engine alone, and then after all engines alternately.
        self.assertEqual(rows[0], "| resnet20 | 4 | 32 | sculpt | alone | 8 | 500.000 | - | 0 |")
        self.assertEqual(rows[-1], "| resnet20 | 4 | 32 | compiled | in turn | 4 | 1000.000 | 2.00 | 0 |")
        self.assertEqual([len(state["alone"]) for state in states], [1, 2, 3, 4, 4])

    def test_an_engine_that_fails_loses_its_row_and_no_other(self):
        for name, theirs, reason in (("dies", DIES.replace("SPEED", "0.5"), r"status 3"),
                                     ("silent", SILENT, "no answer in time"),
                                     ("noise", NOISE, "no answer in it"),
                                     ("no line", NO_LINE, "no line"), ("half", HALF, "ended"),
                                     ("negative", NEGATIVE, "took -"),
                                     ("no program", "", "cannot be started|ended")):
            with self.subTest(name):
                result, states, rows = self.measure(WORKER.replace("SPEED", "0.5"), theirs,
                                                    "eager,sculpt", ready_seconds=2)
                self.assertRegex(result["failures"]["eager"], reason)
                self.assertIn("| resnet20 | 4 | 32 | eager | failed | - | - | - | 0 |", rows)
                self.assertIn("| resnet20 | 4 | 32 | sculpt | in turn | 8 | 500.000 | - | 0 |", rows)
                self.assertEqual(result["ratios"], {})
                self.assertEqual(states[-1]["alone"], {"sculpt": 8.0})

    def test_wrong_arguments(self):
        for words, text in ((["--engines", "eagre"], "there are sculpt"),
                            (["--models", "resnet20"], "expected MODEL:BATCH"),
                            (["--models", "resnet20:x"], "expected MODEL:BATCH")):
            done = run(TOOLS / "bench_gpu.py", *words)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
