#!/usr/bin/env python3
"""What survey_cuda_step counts in kernels agrees with what the layers of a network must compute and move.

usage: survey_test.py SURVEY_PROGRAM
"""
import json
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from cuda_model import survey  # noqa: E402
from cuda_model.predict import PRODUCT_FLOPS  # noqa: E402

PROGRAM = ""


def layer_flops(shape, batch):
    """Returns the FLOPs of a pass, from "16x32x32 -> 32x16x16, weight 32x16x3x3"."""
    output, weight = shape.split(" -> ")[1].split(", weight ")
    channels, height, width = (int(n) for n in output.split("x"))
    outs, ins, rows, columns = (int(n) for n in weight.split("x"))
    assert outs == channels
    return 2 * batch * outs * height * width * ins * rows * columns


class Survey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.batch = 64
        cls.surveyed, cls.passes = survey.survey_step(PROGRAM, "resnet20", cls.batch, 32, "bf16")

    def test_every_layer_is_launched_once_in_each_direction(self):
        for direction in ("forward", "backward"):
            names = [one.name for one in self.passes if one.op == f"conv2d, {direction}"]
            self.assertEqual(len(names), 21)
            self.assertEqual(len(set(names)), 21)
        ops = {one.op for one in self.passes}
        self.assertLessEqual({"load", "update", "batch_norm, backward", "linear, forward",
                              "softmax_cross_entropy, forward"}, ops)

    def test_matrix_products_cover_the_layers(self):
        for one in self.passes:
            if not one.op.startswith("conv2d") or one.shape.startswith("3x"):
                continue
            products = sum(launch.matrix_products for launch in one.launches) * PRODUCT_FLOPS["bf16"]
            passes = 1 if one.op.endswith("forward") else 2
            wanted = passes * layer_flops(one.shape, self.batch)
            self.assertEqual(one.flops, wanted)
            # Tiles hang over the edges of matrices, far over those of a 1 x 1 window with 16 channels.
            self.assertGreaterEqual(products, 0.99 * wanted, one.name)
            if one.shape.endswith("3x3"):
                self.assertLess(products, 2.3 * wanted, one.name)

    def test_batch_norm_moves_what_it_must(self):
        """Two batch norms do all of their work. Three get their sums from a joint pass, and then move 3 of 5 arrays. Three
        leave the gradient of their input to a joint pass, and move 3 of 8 arrays. The other thirteen do both, and move
        nothing."""
        moved = sorted(sum(launch.moved_bytes for launch in one.launches) / entry["bytes"]
                       for one, entry in zip(self.passes, self.surveyed["passes"]) if one.op == "batch_norm, backward")
        for shares, wanted in ((moved[-2:], 1), (moved[-5:-2], 3 / 5), (moved[-8:-5], 3 / 8)):
            for share in shares:
                self.assertAlmostEqual(share, wanted, delta=0.001)
        self.assertEqual(moved[:-8], [0] * 13)

    def test_a_joint_pass_reads_and_writes_an_activation_once(self):
        """A joint pass reads dy, the convolution's output and input, and writes dx. Where a residual joins (conv2), it also
        reads the gate and writes dresidual, and its input is that of the batch norm below, which the pass normalises.
        Elsewhere (conv1), it also reads the input of the batch norm below, and dx, to which it adds."""
        joint = [(one, launch) for one in self.passes for launch in one.launches if "norm_backward" in launch.kernel]
        self.assertEqual(len(joint), 16)
        for one, launch in joint:
            channels, height, width = (int(n) for n in one.shape.split(" -> ")[0].split("x"))
            array = 2 * self.batch * channels * height * width
            along_y = 2 if channels == 64 else 1
            # Each block reads the weight, and writes a partial gradient.
            weights = 9 * channels * channels * (2 / along_y + 4) * launch.blocks / along_y
            arrays = (launch.least_bytes - weights) / array
            # Each warp reads the means of the batch norm below for each image. Blocks along y read different parts of dx,
            # half of which counts as read from a cache.
            means = 8 * 512 * self.batch / array
            wanted = 6 if along_y == 1 or one.name.endswith("conv2") else 5
            self.assertAlmostEqual(arrays - means, wanted, delta=0.05, msg=one.name)

    def test_wrong_arguments(self):
        for words, text in ((["--precision", "fp8"], "expected fp32, tf32 or bf16"), (["--batch", "0"], "--batch")):
            done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(text, done.stderr + done.stdout)

    def test_output_is_json_in_every_precision(self):
        for precision in ("fp32", "tf32"):
            done = subprocess.run([PROGRAM, "--model", "lenet", "--batch", "4", "--precision", precision],
                                  capture_output=True, text=True, check=True)
            surveyed = json.loads(done.stdout)
            products = sum(launch["matrix_products"] for one in surveyed["passes"] for launch in one["launches"])
            self.assertEqual(products > 0, precision == "tf32")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
