"""Describes this machine: the GPU, the driver, the toolkit, the libraries, and the commit of Sculpt."""
import os
import platform
import shutil
import sys
from pathlib import Path

from .check import ROOT, find_tool

GPU_FIELDS = ("name", "driver_version", "compute_cap", "memory.total", "clocks.max.sm",
              "clocks.max.memory", "power.limit", "mig.mode.current", "ecc.mode.current",
              "compute_mode", "utilization.gpu")
TORCH = """
import torch
print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
print("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none for torch")
"""
PACKAGES = """
from importlib.metadata import distributions
found = {f"{d.metadata['Name']} {d.version}" for d in distributions()
         if str(d.metadata["Name"]).startswith(("nvidia-", "triton"))}
print(", ".join(sorted(found)) or "none")
"""


def _system():
    name = platform.platform()
    try:
        for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
            if line.startswith("PRETTY_NAME="):
                name = line.split("=", 1)[1].strip('"') + ", Linux " + platform.release()
    except OSError:
        pass
    return f"{name}, {' '.join(platform.libc_ver())}, {os.cpu_count()} processors"


def _first_lines(result, count=1, containing=""):
    lines = [line.strip() for line in result.text.splitlines()[1:]
             if line.strip() and containing in line]
    return "; ".join(lines[:count])


def commit_of(check):
    result = check.runner.run(check.command("git", ["git", "-C", ROOT, "rev-parse", "HEAD"], 10,
                                            ours=False))
    words = result.text.split()
    return words[-1][:12] if result.ok and words else "unknown (not a git checkout)"


def step(check):
    def table(name, value):
        check.report.row(name, value or "nothing was printed")

    check.report.table("what", "version")
    table("machine", _system())
    table("Python", sys.version.split()[0])
    table("commit of the tree", commit_of(check))

    def gpu(result):
        values = [value.strip() for value in _first_lines(result).split(",")]
        if result.ok and len(values) == len(GPU_FIELDS):
            for name, value in zip(GPU_FIELDS, values):
                table(f"GPU {name}", value)
            digits = values[2].replace(".", "")
            check.architecture = digits if digits.isdigit() else check.architecture
        else:
            table("GPU", f"nvidia-smi failed: {result.outcome}; sm_{check.architecture} is assumed")

    queries = [(gpu, check.command("nvidia-smi", [
        find_tool("nvidia-smi") or "nvidia-smi", "--query-gpu=" + ",".join(GPU_FIELDS),
        "--format=csv,noheader", "--id=0"], 20, ours=False))]
    queries.append((lambda result: None, check.command(
        "nvidia-smi -q", [find_tool("nvidia-smi") or "nvidia-smi", "-q"], 20, ours=False)))

    def ask(what, words, containing="", count=1, limit=20):
        def show(result):
            table(what, _first_lines(result, count, containing) if result.ok else
                  f"{result.outcome}: {(result.text.strip().splitlines() or [''])[-1]}")
            if what == "PyTorch":  # a slow import does not mean that PyTorch is missing
                check.torch = result.ok or result.cut_short
        queries.append((show, check.command(what, words, limit, ours=False)))

    for name, tool, containing in (("nvcc", "nvcc", "release"), ("CMake", "cmake", "version"),
                                   ("Ninja", "ninja", ""), ("g++", "g++", "g++"),
                                   ("Nsight Compute", "ncu", "Version"),
                                   ("compute-sanitizer", "compute-sanitizer", "ersion")):
        path = find_tool(tool)
        if path:
            ask(name, [path, "--version"], containing)
        else:
            table(name, "not there")
    ask("PyTorch", [check.options.python, "-c", TORCH], count=2, limit=60)
    ask("NVIDIA's packages in Python", [check.options.python, "-c", PACKAGES])
    if shutil.which("ldconfig"):
        ask("libraries", ["ldconfig", "-p"], "cudnn.so", count=2)
    show = {command: handler for handler, command in queries}
    check.runner.run_all(list(show), 4, done=lambda result: show[result.command](result))
