"""The advice in sculpt_bench's messages is followed, and helps."""
import os
import re
import subprocess
import unittest
from pathlib import Path

from common import PROGRAM as SCULPT_RUN
from common import TIMEOUT

BENCH = os.environ.get("SCULPT_BENCH", str(Path(SCULPT_RUN).with_name("sculpt_bench")))
SMALL = ["--model", "resnet20", "--width", "0.25", "--batch", "16"]
PROFILE = ["profile", "--steps", "1"]
KERNELS = ["kernels", "--seconds", "0"]
CONV = ["conv", "--rounds", "1", "--seconds", "0"]

# Each entry has arguments that fail, the advice, and a list of arguments for each way to follow it.
CASES = [
    ([*PROFILE, *SMALL, "--sparsity", "0.5,0.9"], r"give one source of masks and one sparsity",
     [[*PROFILE, *SMALL, "--sparsity", "0.9"]]),
    ([*KERNELS, *SMALL, "--masks", "magnitude", "--mask-training", "1", "--sparsity", "0.5",
      "--image-size", "64"], r"choose (--image-size 32)",
     [lambda m: [*KERNELS, *SMALL, "--masks", "magnitude", "--mask-training", "1", "--sparsity",
                 "0.5", *m[1].split()]]),
    ([*PROFILE, *SMALL, "--device", "cuda:99"], r"use (--device cpu)",
     [lambda m: [*PROFILE, *SMALL, *m[1].split()]]),
    ([*PROFILE, *SMALL, "--device", "cpu", "--conv", "cudnn"], r"use (\w+) or (\w+)",
     [lambda m: [*PROFILE, *SMALL, "--device", "cpu", "--conv", m[1]],
      lambda m: [*PROFILE, *SMALL, "--device", "cpu", "--conv", m[2]]]),
    ([*KERNELS, "--model", "lenet", "--batch", "16", "--image-size", "8"],
     r"use larger images or a model with fewer strides and pooling steps",
     [[*KERNELS, "--model", "lenet", "--batch", "16", "--image-size", "32"],
      [*KERNELS, "--model", "mlp", "--batch", "16", "--image-size", "8"]]),
    ([*CONV, "--model", "mlp", "--batch", "16"], r"choose another --model", [[*CONV, *SMALL]]),
    ([*PROFILE, "--model", "resnet18", "--width", "0.1", "--image-size", "4", "--batch", "1"],
     r"change train.batch",
     [[*PROFILE, "--model", "resnet18", "--width", "0.1", "--image-size", "4", "--batch", "2"]]),
    ([*PROFILE, "--width", "-1"], r"-1 is not a number above 0;",
     [[*PROFILE, *SMALL]]),
    ([*PROFILE, "--batch", "0"], r"0 is not a number above 0;", [[*PROFILE, *SMALL]]),
    (["profile", "--nonsense"], r"run sculpt_bench (--help)$", [lambda m: [m[1]]]),
    ([*PROFILE, *SMALL, "--batch", "8"], r"--batch is given 2 times; give it once",
     [[*PROFILE, *SMALL]]),
    ([], r"run sculpt_bench (--help)$", [lambda m: [m[1]]]),
    ([*PROFILE, "--model", "resnet21"], r"did you mean \"(\w+)\"\?; there are: ",
     [lambda m: [*PROFILE, "--model", m[1], "--width", "0.25", "--batch", "16"]]),
]


def bench(words, text=""):
    return subprocess.run([BENCH, *words], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False, input=text)


class Bench(unittest.TestCase):
    def test_every_case(self):
        for words, advice, ways in CASES:
            with self.subTest(words):
                done = bench(words)
                self.assertIn(done.returncode, (1, 2), done.stdout)
                self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
                found = re.search(advice, done.stderr.strip())
                self.assertIsNotNone(found, done.stderr)
                for way in ways:
                    done = bench(way(found) if callable(way) else way)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_serve(self):
        done = bench(["serve", *SMALL], "walk 1\n")
        self.assertEqual(done.returncode, 1)
        found = re.search(r"expected '(run) K' or '(quit)'", done.stderr)
        self.assertIsNotNone(found, done.stderr)
        done = bench(["serve", *SMALL], f"{found[1]} 1\n{found[2]}\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
