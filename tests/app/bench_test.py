"""sculpt_bench as a program: its tables."""
import os
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SCULPT_BENCH", str(ROOT / "build" / "cpu" / "bin" / "sculpt_bench"))


class KernelTimes(unittest.TestCase):
    def test_table(self):
        finished = subprocess.run(
            [PROGRAM, "kernels", "--device", "cpu", "--model", "resnet20", "--width", "0.25",
             "--batch", "16", "--seconds", "0.0001"],
            capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        rows = [[cell.strip() for cell in line.strip("|").split("|")]
                for line in finished.stdout.splitlines() if line.startswith("| ")]
        header, rows = rows[0], [dict(zip(rows[0], row)) for row in rows[1:]]
        self.assertEqual(header[:4], ["kernel", "shape", "calls a step", "us a call"])
        calls = {}
        for row in rows:
            self.assertGreater(float(row["us a call"]), 0, row)
            calls[row["kernel"]] = calls.get(row["kernel"], 0) + int(row["calls a step"])
        # 19 convolutions and two projections, which have no batch norm.
        self.assertEqual(calls["conv2d, forward"], 21)
        self.assertEqual(calls["conv2d, backward"], 21)
        self.assertEqual(calls["linear, forward"], 1)
        self.assertEqual(calls["masked SGD"], 1)
        self.assertEqual(calls["ranking, global"], 0)
        self.assertEqual(calls["ranking, per layer"], 0)
        total = sum(int(row["calls a step"]) * float(row["us a call"]) for row in rows)
        line = finished.stdout.splitlines()[-1]
        self.assertTrue(line.startswith("Sum of a step: "), line)
        self.assertAlmostEqual(float(line.split()[4]) * 1e3, total, delta=0.02 * total)

class SparseSteps(unittest.TestCase):
    def test_table(self):
        finished = subprocess.run(
            [PROGRAM, "sparse", "--device", "cpu", "--model", "resnet20", "--width", "0.25",
             "--batch", "16", "--rounds", "1", "--seconds", "0"],
            capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        rows = [[cell.strip() for cell in line.strip("|").split("|")]
                for line in finished.stdout.splitlines() if line.startswith("| ")]
        self.assertEqual([row[0] for row in rows[1:]],
                         ["0 %", "50 %", "80 %", "90 %", "95 %", "98 %", "99 %"])
        for row in rows[1:]:
            dense, sparse, ratio = map(float, row[1:4])
            self.assertGreater(min(dense, sparse), 0, row)
            self.assertAlmostEqual(ratio, dense / sparse, delta=0.1 * ratio, msg=row)


class ConvLayers(unittest.TestCase):
    def test_table(self):
        finished = subprocess.run(
            [PROGRAM, "conv", "--device", "cpu", "--model", "resnet20", "--width", "0.25",
             "--batch", "16", "--rounds", "1", "--seconds", "0"],
            capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        rows = [[cell.strip() for cell in line.strip("|").split("|")]
                for line in finished.stdout.splitlines() if line.startswith("| ")][1:]
        layers = ["3x32x32 -> 4", "4x32x32 -> 4", "8x16x16 -> 8", "16x8x8 -> 16"]
        passes = ["forward", "input gradient", "weight gradient"]
        self.assertEqual([row[:2] for row in rows],
                         [[layer, name] for layer in layers for name in passes])
        for row in rows:
            self.assertGreater(min(map(float, row[2:5])), 0, row)
            self.assertIn(row[5], ("yes", "no"), row)
            # Sums in float differ from those in double, and hardly.
            for error in map(float, row[6:8]):
                self.assertGreater(error, 1e-9, row)
                self.assertLess(error, 5e-6, row)


if __name__ == "__main__":
    unittest.main()
