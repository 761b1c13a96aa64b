"""The driver of tools/bench_sparse.py, with workers that only count."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401  (finds tools/)
import bench_sparse

# One program for all engines. It speaks the protocol with a fixed speed for each engine, and has no
# sparseprop if its name says so. Every start is recorded.
PROGRAM = """#!/usr/bin/env python3
import json, os, pathlib, sys
here = pathlib.Path(sys.argv[0])
with open(here.parent / "starts", "a") as starts:
    starts.write(" ".join([*sys.argv[1:], "OMP=" + os.environ.get("OMP_NUM_THREADS", "")]) + "\\n")
if sys.argv[1] == "-c":
    if "without" in here.name and "sparseprop" in sys.argv[2]:
        print("Traceback\\nModuleNotFoundError: No module named 'sparseprop'", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
sparsity = float(sys.argv[sys.argv.index("--sparsity") + 1])
engine = sys.argv[sys.argv.index("--worker") + 1] if "--worker" in sys.argv else "sculpt"
speed = {"pytorch": 1.5, "sparseprop": 0.75}.get(engine, 1.25 if "off" in sys.argv else
                                                 1.25 * (1 - sparsity))
hello = {"ready": True, "version": "9.9", "swapped": "2 of 3"}
print(json.dumps(hello if engine != "sculpt" else {"ready": True}), flush=True)
for line in sys.stdin:
    if line.split() == ["quit"]:
        break
    steps = int(line.split()[1])
    print(json.dumps({"seconds": steps * speed, "images": 4 * steps,
                      "peak_memory_bytes": (1 + int(10 * speed)) << 20}), flush=True)
"""


class Driver(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name in ("with", "without"):
            (self.folder / name).write_text(PROGRAM)
            (self.folder / name).chmod(0o755)

    def bench(self, *words, python="with", sparseprop="with"):
        """Returns standard output and error. The report and the table lie in the folder."""
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = bench_sparse.main(
                ["--bench", str(self.folder / "with"), "--python", str(self.folder / python),
                 "--sparseprop-python", str(self.folder / sparseprop), "--out",
                 str(self.folder / "out"), "--models", "net:4", "--rounds", "3", "--seconds", "5",
                 *words])
        self.assertEqual(status, 0)
        self.report = json.loads((self.folder / "out.json").read_text())
        self.table = (self.folder / "out.md").read_text()
        return out.getvalue(), error.getvalue()

    def test_ratios_and_table(self):
        out, _ = self.bench("--sparsities", "0.8,0.9")
        at_80, at_90 = self.report["results"]
        # sparseprop replaces no layer at 80 %.
        self.assertEqual(list(at_80["seconds_per_step"]), ["sparse", "dense", "pytorch"])
        self.assertEqual(at_90["steps_per_block"],
                         {"sparse": 40, "dense": 4, "pytorch": 3, "sparseprop": 7})
        self.assertEqual(at_90["seconds_per_step"]["pytorch"], [1.5] * 3)
        row = ("| net | 4 | 90 % | 125 (125-125) | 1250 (1250-1250) | 1500 (1500-1500) | "
               "750 (750-750) | **10.00 (10.00-10.00)** | **12.00 (12.00-12.00)** | "
               "**6.00 (6.00-6.00)** | 1.20 (1.20-1.20) | 2 | 13 | 16 | 8 | 2 of 3 |")
        self.assertIn(row, out)
        self.assertIn(row, self.table)
        self.assertIn("| net | 4 | 80 % | 250 (250-250) | 1250 (1250-1250) | 1500 (1500-1500) | - "
                      "| **5.00 (5.00-5.00)** | **6.00 (6.00-6.00)** | - | 1.20", self.table)
        self.assertIn("PyTorch 9.9.", self.table)
        columns = {line.count("|") for line in self.table.splitlines() if line.startswith("|")}
        self.assertEqual(len(columns), 1)
        # The report must not contain the paths of programs.
        self.assertNotIn(str(self.folder), self.table + json.dumps(self.report))

    def test_workers_get_the_same_model(self):
        self.bench("--sparsities", "0.95", "--threads", "3")
        starts = (self.folder / "starts").read_text().splitlines()
        runs = [line for line in starts if not line.startswith("-c")]
        self.assertEqual(len(runs), 4)
        for line in runs:
            self.assertIn("--model net --batch 4 --threads 3 --sparsity 0.95", line)
            self.assertIn("OMP=3", line)
        self.assertIn("--sparse auto", runs[0])
        self.assertIn("--sparse off", runs[1])
        self.assertIn("--worker pytorch", runs[2])
        self.assertIn("--worker sparseprop", runs[3])

    def test_missing_engine_is_one_line(self):
        _, error = self.bench("--sparsities", "0.95", sparseprop="without")
        lines = [line for line in error.splitlines() if "left out" in line]
        self.assertEqual(lines, ["sparseprop is left out: ModuleNotFoundError: No module named "
                                 "'sparseprop'"])
        self.assertNotIn("sparseprop", self.report["results"][0]["seconds_per_step"])
        self.assertIn("sparseprop is left out: ModuleNotFoundError", self.table)
        _, error = self.bench("--sparsities", "0.95", python="no-such", sparseprop="without")
        self.assertIn("pytorch is left out: cannot start its Python: No such file", error)
        self.assertEqual(self.report["engines"], ["sparse", "dense"])

    def test_median_over_rounds(self):
        result = {"seconds_per_step": {"sparse": [1, 2, 4], "dense": [3, 2, 20]}}
        self.assertEqual(bench_sparse.ratios(result, "dense", "sparse"), [3, 1, 5])
        self.assertEqual(bench_sparse.cell([3, 1, 5]), "3.00 (1.00-5.00)")
        self.assertEqual(bench_sparse.ratios(result, "pytorch", "sparse"), [])
        self.assertEqual(bench_sparse.cell([]), "-")

    def test_without_our_program_there_is_nothing_to_do(self):
        with self.assertRaisesRegex(SystemExit, "build sculpt_bench"), \
                contextlib.redirect_stderr(io.StringIO()):
            bench_sparse.main(["--bench", str(self.folder / "none"), "--python",
                               str(self.folder / "with")])
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as error:
            bench_sparse.main(["--engines", "sparse,tpu"])
        self.assertIn("tpu is none of", error.getvalue())


if __name__ == "__main__":
    unittest.main()
