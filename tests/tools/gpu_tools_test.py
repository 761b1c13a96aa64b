"""tools/gpu_check, tools/bench_gpu.py and tools/cuda_kernels.py, as far as they go without a GPU."""
import importlib.util
import shutil
import tempfile
import time
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

from common import TOOLS, run
import bench_gpu
import cuda_kernels
from bench_test import WORKER


def load_tool(name):
    """A tool without .py as a module."""
    loader = SourceFileLoader(name, str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def runs(process):
    """Is there such a process, and is it no zombie?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class GpuCheck(unittest.TestCase):
    def test_no_gpu_is_one_clear_line(self):
        if shutil.which("nvidia-smi"):
            self.skipTest("this machine may have a GPU")
        done = run(TOOLS / "gpu_check", "--out", "unused")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^error: .*GPU.*\n$")

    def test_unknown_step(self):
        done = run(TOOLS / "gpu_check", "--only", "builds")
        self.assertEqual(done.returncode, 1)
        self.assertIn("build, tests, kernels, run, bench, sanitizer", done.stderr)

    def test_a_step_ends_with_all_it_started_when_time_is_up(self):
        gpu_check = load_tool("gpu_check")
        with tempfile.TemporaryDirectory() as folder:
            arguments = SimpleNamespace(out=Path(folder))
            check = gpu_check.Check(arguments, "step", time.monotonic() + 1)
            check.run(["true"])
            with self.assertRaisesRegex(gpu_check.OutOfTime, "no time was left for sh.*--minutes"):
                check.run(["sh", "-c", f"sleep 60 & echo $! > {folder}/child; wait"])
            child = (Path(folder) / "child").read_text().strip()
            end = time.monotonic() + 10
            while runs(child) and time.monotonic() < end:
                time.sleep(0.05)
            self.assertFalse(runs(child))
            with self.assertRaisesRegex(gpu_check.OutOfTime, "sh"):
                check.run(["sh", "-c", "true"])


class BenchGpu(unittest.TestCase):
    def test_ratios_and_row(self):
        with tempfile.TemporaryDirectory() as folder:
            programs = {}
            for name, seconds in (("ours", 0.5), ("theirs", 1.0)):
                programs[name] = Path(folder) / name
                programs[name].write_text(WORKER.replace("SPEED", str(seconds)))
                programs[name].chmod(0o755)
            arguments = SimpleNamespace(bench=programs["ours"], python=str(programs["theirs"]),
                                        engines="sculpt,sculpt-auto,eager,compiled",
                                        device="cuda", precision="bf16", rounds=3, seconds=2)
            result = bench_gpu.measure(arguments, "resnet20", 4, 32)
        self.assertEqual(result["ratios"], {"eager": 2.0, "compiled": 2.0})
        self.assertEqual(bench_gpu.row(result),
                         "| resnet20 | 4 | 32 | 8 | - | 8 | 4 | 4 | 2.00 | 2.00 |")


class CudaKernels(unittest.TestCase):
    def test_layers_are_those_of_resnet20(self):
        layers = cuda_kernels.resnet20_layers()
        weights = sum(c * o * kernel * kernel for c, o, _, kernel, _ in layers)
        # Of tools/pytorch_models.py: 1 + 3 x 6 convolutions and two 1x1 shortcuts.
        self.assertEqual(len(layers), 21)
        self.assertEqual(weights, 432 + 6 * 2304 + 4608 + 512 + 5 * 9216 + 18432 + 2048 + 5 * 36864)
        self.assertEqual(layers[-1][2], 8)

    def test_roofline_is_the_larger_floor(self):
        self.assertAlmostEqual(cuda_kernels.roofline(3.0e12, 1.0), 1.0)
        self.assertAlmostEqual(cuda_kernels.roofline(1.0, 798e12), 1.0)

    def test_names_lose_namespaces_and_arguments(self):
        self.assertEqual(cuda_kernels.short_names(["_ZN6sculpt7kernels4cuda4kindILi3EEEvPf"]),
                         ["kind<3>"])


if __name__ == "__main__":
    unittest.main()
