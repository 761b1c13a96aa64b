"""The tables of the program sculpt_bench."""
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import TINY, json_lines, sculpt_run

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
        self.assertEqual(header[:4], ["kernel", "shape", "calls per step", "us per call"])
        calls = {}
        for row in rows:
            self.assertGreater(float(row["us per call"]), 0, row)
            calls[row["kernel"]] = calls.get(row["kernel"], 0) + int(row["calls per step"])
        # 19 convolutions and two projections, which have no batch norm.
        self.assertEqual(calls["conv2d, forward"], 21)
        self.assertEqual(calls["conv2d, backward"], 21)
        self.assertEqual(calls["linear, forward"], 1)
        self.assertEqual(calls["masked SGD"], 1)
        self.assertEqual(calls["ranking, global"], 0)
        self.assertEqual(calls["ranking, per layer"], 0)
        total = sum(int(row["calls per step"]) * float(row["us per call"]) for row in rows)
        line = finished.stdout.splitlines()[-1]
        self.assertTrue(line.startswith("Sum of a step: "), line)
        self.assertAlmostEqual(float(line.split()[4]) * 1e3, total, delta=0.02 * total)


class Profile(unittest.TestCase):
    def profile(self, *words):
        """Returns the lines above the tables, and a list of rows (dictionaries) for each table."""
        finished = subprocess.run(
            [PROGRAM, "profile", "--device", "cpu", "--model", "resnet20", "--width", "0.25", "--batch", "16",
             "--steps", "1", *words], capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        text, *tables = finished.stdout.split("\n\n")
        rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
                for table in tables]
        return text, [[dict(zip(table[0], row)) for row in table[2:]] for table in rows]

    def test_work_is_that_of_kept_weights(self):
        def work(*words):
            text, (ops, layers) = self.profile(*words)
            self.assertIn("as a share of the measured time", text)
            self.assertIn("conv2d", [row["op"] for row in ops])
            # A rate is the work of an op in the time of its row.
            (row,) = [row for row in layers if row["layer"] == "layer3.1.conv1"]
            seconds = 1e-3 * (float(row["forward ms"]) + float(row["backward ms"]))
            return float(re.search(r"computes (\S+) GFLOP", text)[1]), float(row["GFLOP/s"]) * seconds
        all_weights, layer = work()
        masked, masked_layer = work("--sparsity", "0.75")
        # 16 images, 2 FLOPs, 3 passes; 16 to 16 channels on 8 x 8 pixels.
        self.assertAlmostEqual(layer, 1e-9 * 16 * 2 * 3 * 16 * 16 * 9 * 8 * 8, delta=0.1 * layer)
        self.assertAlmostEqual(masked / all_weights, 0.25, delta=0.005)
        self.assertLess(masked_layer, 0.4 * layer)


