"""tools/gpu_check from the outside, on stand-ins that hang, crash, print garbage, ignore SIGTERM and
leave children behind: the report and the archive are there whatever happens. Needs no GPU."""
import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

from common import TOOLS, run
from gpu_stand_ins import StandIns


def is_alive(process):
    """Returns true if the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class GpuCheckTest(unittest.TestCase):
    def stand_ins(self, **behaviours):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return StandIns(folder.name, **behaviours)

    def check(self, stand_ins, *words, status, environment=None):
        """Runs gpu_check to its end and returns the report."""
        done = subprocess.run(stand_ins.words(*words), capture_output=True, timeout=200,
                              env=environment or stand_ins.environment(), stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, status, done.stdout[-3000:] + done.stderr[-3000:])
        return self.report(stand_ins)

    def report(self, stand_ins):
        """Returns the report after checking what must be true of every report."""
        self.assertEqual(sorted(os.listdir(stand_ins.out)), ["logs.tgz", "report.md"])
        with tarfile.open(stand_ins.out / "logs.tgz") as archive:
            self.logs = {entry.name: archive.extractfile(entry).read() for entry in archive}
        self.assertTrue(self.logs)
        text = (stand_ins.out / "report.md").read_bytes().decode("utf-8")
        self.assertIn("## Summary", text)
        self.assertNotRegex(text, r"[\x00-\x08\x0b-\x1f]")
        self.assertEqual(text.count("```") % 2, 0)
        self.assertLess(len(text), 100_000)
        self.assertNotIn("gpu_check itself failed", text)
        if stand_ins.children.exists():
            for child in stand_ins.children.read_text().split():
                self.assertFalse(is_alive(child), "a child outlived the check")
        return text


class Outcomes(GpuCheckTest):
    def test_all_is_well(self):
        stand_ins = self.stand_ins(ncu="profiles")
        report = self.check(stand_ins, "--only", "fragments,memcheck,kernels,ncu,run", status=0)
        self.assertIn("| GPU name | Stand-in GPU |", report)
        self.assertRegex(report, r"\| NVIDIA's packages in Python \| (none|nvidia-|triton)")
        self.assertIn("10 of 10 programs start here", report)
        self.assertIn("- fragments: ok", report)
        self.assertIn("memcheck found nothing, 24 cases", report)
        self.assertIn("| conv2d forward 16x32x32 | 0.0 |", report)
        self.assertIn("| kernel_11<3> | (11, 1, 1) | (128, 1, 1) | 25 | 25.0 |", report)
        self.assertIn("| kernel_11<3> | (11, 1, 1) | 1000.1 us |", report)
        self.assertIn("50.00 % at 90.00 % sparsity", report)
        self.assertNotIn("FAILED", report)

    def test_rows_of_a_bench_come_as_they_are_measured(self):
        # The engine after the first one dies in the middle of an answer.
        report = self.check(self.stand_ins(), "--only", "cudnn_bench", status=1)
        rows = re.findall(r"^\| resnet20 \| 512 \| 32 \| (\S+) \| ([a-z ]+) \| (\S+)", report, re.M)
        self.assertEqual(rows[:3], [("sculpt", "alone", "51200"), ("sculpt-cudnn", "alone", "51200"),
                                    ("sculpt-auto", "alone", "51200")])
        self.assertIn(("sculpt-cudnn", "failed", "-"), rows)
        self.assertIn(("sculpt-auto", "in turn", "51200"), rows)
        self.assertTrue(any(name.endswith("bench_libraries.json") for name in self.logs))

    def test_failing_suites_leave_the_others_and_run_again_alone(self):
        stand_ins = self.stand_ins(test_kernels="fails", test_ops="crashes", test_train="prints garbage",
                                   test_sparse="leaves children behind", test_cuda="floods")
        report = self.check(stand_ins, "--only", "bf16", status=1)
        for text in ("kernels bf16: exit status 1", "24 cases, 1 failed",
                     "failing case: linear: values, and gradients: tests/kernels/linear_test.cpp:97: "
                     "ERROR", "ops bf16: killed by SIGSEGV", "train bf16: no result",
                     "cuda bf16: ended: it wrote more than 64 MiB", "- sparse fp32: ok",
                     "kernels bf16 again, alone, with SCULPT_CUDA_SYNC=1: exit status 1",
                     "after conv2d_forward", "kernels bf16 under memcheck: exit status 86"):
            self.assertIn(text, report)
        self.assertNotIn("\n| a | row | that is none |", report.split("```")[0])
        self.assertLess((stand_ins.out / "logs.tgz").stat().st_size, 16 << 20)

    def test_every_network_of_real_sizes_runs_by_itself(self):
        report = self.check(self.stand_ins(test_cuda="crashes"), "--only", "real_sizes", status=1)
        for network in ("ResNet-20", "ResNet-18"):
            self.assertIn(f"real sizes: {network}, batch 512: killed by SIGSEGV", report)
        self.assertIn("cuda bf16 again, alone, with SCULPT_CUDA_SYNC=1: killed by SIGSEGV", report)

    def test_real_sizes_without_such_cases_are_skipped(self):
        report = self.check(self.stand_ins(test_cuda="has no such case"), "--only", "real_sizes",
                            status=0)
        self.assertIn("| real_sizes | skipped: this build of test_cuda has no cases", report)

    def test_optional_tools_that_are_missing_are_said(self):
        stand_ins = self.stand_ins(ncu=None, compute_sanitizer=None)
        if any(shutil.which(tool) for tool in ("ncu", "compute-sanitizer")):
            self.skipTest("this machine has them")
        report = self.check(stand_ins, "--only", "ncu,memcheck,sanitizer", status=0)
        self.assertIn("| ncu | skipped: there is no ncu", report)
        self.assertIn("| sanitizer | skipped: there is no compute-sanitizer", report)
        self.assertIn("kernels are run one by one instead", report)

    def test_a_sanitizer_that_does_not_work_leaves_the_test_itself(self):
        report = self.check(self.stand_ins(compute_sanitizer="crashes"), "--only", "memcheck", status=1)
        self.assertIn("killed by SIGSEGV, ", report)
        self.assertIn("compute-sanitizer gave no verdict; kernels are run one by one", report)
        self.assertIn("- kernels bf16: ok", report)

    def test_a_broken_nvidia_smi_ends_nothing(self):
        report = self.check(self.stand_ins(nvidia_smi="prints garbage"), "--only", "fragments", status=0)
        self.assertIn("sm_90 is assumed", report)
        self.assertIn("- fragments: ok", report)

    def test_programs_that_are_missing_or_damaged_are_said(self):
        stand_ins = self.stand_ins(sculpt_bench=None)
        report = self.check(stand_ins, "--only", "kernels,fragments", status=0)
        self.assertIn("not there: sculpt_bench", report)
        self.assertIn("| kernels | skipped: there is no sculpt_bench |", report)


class Limits(GpuCheckTest):
    def test_everything_hangs(self):
        stand_ins = self.stand_ins(
            test_fragments="hangs", test_kernels="ignores SIGTERM", test_cuda="ignores SIGTERM",
            test_ops="hangs", sculpt_bench="hangs", ncu="ignores SIGTERM")
        started = time.monotonic()
        report = self.check(stand_ins, "--minutes", "0.25", status=1)
        self.assertLess(time.monotonic() - started, 60)
        self.assertRegex(report, r"fragments: cut short after \d+ s")
        self.assertIn("0.120 s: batch norm: forward", report)  # what it said before it hung
        self.assertIn("not run: no time was left", report)
        self.assertTrue(stand_ins.children.exists())

    def signalled(self, stand_ins, number, until, *words):
        """Starts a check and sends it a signal once the report says `until`. Returns the report."""
        process = subprocess.Popen(stand_ins.words(*words), env=stand_ins.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        report, end = stand_ins.out / "report.md", time.monotonic() + 60
        while time.monotonic() < end and not (report.exists() and until in report.read_text()):
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        self.assertEqual(process.wait(timeout=60), 128 + number)
        return self.report(stand_ins)

    def test_a_signal_leaves_report_and_logs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                stand_ins = self.stand_ins(test_fragments="ignores SIGTERM")
                report = self.signalled(stand_ins, number, "## Fragment layouts", "--minutes", "3",
                                        "--only", "fragments")
                self.assertIn("stopped by a signal", report)
                self.assertIn(f"ended by {number.name}", report)

    def test_a_killed_check_leaves_what_it_had(self):
        stand_ins = self.stand_ins(test_fragments="hangs")
        process = subprocess.Popen(stand_ins.words("--only", "fragments"), stdin=subprocess.DEVNULL,
                                   env=stand_ins.environment(), stdout=subprocess.DEVNULL)
        report, end = stand_ins.out / "report.md", time.monotonic() + 60
        while time.monotonic() < end and not (report.exists() and "## Frag" in report.read_text()):
            time.sleep(0.05)
        process.kill()
        process.wait()
        self.assertIn("10 of 10 programs start here", report.read_text())
        self.assertTrue((stand_ins.out / "logs.tgz").exists())
        for entry in Path("/proc").iterdir():  # what SIGKILL left behind, by its command line
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if str(stand_ins.binaries) in words:
                    os.kill(int(entry.name), signal.SIGKILL)

    def test_a_closed_standard_output_ends_nothing(self):
        stand_ins = self.stand_ins()
        reader, writer = os.pipe()
        process = subprocess.Popen(stand_ins.words("--only", "fragments"), stdout=writer,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                   env=stand_ins.environment())
        os.close(reader)
        os.close(writer)
        self.assertEqual(process.wait(timeout=60), 0)
        self.report(stand_ins)


class Building(GpuCheckTest):
    CMAKE = """#!/bin/bash
