#!/usr/bin/env python3
"""Stand-ins for a GPU machine's tools and for our programs, which behave as badly as real ones may.

usage: tests/tools/gpu_stand_ins.py rehearse OUT [--minutes 1]

`rehearse` runs tools/gpu_check in full with the stand-ins: several hang, crash, print garbage, ignore
SIGTERM, or leave children behind. It measures nothing. The tests use the same stand-ins.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The behaviour of a stand-in besides answering --help. `name` is the name that it was called by.
PRELUDE = """#!{python}
import json, os, random, signal, subprocess, sys, time
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
if "--help" in words:
    print("usage"); sys.exit(0)
if words == ["--version"]:
    print("stand-in, version 0"); sys.exit(0)
def summary(cases, failed=0):
    print(f"[doctest] test cases: {{cases:3}} | {{cases - failed:3}} passed | {{failed}} failed | 0 skipped")
if "-ltc" in words:
    print("=" * 79)
    for network in () if {behaviour!r} == "has no such case" else ("ResNet-20", "ResNet-18"):
        print(f"real sizes: {{network}}, batch 512")
    sys.exit(0)
def leave_child():
    # This child leaves the session and the group, and ignores SIGTERM.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            open({children!r}, "a").write(f"{{os.getpid()}}\\n")
            time.sleep(600)
        os._exit(0)
    time.sleep(0.3)
"""

BEHAVIOURS = {
    "passes": "summary(24)",
    "has no such case": "summary(0)",
    "fails": """
alone = "SCULPT_CUDA_SYNC" in os.environ
print("=" * 79)
print("tests/kernels/linear_test.cpp:84:")
print("TEST CASE:  linear: values, and gradients")
print()
print("tests/kernels/linear_test.cpp:97: ERROR: CHECK( difference <= bound ) is NOT correct!")
print("  values: CHECK( 0.5 <= 0.001 )" + (" after conv2d_forward" if alone else ""))
summary(24, 1)
sys.exit(1)
""",
    "hangs": "print('0.120 s: batch norm: forward', flush=True); time.sleep(600)",
    "ignores SIGTERM": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
leave_child()
print("waiting for a kernel", flush=True)
while True:
    time.sleep(600)
""",
    "leaves children behind": "leave_child(); summary(24)",
    "crashes": "print('CUDA error: an illegal memory access', flush=True); os.kill(os.getpid(), 11)",
    "prints garbage": """
out = sys.stdout.buffer
out.write(b'| a | row | that is none |\\n```\\n# A heading\\n\\x1b[31m\\x00\\xff\\xfe{"seconds": 1')
out.write(random.Random(1).randbytes(3 << 20) if hasattr(random, "randbytes") else os.urandom(3 << 20))
""",
    "floods": """
while True:
    sys.stdout.write("x" * 1000000 + "\\n")
""",
    # sculpt_bench: `serve` answers the protocol, `kernels` prints a table.
    "measures": """
if words[0] == "kernels":
    print("Batch 512, cuda-bf16: copies 0.0 GB/s, multiplies matrices at 0.00 TFLOP/s.\\n")
    print("| kernel | us |\\n|---|---|")
    for kernel in ("conv2d forward 16x32x32", "batch norm backward 16x32x32"):
        print(f"| {kernel} | 0.0 |", flush=True)
    print("\\nSum of a step: 0.000 ms, 0 images/s.")
    sys.exit(0)
conv = words[words.index("--conv") + 1] if "--conv" in words else "native"
print("a library's chatter\\n" + json.dumps({"ready": True}), flush=True)
for index, line in enumerate(sys.stdin):
    if line.split() == ["quit"]:
        break
    steps = int(line.split()[1])
    if conv == "cudnn" and index == 4:
        print('{"seconds": 0.', flush=True); os.kill(os.getpid(), 11)
    print(json.dumps({"seconds": 0.01 * steps, "peak_memory_bytes": 1 << 30}), flush=True)
""",
    "runs": """
folder = words[words.index("--out") + 1]
os.makedirs(folder)
json.dump({"test_accuracy": 0.5, "sparsity": 0.9, "images_per_second": 1.0, "backend": "none"},
          open(folder + "/summary.json", "w"))
""",
    # These are tools of the machine.
    "names a GPU": """
if words and words[0].startswith("--query-gpu"):
    print("Stand-in GPU, 0.0, 9.0, 0 MiB, 0 MHz, 0 MHz, 0.00 W, Disabled, Disabled, Default, 0 %")
""",
    "profiles": """
tool = words.index("--csv")
print("==PROF== Connected to process 1")
print('"ID","Kernel Name","Grid Size","Block Size","Section Name","Metric Name","Metric Unit","Metric Value"')
for i in range(300):
    for metric, unit in ([("gpu__time_duration.sum", "ns")] if "--metrics" in words else
                         [("Duration", "us"), ("DRAM Throughput", "%")]):
        print(f'"{i}","void sculpt::kernels::kernel_{i % 12}<(int)3>(float *)","({i % 12}, 1, 1)",'
              f'"(128, 1, 1)","","{metric}","{unit}","1,000.{i % 12:02}"')
print('"300","half a li')
""",
    "checks memory": """
program = next(i for i, word in enumerate(words) if os.path.basename(word).startswith("test_"))
done = subprocess.run(words[program:])
print("========= ERROR SUMMARY: " + ("3 errors" if done.returncode else "0 errors"))
sys.exit(86 if done.returncode else 0)
""",
}
PROGRAMS = {"sculpt_run": "runs", "sculpt_bench": "measures", "test_fragments": "passes",
            "test_kernels": "passes", "test_ops": "passes", "test_cuda": "passes",
            "test_nn": "passes", "test_run": "passes", "test_sparse": "passes", "test_train": "passes"}