class Floors(unittest.TestCase):
    def floors(self, *words):
        finished = subprocess.run([PROGRAM, "floors", *words], capture_output=True, text=True,
                                  timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        return json.loads(finished.stdout)

    def test_bytes_of_resnet20_are_those_counted_by_hand(self):
        """Computes what the kernels of kernels/cuda read and write, layer by layer."""
        batch, element = 512, 2
        rows = self.floors("--model", "resnet20", "--batch", str(batch), "--precision", "bf16")["rows"]
        forward = inputs = weights = norm_forward = norm_backward = macs = 0
        channels, size = 3, 32

        def convolution(outs, kernel, stride, adds=False):
            nonlocal inputs, weights, forward, macs
            x = batch * element * channels * size * size
            y = batch * element * outs * (size // stride) ** 2
            forward += x + y + y // element // 128 * 16
            weights += x + y
            if channels > 3:
                inputs += x + y + (x if adds else 0)
            macs += batch * outs * (size // stride) ** 2 * channels * kernel * kernel
            return y

        def norm(y, residual):
            nonlocal norm_forward, norm_backward
            norm_forward += 2 * y + y // element // 128 * 16 + (y if residual else 0)
            # dy and x twice, dx; y twice for the gate, dresidual.
            norm_backward += 5 * y + (3 * y if residual else 0)

        norm(convolution(16, 3, 1), False)
        channels = 16
        for outs in (16, 32, 64):
            for block in range(3):
                stride = 2 if outs > 16 and block == 0 else 1
                # The block's input gets two gradients, of which the second is added.
                norm(convolution(outs, 3, stride, adds=True), False)
                if stride == 2:
                    norm(convolution(outs, 1, 2), False)
                channels, size = outs, size // stride
                norm(convolution(outs, 3, 1), True)

        def total(name, what="bytes"):
            return sum(row[what] for row in rows if row["pass"] == name)
        self.assertEqual(total("conv2d, forward"), forward)
        self.assertEqual(total("conv2d, weight gradient"), weights)
        self.assertEqual(total("conv2d, input gradient"), inputs)
        self.assertEqual(total("batch_norm, forward"), norm_forward)
        self.assertEqual(total("batch_norm, backward"), norm_backward)
        self.assertEqual(total("conv2d, forward", "flops"), 2 * macs)
        self.assertEqual(len([row for row in rows if row["pass"] == "conv2d, forward"]), 21)
        self.assertEqual(len([row for row in rows if row["pass"] == "conv2d, input gradient"]), 20)

    def test_bytes_grow_with_batch_and_precision(self):
        def sizes(*words):
            return [row["bytes"] for row in self.floors("--model", "lenet", *words)["rows"]]
        small = sizes("--batch", "8", "--precision", "bf16")
        self.assertEqual(sizes("--batch", "16", "--precision", "bf16"), [2 * n for n in small])
        self.assertGreater(sum(sizes("--batch", "8", "--precision", "fp32")), 1.8 * sum(small))


class SparseSteps(unittest.TestCase):
    TINY = ["--device", "cpu", "--model", "resnet20", "--width", "0.25", "--batch", "16"]
    SHORT = ["--rounds", "1", "--seconds", "0", "--layer-seconds", "0"]

    def bench(self, *words):
        return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True,
                              timeout=600, check=False)

    def tables(self, *words):
        """Returns a list of rows for each table. A row is a dictionary."""
        finished = self.bench("sparse", *words, *self.SHORT)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        tables = []
        for line in finished.stdout.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                header = None
            elif header is None:
                header = cells
                tables.append([])
            elif not line.startswith("|---"):
                tables[-1].append(dict(zip(header, cells)) if len(set(header)) == len(header)
                                  else cells)
        return tables

    def check_times(self, row):
        dense, sparse = float(row["dense kernels, ms"]), float(row["sparse kernels, ms"])
        self.assertGreater(min(dense, sparse), 0, row)
        self.assertAlmostEqual(float(row["ratio"]), dense / sparse, delta=0.02 + 0.05 * dense / sparse, msg=row)

    def test_random_masks(self):
        (rows,) = self.tables(*self.TINY)
        self.assertEqual([row["sparsity"] for row in rows],
                         ["0 %", "50 %", "80 %", "90 %", "95 %", "98 %", "99 %"])
        for row in rows:
            self.assertEqual([row["model"], row["batch"], row["masks"]],
                             ["resnet20, width 0.25", "16", "random"])
            least, most = map(float, row["sparsity of layers"].rstrip(" %").split(" to "))
            self.assertLess(most - least, 3, row)
            self.check_times(row)

    def test_magnitude_is_not_uniform(self):
        (rows,) = self.tables(*self.TINY, "--masks", "magnitude,random", "--sparsity", "0.9,0.5",
                              "--mask-training", "2")
        self.assertEqual([(row["masks"], row["sparsity"]) for row in rows],
                         [("magnitude", "50 %"), ("magnitude", "90 %"), ("random", "90 %"),
                          ("random", "50 %")])
        least, most = map(float, rows[1]["sparsity of layers"].rstrip(" %").split(" to "))
        self.assertGreater(most - least, 10)

    def test_floors_count_kept_weights(self):
        (rows,) = self.tables(*self.TINY, "--sparsity", "0,0.5,0.9")
        arithmetic = [float(row["FMA floor, ms"]) for row in rows]
        for row, kept in zip(rows, (1, 0.5, 0.1)):
            self.assertAlmostEqual(float(row["FMA floor, ms"]) / arithmetic[0], kept,
                                   delta=0.03 * kept, msg=row)
            floor = max(float(row["FMA floor, ms"]), float(row["bytes floor, ms"]))
            time = float(row["sparse kernels, ms"])  # two decimals; the floor has three digits
            self.assertAlmostEqual(float(row["floor / time"]), floor / time,
                                   delta=0.001 + floor / time * (0.005 / time + 0.005), msg=row)

    def test_layers(self):
        steps, layers = self.tables(*self.TINY, "--sparsity", "0.9", "--layers")
        self.assertEqual(len(steps), 1)
        passes = ["forward", "input gradient", "weight gradient"]
        # 21 convolutions, of which the first has no input gradient, and the sums.
        self.assertEqual(len(layers), 21 * 3 - 1 + 3)
        self.assertEqual([row["pass"] for row in layers[:2]], [passes[0], passes[2]])
        self.assertEqual({row["layer"] for row in layers[:2]}, {"conv1"})
        self.assertEqual(layers[0]["weights kept"], "10.19 %")  # 11 of 4 x 3 x 3 x 3
        self.assertEqual([(row["layer"], row["pass"]) for row in layers[-3:]],
                         [("all", name) for name in passes])
        # An image has 32 x 32 pixels, each of which 11 weights of conv1 and 15 of the next layer multiply.
        peaks = [2e-9 * 16 * 1024 * kept / (1e-3 * float(row["sparse, ms"]))
                 / (0.01 * float(row["sparse / peak"].rstrip(" %")))
                 for kept, row in ((11, layers[0]), (15, layers[2]))]
        # Times have three decimals and shares three digits.
        rounding = sum(0.0005 / float(row["sparse, ms"]) + 0.005 for row in (layers[0], layers[2]))
        self.assertAlmostEqual(peaks[0], peaks[1], delta=rounding * peaks[0])
        for row in layers[2:-3]:
            self.assertAlmostEqual(float(row["weights kept"].rstrip(" %")), 10, delta=1)
        for row in layers:
            dense = float(row["direct, ms" if row["Winograd, ms"] == "-" else "Winograd, ms"])
            self.assertGreater(min(dense, float(row["sparse, ms"])), 0, row)
            if row["layer"] != "all":  # the ratio of an only round is that of the times
                sparse = float(row["sparse, ms"])  # times have three decimals
                rounding = 0.0006 / dense + 0.0006 / sparse
                self.assertAlmostEqual(float(row["ratio"]), dense / sparse,
                                       delta=0.005 + rounding * float(row["ratio"]), msg=row)
        for name, total in zip(passes, layers[-3:]):
            for column in ("direct, ms", "sparse, ms"):
                times = [float(row[column]) for row in layers[:-3] if row["pass"] == name]
                self.assertAlmostEqual(float(total[column]), sum(times), delta=0.0006 * len(times))

    def test_winograd_is_timed_where_a_step_uses_it(self):
        """The table of layers follows the rule of the engine, and --winograd off."""
        words = ["--device", "cpu", "--model", "resnet18", "--width", "0.25", "--batch", "32", "--sparsity", "0.9",
                 "--layers"]
        chosen = self.bench("conv", *words[:-3], "--rounds", "1", "--seconds", "0").stdout
        rule = [line.split("|")[6].strip() for line in chosen.splitlines() if " -> " in line]
        timed = [row["Winograd, ms"] for row in self.tables(*words)[1]]
        self.assertIn("yes", rule)
        self.assertNotEqual(set(timed), {"-"})
        off = [row["Winograd, ms"] for row in self.tables("--winograd", "off", *words)[1]]
        self.assertEqual(set(off), {"-"})

    def test_masks_of_a_run(self):
        with tempfile.TemporaryDirectory() as parent:
            config = Path(parent) / "tiny.toml"
            config.write_text(TINY)
            folder = Path(parent) / "my run"
            done = sculpt_run(config, "--out", folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            (rows,) = self.tables("--batch", "16", "--masks", folder)
            checkpoint = folder / "checkpoints" / "final.safetensors"
            other = self.bench("sparse", *self.TINY[:-4], "--masks", checkpoint, *self.SHORT)
            text = (folder / "layers.jsonl").read_text()
        lines = json_lines(text)
        self.assertEqual(rows[0]["model"], "resnet20, width 0.25")
        self.assertEqual(rows[0]["masks"], "my run")
        self.assertEqual(rows[0]["sparsity"], "80 %")
        masked = [100 * (1 - line["kept"] / line["count"]) for line in lines
                  if line["plan_step"] == lines[-1]["plan_step"]]
        self.assertEqual(rows[0]["sparsity of layers"], f"{min(masked):.4g} to {max(masked):.4g} %")
        self.check_times(rows[0])
        # A checkpoint does not contain the width of its network.
        self.assertEqual(other.returncode, 1)
        self.assertIn("conv1.weight", other.stderr)

    def test_serve_with_masks(self):
        finished = subprocess.run([PROGRAM, "serve", *self.TINY, "--sparsity", "0.9", "--sparse",
                                   "on"], input="run 2\nquit\n", capture_output=True, text=True,
                                  timeout=600, check=False)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        ready, reply = map(json.loads, finished.stdout.splitlines())
        self.assertTrue(ready["ready"])
        self.assertAlmostEqual(ready["sparsity"], 0.9, places=3)
        self.assertEqual(reply["images"], 32)
        several = self.bench("serve", *self.TINY, "--sparsity", "0.5,0.9")
        self.assertEqual(several.returncode, 1)
        self.assertIn("one sparsity", several.stderr)


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
            # Sums in float differ a little from sums in double.
            for error in map(float, row[6:8]):
                self.assertGreater(error, 1e-9, row)
                self.assertLess(error, 5e-6, row)
            # Both shares are of one rate, so their ratio is that of the times.
            self.assertGreater(float(row[8]), 0, row)
            self.assertAlmostEqual(float(row[9]) / float(row[8]), float(row[4]),
                                   delta=0.01 + 0.02 * float(row[4]), msg=row)


if __name__ == "__main__":
    unittest.main()
