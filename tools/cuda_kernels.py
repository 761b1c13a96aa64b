#!/usr/bin/env python3
"""Predicts the time of a training step on a GPU from the compiled CUDA kernels, without a GPU.

usage: tools/cuda_kernels.py [--survey build/cpu/bin/survey_cuda_step] [--jobs N]
                             [--steps resnet20:512:32,resnet18:512:32,resnet50:128:224] [--precision bf16]
                             [--measured REPORT] [--gpu h100] [--out docs/results/cuda_kernels.md]

Compiles kernels/cuda/**/*.cu for an A100 and an H100, and reads registers, spills and instructions of every
kernel. survey_cuda_step says what a step launches, with how many blocks, and what those do. The model in
tools/cuda_model/predict.py turns both into times; its assumptions head the tables. Needs nvcc, nvdisasm and c++filt.

--measured takes the report.md of a tools/gpu_check on the GPU that --gpu names, or the output of
`sculpt_bench kernels`: each row then shows what was measured, and the error of the prediction.
"""
import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from cuda_model import compiled, measured, predict, survey, tables

ROOT = Path(__file__).resolve().parent.parent
GPUS = {"a100": (predict.A100, "80"), "h100": (predict.H100, "90"), "h200": (predict.H200, "90")}


def parse_steps(text):
    steps = []
    for step in text.split(","):
        parts = step.split(":")
        if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
            raise argparse.ArgumentTypeError(f"'{step}': expected MODEL:BATCH:PIXELS, for example resnet20:512:32")
        steps.append((parts[0], int(parts[1]), int(parts[2])))
    return steps


def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--survey", default=ROOT / "build" / "cpu" / "bin" / "survey_cuda_step")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=parse_steps, default="resnet20:512:32,resnet18:512:32,resnet50:128:224")
    parser.add_argument("--precision", choices=("bf16", "tf32"), default="bf16")
    parser.add_argument("--measured", type=Path, help="report of a gpu_check")
    parser.add_argument("--gpu", choices=GPUS, default="h100", help="the GPU of the tables of kernels")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "cuda_kernels.md")
    return parser.parse_args(words)


def by_name(kernels):
    """Returns {name: kernel} of the kernels that are told apart by their names. Files may share a template, whose
    instances are alike; kernels of one name that differ are left out."""
    found, ambiguous = {}, set()
    for kernel in kernels:
        other = found.setdefault(kernel.name, kernel)
        if (other.registers, other.once, other.hot, other.loading) != (kernel.registers, kernel.once, kernel.hot,
                                                                       kernel.loading):
            ambiguous.add(kernel.name)
    return {name: kernel for name, kernel in found.items() if name not in ambiguous}


def require_kernels(passes, named):
    """Ends the program if a step launches a kernel that is not known by its name."""
    for name in sorted({launch.kernel for one in passes for launch in one.launches} - named.keys()):
        sys.exit(f"error: a step launches {name}, but kernels/cuda has no kernel of this name, or several that differ; "
                 "give the kernels different names")


def version_text():
    version = subprocess.run([compiled.nvcc(), "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True,
                            text=True).stdout.strip()
    return f"commit {commit}, {time.strftime('%Y-%m-%d', time.gmtime())}, nvcc {release[1] if release else '?'}"


def assumptions():
    lines = [f"- {gpu.name}: {gpu.processors} multiprocessors at {gpu.clock / 1e9:.3f} GHz, "
             f"{gpu.bandwidth / 1e12:.2f} TB/s, {gpu.product_rates['bf16'] / 1e12:.0f} TFLOP/s in bf16 by the data "
             f"sheet, of which mma.sync reaches {100 * gpu.product_share:.0f} %."
             for gpu, _ in GPUS.values()]
    return [*lines, f"- Schedulers issue {100 * predict.ISSUE_SHARE:.0f} % of their limit; copies reach "
            f"{100 * predict.BANDWIDTH_SHARE:.0f} % of the bandwidth; a launch takes "
            f"{predict.LAUNCH_SECONDS * 1e6:.1f} us more than its work, or {predict.OVERLAPPED_SECONDS * 1e6:.1f} us "
            "where its blocks start before the kernel before it has ended.",
            f"- Of the instructions outside of a kernel's hot loop, {100 * predict.ONCE_SHARE:.0f} % are executed: "
            "the others belong to cases that a launch does not take.",
            "- Activations are read from and written to the GPU's memory once by each kernel that needs them; "
            "hits in the second-level cache between kernels are ignored."]


def main(words):
    options = parse_arguments(words)
    if options.measured and not options.measured.is_file():
        sys.exit(f"error: --measured {options.measured} is not a file")
    measured_times = measured.read_times(options.measured.read_text(errors="replace")) if options.measured else {}
    if options.measured and not measured_times:
        sys.exit(f"error: {options.measured} has no table of `sculpt_bench kernels`")
    steps = [(step, *survey.survey_step(options.survey, *step, options.precision,
                                        1000 if step[2] > 64 else 10)) for step in options.steps]
    kernels_of_arch = {arch: compiled.compile_all(arch, options.jobs) for arch in ("80", "90")}
    named = {arch: by_name(kernels) for arch, kernels in kernels_of_arch.items()}
    for _, _, passes in steps:
        for kernels in named.values():
            require_kernels(passes, kernels)
    gpu, arch = GPUS[options.gpu]
    step_rows, sections = [], []
    for (model, batch, pixels), _, passes in steps:
        title = f"{model}, batch {batch}, {pixels} x {pixels} pixels"
        for each, its_arch in GPUS.values():
            step_rows.append(tables.step_row(title, each, batch, predict.times_of(passes, named[its_arch], each,
                                                                                  options.precision)))
        times = predict.times_of(passes, named[arch], gpu, options.precision)
        shapes, errors = tables.shape_table(times, measured_times)
        sections += [f"## {title}, {options.precision}, {gpu.name}", "", *tables.op_table(times), "",
                     "The kernels in which the step spends most:", "",
                     *tables.costliest_table(passes, named[arch], gpu, options.precision), "",
                     "Every op:", "", *shapes, ""]
        if errors:
            sections += [f"Predicted / measured: median {statistics.median(errors):.2f}, from {min(errors):.2f} to "
                         f"{max(errors):.2f} over {len(errors)} rows of {options.measured.name}.", ""]
    spilling = [f"`{kernel.name}` ({kernel.spilled_bytes} bytes)" for kernel in kernels_of_arch[arch]
                if kernel.spilled_bytes]
    command = " ".join(["tools/cuda_kernels.py", *words])
    state = ("The times are predictions. " if not options.measured else
             f"Predictions beside the measurements of {options.measured.name}. ")
    text = ["# CUDA kernels: a model of a training step", "", f"`{command}`, {version_text()}. {state}"
            "tools/cuda_model/predict.py has the model; a launch takes the longest of issue, products and memory.", "",
            "## Assumptions", "", *assumptions(), "", "## Steps", "",
            *tables.table(tables.STEP_HEADING, step_rows), "", *sections, f"## Kernels as compiled, sm_{arch}", "",
            "Spilling: " + (", ".join(spilling) or "none") + ". The tiles of `implicit_gemm` are dynamic shared "
            "memory and not in the table.", "", *tables.kernel_table(kernels_of_arch[arch]), ""]
    options.out.write_text("\n".join(text))
    print("\n".join(tables.table(tables.STEP_HEADING, step_rows)))
    print(f"{len(kernels_of_arch[arch])} kernels, {len(spilling)} with spills; written to {options.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