TOOLS = {"nvidia-smi": "names a GPU", "ncu": "profiles", "compute-sanitizer": "checks memory"}


class StandIns:
    """A folder with programs (`binaries`) and tools (`tools`); `children` lists what was left."""

    def __init__(self, folder, **behaviours):
        self.folder = Path(folder)
        self.binaries, self.tools = self.folder / "binaries", self.folder / "tools"
        self.children = self.folder / "children"
        self.out = self.folder / "out"
        behaviours = {name.replace("_smi", "-smi").replace("_sanitizer", "-sanitizer"): behaviour
                      for name, behaviour in behaviours.items()}
        for place, table in ((self.binaries, PROGRAMS), (self.tools, TOOLS)):
            place.mkdir(parents=True)
            for name, usual in table.items():
                self.make(place / name, behaviours.get(name, usual))
        for name in ("libsculpt_cuda.so", "libsculpt_cudnn.so"):
            (self.binaries / name).write_text("no library")

    def make(self, path, behaviour):
        if behaviour is None:
            return
        prelude = PRELUDE.format(python=sys.executable, children=str(self.children),
                                 behaviour=behaviour)
        path.write_text(prelude + BEHAVIOURS[behaviour])
        path.chmod(0o755)

    def environment(self):
        return {**os.environ, "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}"}

    def words(self, *more):
        return [str(word) for word in (sys.executable, "-B", ROOT / "tools" / "gpu_check", "--out",
                                       self.out, "--binaries", self.binaries, *more)]


def rehearse(out, minutes):
    with tempfile.TemporaryDirectory() as folder:
        stand_ins = StandIns(folder, test_kernels="fails", test_cuda="ignores SIGTERM",
                             test_ops="prints garbage", test_train="crashes",
                             test_sparse="leaves children behind")
        stand_ins.out = Path(out)
        return subprocess.call(stand_ins.words("--minutes", minutes), env=stand_ins.environment())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["rehearse"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=1)
    arguments = parser.parse_args()
    return rehearse(arguments.out, arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
