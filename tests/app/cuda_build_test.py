#!/usr/bin/env python3
"""Runs a program with the CUDA backend on a machine without a GPU. CI runs it (.ci/run cuda)."""
import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from common import PROGRAM, ROOT, ProgramTest, main, sculpt_run


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
        done = sculpt_run(self.config, "--set", "execution.precision=bf16")
        self.assertEqual(done.returncode, 2)
        self.assertIn("execution.precision = bf16 needs a GPU", done.stderr)

    def test_cudnn_needs_a_gpu(self):
        for words in (["--conv", "cudnn"], ["--set", "execution.conv=cudnn"],
                      ["--conv", "cudnn", "--device", "cpu"]):
            self.assert_fails(2, ["execution.conv = cudnn needs a GPU", "use native or auto"],
                              self.config, *words, "--out", self.folder / "run")
            self.assertFalse((self.folder / "run").exists())

    def test_on_the_cpu_there_is_nothing_to_choose(self):
        self.finish(self.config, "--conv", "auto", "--out", self.folder / "run")
        environment = json.loads((self.folder / "run" / "environment.json").read_text())
        self.assertNotIn("libraries", environment)
        self.assertFalse((self.folder / "run" / "kernel_choices.json").exists())

    def test_cudnn_is_a_library_of_its_own(self):
        # Neither the program nor the CUDA backend may need the library that --conv cudnn loads.
        for file in (Path(PROGRAM), Path(PROGRAM).parent / "libsculpt_cuda.so"):
            needed = subprocess.run(["readelf", "-d", file], capture_output=True, text=True,
                                    check=True).stdout
            self.assertIn("NEEDED", needed)
            self.assertNotIn("cudnn", needed)
            self.assertNotIn("cublas", needed)
            self.assertNotIn("nccl", needed)

    def test_nccl_is_linked_by_its_own_library(self):
        library = Path(PROGRAM).parent / "libsculpt_nccl.so"
        if not library.exists():
            self.skipTest("the build found no NCCL")
        needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
        self.assertIn("Shared library: [libnccl.so.2]", needed)
        exported = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                                  check=True).stdout
        self.assertIn(" T sculpt_collectives", exported)


class Configuring(unittest.TestCase):
    @unittest.skipUnless(shutil.which("ninja"), "CMake needs ninja here")
    def test_cudnn_without_cublas_in_the_toolkit(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "include").mkdir()
            (folder / "lib").mkdir()
            (folder / "include" / "cudnn.h").touch()
            (folder / "include" / "cudnn_version.h").write_text(
                "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 12\n#define CUDNN_PATCHLEVEL 0\n")
            (folder / "lib" / "libcudnn.so").touch()
            done = subprocess.run(
                ["cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja", "-DSCULPT_CUDA=ON",
                 "-DSCULPT_CUDA_ARCHS=90", "-DSCULPT_TESTS=OFF", f"-DCUDNN_ROOT={folder}",
                 "-DCUDA_cublas_LIBRARY=OFF"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("cuDNN was found, but no cuBLAS in the CUDA toolkit", done.stdout)


if __name__ == "__main__":
    main()
