#!/usr/bin/env python3
"""A program built with the CUDA backend, on a machine without a GPU. CI runs it (.ci/run cuda)."""
from common import ProgramTest, main, sculpt_run


class WithoutGpu(ProgramTest):
    def setUp(self):
        super().setUp()
        if sculpt_run(self.config, "--plan", "--device", "cuda").returncode == 0:
            self.skipTest("this machine has a usable GPU")

    def test_trains_on_the_cpu_and_says_why(self):
        done = sculpt_run(self.config, "--out", self.folder / "run")
        self.assertEqual(done.returncode, 0, done.stderr)
        first = done.stdout.splitlines()[0]
        self.assertRegex(first, r"^device cpu \(cpu-\w+\): .*(driver|GPU)")

    def test_a_gpu_that_is_asked_for_is_missed(self):
        for device in ("cuda", "cuda:1"):
            done = sculpt_run(self.config, "--device", device, "--out", self.folder / "run")
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, rf"^error: --device {device}: .*; use --device cpu\n$")
            self.assertFalse((self.folder / "run").exists())

    def test_precision_of_a_gpu_needs_one(self):
        done = sculpt_run(self.config, "--set", "train.precision=bf16")
        self.assertEqual(done.returncode, 2)
        self.assertIn("train.precision = bf16 needs a GPU", done.stderr)


if __name__ == "__main__":
    main()