case "$*" in
  *DISABLE_FIND_PACKAGE_CUDNN*) exit 0 ;;
  *"--target help"*) echo "sculpt_cuda: phony" ;;
  *--build*) exit 0 ;;
  *--preset*) echo "CMake Error: CUDA::cublas was not found"; exit 1 ;;
esac
"""

    def test_a_configure_that_fails_is_tried_without_cudnn(self):
        stand_ins = self.stand_ins()
        (stand_ins.tools / "cmake").write_text(self.CMAKE)
        (stand_ins.tools / "cmake").chmod(0o755)
        (stand_ins.binaries / "libsculpt_cuda.so").unlink()  # so that what was carried is no use
        report = self.check(stand_ins, "--only", "versions", status=1)
        self.assertIn("**configure: exit status 1", report)
        self.assertIn("CUDA::cublas was not found", report)
        self.assertIn("- configure without cuDNN: ok", report)
        self.assertIn("- build: ok", report)


class Usage(unittest.TestCase):
    def test_no_gpu_is_one_clear_line(self):
        if shutil.which("nvidia-smi") or os.path.exists("/dev/nvidia0"):
            self.skipTest("this machine may have a GPU")
        with tempfile.TemporaryDirectory() as folder:
            done = run(TOOLS / "gpu_check", "--out", f"{folder}/out")
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, r"^error: .*GPU.*\n$")
            self.assertFalse(Path(folder, "out").exists())

    def test_wrong_arguments(self):
        for words, text in ((["--only", "builds"], "versions, binaries, fragments"),
                            (["--minutes", "0"], "above 0"),
                            (["--binaries", "no-such-folder"], "no-such-folder is not a folder"),
                            (["pack", "--arch"], "--arch")):
            done = run(TOOLS / "gpu_check", *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(text, done.stderr)


@unittest.skipIf(shutil.which("gcc") is None or shutil.which("strip") is None, "needs gcc and strip")
class Pack(unittest.TestCase):
    def setUp(self):
        sys.path.insert(0, str(TOOLS))
        from gpu import binaries
        self.binaries = binaries
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.source = self.folder / "bin"
        self.source.mkdir()
        (self.folder / "x.c").write_text("int main(void) { return 0; }\n")
        done = run("gcc", "-g", "-o", self.source / "sculpt_run", self.folder / "x.c")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in (*binaries.PROGRAMS[1:], binaries.LIBRARY):
            shutil.copy(self.source / "sculpt_run", self.source / name)

    def test_programs_are_stripped_and_listed(self):
        with contextlib.redirect_stdout(io.StringIO()):
            line = self.binaries.collect(self.source, self.folder / "pack", "90")
        self.assertRegex(line, r"11 files, .* MiB, for sm 90, needs glibc 2\.\d+")
        manifest = self.binaries.read_manifest(self.folder / "pack")
        self.assertEqual(len(manifest["sha256"]), 11)
        for name in (*self.binaries.PROGRAMS, self.binaries.LIBRARY):
            packed = self.folder / "pack" / name
            self.assertLess(packed.stat().st_size, (self.source / name).stat().st_size)
            self.assertEqual(run(packed).returncode, 0)
        with contextlib.redirect_stdout(io.StringIO()):
            self.binaries.collect(self.source, self.folder / "pack", "90")  # again, over itself

    def test_what_cannot_be_packed(self):
        (self.source / "test_ops").unlink()
        with self.assertRaisesRegex(self.binaries.PackError, "lacks test_ops"):
            self.binaries.collect(self.source, self.folder / "pack", "90")
        shutil.copy(self.source / "sculpt_run", self.source / "test_ops")
        (self.folder / "mine").mkdir()
        (self.folder / "mine" / "thesis.txt").write_text("dear to me")
        with self.assertRaisesRegex(self.binaries.PackError, "not a pack"):
            self.binaries.collect(self.source, self.folder / "mine", "90")
        self.assertTrue((self.folder / "mine" / "thesis.txt").exists())
        with contextlib.redirect_stdout(io.StringIO()):  # the advice: another folder
            self.binaries.collect(self.source, self.folder / "other", "90")

    def test_a_tree_that_changes_while_it_is_built(self):
        class Options:
            archs, jobs, cmake, out = "90", 0, [], self.folder / "pack"
        for name, stand_in in (("_call", lambda words: None), ("BUILD_FOLDER", self.folder),
                               ("_output", lambda words: "")):
            self.addCleanup(setattr, self.binaries, name, getattr(self.binaries, name))
            setattr(self.binaries, name, stand_in)
        commits = iter(["a", "b"])
        self.addCleanup(setattr, self.binaries, "commit_of_tree", self.binaries.commit_of_tree)
        self.binaries.commit_of_tree = lambda: next(commits)
        with self.assertRaisesRegex(self.binaries.PackError, "changed while it was built.*run it again"):
            self.binaries.pack(Options)
        self.assertFalse(Options.out.exists())

    def test_libraries_that_a_bare_system_lacks(self):
        listed = ("\tlinux-vdso.so.1 (0x1)\n\tlibfmt.so.9 => /lib/libfmt.so.9 (0x2)\n"
                  "\tlibstdc++.so.6 => /lib/libstdc++.so.6 (0x3)\n\tlibc.so.6 => /lib/libc.so.6 (0x4)\n"
                  "\tlibcublasLt.so.13 => /lib/libcublasLt.so.13 (0x1)\n"
                  "\tlibcudnn_graph.so.9 => /lib/libcudnn_graph.so.9 (0x1)\n"
                  "\tlibmissing.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x5)\n")
        self.binaries._output, original = lambda words: listed, self.binaries._output
        self.addCleanup(setattr, self.binaries, "_output", original)
        self.assertEqual(self.binaries.needed_libraries("x"), ["/lib/libfmt.so.9"])


if __name__ == "__main__":
    unittest.main()
