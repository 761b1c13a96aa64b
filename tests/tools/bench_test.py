"""The drivers of tools/bench_pytorch.py and tools/bench_builds.py, with workers that only count."""
import json
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import common  # noqa: F401  (finds tools/)
import bench_builds
import bench_pytorch

# This worker answers the protocol with a fixed speed. Argument 1 is the number of seconds per step.
WORKER = """#!/usr/bin/env python3
import json, sys
print(json.dumps({"ready": True, "version": "none", "memory_before_bytes": 5}), flush=True)
for line in sys.stdin:
    if line.split() == ["quit"]:
        break
    steps = int(line.split()[1])
    print(json.dumps({"seconds": steps * SPEED, "images": 4 * steps,
                      "peak_memory_bytes": 1000 + steps}), flush=True)
"""


class Driver(unittest.TestCase):
    def worker(self, folder, name, seconds):
        path = Path(folder) / name
        path.write_text(WORKER.replace("SPEED", str(seconds)))
        path.chmod(0o755)
        return path

    def test_ratio_and_table(self):
        with tempfile.TemporaryDirectory() as folder:
            bench = self.worker(folder, "ours", 0.5)
            python = self.worker(folder, "theirs", 0.75)
            arguments = SimpleNamespace(bench=bench, python=str(python), threads=2, rounds=3,
                                        seconds=6)
            result = bench_pytorch.measure(arguments, "resnet20", 4)
        self.assertAlmostEqual(result["ratio"], 1.5)
        self.assertEqual(result["steps_per_block"], {"sculpt": 12, "pytorch": 8})
        self.assertEqual(result["peak_memory_bytes"], {"sculpt": 1012, "pytorch": 1008})
        report = {"command": "x", "machine": bench_pytorch.machine(), "results": [result]}
        self.assertIn("| resnet20 | 4 | 2 | 8 (8-8) | 5 (5-5) | contiguous | **1.50** (1.50-1.50)",
                      bench_pytorch.markdown(report))
        json.dumps(report)

    def test_two_builds(self):
        with tempfile.TemporaryDirectory() as folder:
            before = self.worker(folder, "before", 0.5)
            after = self.worker(folder, "after", 0.4)
            out = Path(folder) / "new" / "builds"
            status = bench_builds.main([str(before), str(after), "--models", "resnet20:4", "--out",
                                        str(out), "--sparsities", "0,0.9", "--rounds", "3"])
            report = json.loads(out.with_suffix(".json").read_text())
            table = out.with_suffix(".md").read_text()
        self.assertEqual(status, 0)
        self.assertEqual([r["sparsity"] for r in report["results"]], [0, 0.9])
        for result in report["results"]:
            self.assertAlmostEqual(result["ratio"], 1.25)
            self.assertEqual(result["steps_per_block"], 3)
        self.assertIn("| resnet20 | 4 | 90 % | 500.0 (500.0-500.0) | 400.0 (400.0-400.0) | "
                      "**1.250** (1.250-1.250) |", table)

    def test_dead_worker_is_an_error(self):
        with self.assertRaisesRegex(RuntimeError, "ours ended"):
            bench_pytorch.Child("ours", ["false"])


if __name__ == "__main__":
    unittest.main()
