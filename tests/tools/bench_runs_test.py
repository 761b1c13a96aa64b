"""The driver of tools/bench_runs.py, with a program and a PyTorch that only count."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401  (finds tools/)
import bench_runs

# Stands for sculpt_run: three levels of two epochs, the last with twice the images per second.
RUN = """#!/usr/bin/env python3
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
if "broken" in sys.argv[0]:
    sys.exit("error: no such data")
with open(pathlib.Path(sys.argv[0]).parent / "starts", "a") as starts:
    starts.write("run\\n")
folder.mkdir(parents=True)
(folder / "words.json").write_text(json.dumps(sys.argv[1:]))
epochs = [{"density": d, "images_per_second": r} for d, r in
          [(1.0, 100.0), (1.0, 100.0), (0.5, 100.0), (0.5, 100.0), (0.25, 200.0), (0.25, 200.0)]]
(folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\\n" for e in epochs))
(folder / "summary.json").write_text(json.dumps({"steps": 24, "sparsity": 0.75, "test_accuracy": 0.5}))
"""

# Stands for an interpreter with PyTorch. A step takes as long as the density says, and longer in all
# forms but one. One form does not run.
PYTHON = """#!/usr/bin/env python3
import json, pathlib, sys
form = sys.argv[sys.argv.index("--worker") + 1]
density = float(sys.argv[sys.argv.index("--density") + 1])
with open(pathlib.Path(sys.argv[0]).parent / "starts", "a") as starts:
    starts.write(f"{form} {density}\\n")
if form == "contiguous,fused,compiled":
    sys.exit(1)
speed = 8 * density * (1 if form == "contiguous,unfused,compiled" else 2)
print(json.dumps({"ready": True, "version": "9.9"}), flush=True)
for line in sys.stdin:
    if line.split() == ["quit"]:
        break
    print(json.dumps({"seconds": int(line.split()[1]) * speed}), flush=True)
"""


class Driver(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("run", RUN), ("broken", RUN), ("python", PYTHON)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def bench(self, *words, program="run"):
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = bench_runs.main(
                ["--data", "some/folder", "--program", str(self.folder / program), "--python",
                 str(self.folder / "python"), "--out", str(self.folder / "out"), "--images", "50",
                 "--methods", "lrr", *words])
        self.assertEqual(status, 0)
        self.report = json.loads((self.folder / "out.json").read_text())
        self.table = (self.folder / "out.md").read_text()
        return out.getvalue(), error.getvalue()

    def test_sums_over_levels(self):
        out, error = self.bench()
        result, = self.report["results"]
        # 24 steps in 6 epochs: 8 steps for each of three levels.
        self.assertEqual(result["levels"], [[1.0, 8, 1.0], [0.5, 8, 1.0], [0.25, 8, 0.5]])
        self.assertEqual(result["sculpt"], [2.5, 2.5])
        self.assertEqual(result["pytorch"], [112.0, 112.0])  # 8 x (8 + 4 + 2)
        self.assertIn("| lrr | 3 | 24 | 75.00 % | 50.00 % |", out)
        self.assertIn("| 2.5 (2.5-2.5) | 112.0 (112.0-112.0) | **44.80 (44.80-44.80)** |", out)
        self.assertIn(out.strip(), self.table)
        self.assertIn("contiguous,fused,compiled does not run here", error)
        self.assertIn("contiguous,unfused,compiled 4000 ms, channels_last", self.table)
        # The report must not contain the paths of programs.
        self.assertNotIn(str(self.folder), self.report["command"])

    def test_rounds_alternate_and_the_fastest_form_is_timed(self):
        self.bench()
        starts = (self.folder / "starts").read_text().split("\n")[:-1]
        trial, timed = starts[:8], starts[8:]
        self.assertEqual(len({line.split()[0] for line in trial}), 8)
        levels = [f"contiguous,unfused,compiled {d}" for d in (1.0, 0.5, 0.25)]
        self.assertEqual(timed, ["run", *levels, *levels, "run"])
        words = json.loads((self.folder / "out" / "lrr-1" / "words.json").read_text())
        self.assertIn("data.train_limit=50", words)
        self.assertIn("prune.sparsity=0.95", words)

    def test_refused_arguments_name_the_fix(self):
        for words, text in ((["--methods", "lrr,lrx"], "lrx.toml"),
                            (["--rounds", "0"], "--rounds"),
                            (["--program", "nowhere/sculpt_run"], "nowhere/sculpt_run")):
            error = io.StringIO()
            with self.subTest(words), contextlib.redirect_stderr(error), \
                    self.assertRaises(SystemExit) as end:
                bench_runs.main(["--data", "d", "--program", str(self.folder / "run"), *words])
            self.assertEqual(end.exception.code, 2)
            self.assertIn(text, error.getvalue())

    def test_a_failed_run_is_an_error_with_its_output(self):
        with self.assertRaisesRegex(RuntimeError, "no such data"):
            self.bench(program="broken")


if __name__ == "__main__":
    unittest.main()
