#!/usr/bin/env python3
"""Lists the resources that the CUDA kernels use, and the least time that a GPU needs for their work.

usage: tools/cuda_kernels.py [--arch 90] [--jobs N] [--bench build/cpu/bin/sculpt_bench]
                             [--out docs/results/cuda_kernels.md]

Compiles kernels/cuda/**/*.cu and lists registers, shared memory and spills of every kernel, as ptxas
reports them. Needs nvcc and c++filt, but no GPU. The second table adds up the bytes and FLOPs that
`sculpt_bench floors` counts for the ops of a recorded training step, and gives the roofline time, which
is the larger of bytes / bandwidth and FLOPs / peak, with published rates of an H100. The times are lower
bounds, not measurements.
"""
import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BANDWIDTH = 3.0e12  # bytes/s, device copy
TENSOR = 798e12     # FLOP/s, bf16 matrix product

ENTRY = re.compile(r"Compiling entry function '(\w+)' for")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(.*)")
SHARED = re.compile(r"(\d+) bytes smem")


def nvcc():
    found = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(found).exists():
        sys.exit("error: nvcc is not installed (looked in PATH and /usr/local/cuda/bin)")
    return found


def kernels_of(source, arch):
    """Returns [(mangled name, registers, shared bytes, spill bytes)] of one file."""
    done = subprocess.run([nvcc(), "-std=c++20", "-O3", f"-arch=sm_{arch}", f"-I{ROOT}", "-Xptxas",
                           "-v", "-cubin", str(source), "-o", "/dev/null"], capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"error: {source.name} does not compile:\n{done.stderr}")
    found, name, spills = [], None, 0
    for line in done.stderr.splitlines():
        if match := ENTRY.search(line):
            name = match[1]
        elif match := STACK.search(line):
            spills = int(match[2]) + int(match[3])
        elif name and (match := USED.search(line)):
            shared = SHARED.search(match[2])
            found.append((name, int(match[1]), int(shared[1]) if shared else 0, spills))
            name = None
    return found


def short_names(mangled):
    """Removes namespaces and arguments: implicit_gemm<Bf16, GemmTile<128, 64, 64, 32, 3>, ...>."""
    text = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True,
                          check=True).stdout
    names = []
    for line in text.splitlines():
        line = re.sub(r"\(anonymous namespace\)::|sculpt::kernels::(cuda::)?", "", line)
        line = re.sub(r"^void ", "", line)
        depth = 0
        for i, letter in enumerate(line):
            depth += {"<": 1, ">": -1}.get(letter, 0)
            if letter == "(" and depth == 0:
                line = line[:i]
                break
        names.append(re.sub(r"\(int\)|\(bool\)", "", line))
    return names


def kernel_table(arch, jobs):
    folder = ROOT / "kernels" / "cuda"
    sources = sorted(folder.rglob("*.cu"))
    with ThreadPoolExecutor(jobs) as pool:
        per_file = list(pool.map(lambda source: kernels_of(source, arch), sources))
    lines = ["| file | kernel | registers | shared, static (bytes) | spills (bytes) |",
             "|---|---|---|---|---|"]
    spilling = []
    for source, kernels in zip(sources, per_file):
        for name, (_, registers, shared, spills) in zip(short_names([k[0] for k in kernels]),
                                                        kernels):
            lines.append(f"| {source.relative_to(folder)} | `{name}` | {registers} | {shared} | {spills} |")
            if spills:
                spilling.append(f"`{name}` ({spills} bytes)")
    return lines, spilling


def roofline(bytes_moved, flops=0):
    return max(bytes_moved / BANDWIDTH, flops / TENSOR)


def recorded_step(bench, model, batch):
    """Returns the output of `sculpt_bench floors` for a step in bf16."""
    if not Path(bench).exists():
        sys.exit(f"error: {bench} does not exist: build it (cmake --preset cpu && cmake --build --preset cpu "
                 "--target sculpt_bench) or name another one with --bench")
    done = subprocess.run([bench, "floors", "--model", model, "--batch", str(batch), "--precision",
                           "bf16"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {bench} floors failed:\n{done.stderr}")
    return json.loads(done.stdout)


def step_table(step, batch):
    """Returns the lines of a table of what the passes of a recorded step move and compute."""
    rows, total = {}, 0.0

    def add(name, bytes_moved, flops=0):
        row = rows.setdefault(name, [0, 0.0, 0.0, 0.0])
        for i, value in enumerate((1, bytes_moved, flops, roofline(bytes_moved, flops))):
            row[i] += value

    for row in step["rows"]:
        add(row["pass"], row["bytes"], row["flops"])
    # The update reads weight, momentum and gradient and writes the first two. It also reads a byte of
    # the mask and writes the bf16 copy.
    add("masked update", (5 * 4 + 1 + 2) * step["weights"])
    total = sum(row[3] for row in rows.values())
    add("ranking (once per prune)", 26 * step["weights"])
    lines = ["| pass | launches of a step | MB | GFLOP | roofline (us) |", "|---|---|---|---|---|"]
    for name, (count, moved, flops, seconds) in rows.items():
        lines.append(f"| {name} | {count} | {moved / 1e6:.1f} | {flops / 1e9:.2f} | "
                     f"{seconds * 1e6:.1f} |")
    moved = sum(row[1] for name, row in rows.items() if "once" not in name)
    lines += ["", f"Sum without the ranking: {moved / 1e9:.2f} GB and {total * 1e3:.3f} ms a step, "
              f"{batch / total / 1e3:.0f} thousand images/s."]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="90", help="compute capability without the dot")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--bench", default=ROOT / "build" / "cpu" / "bin" / "sculpt_bench")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "cuda_kernels.md")
    arguments = parser.parse_args()
    step = recorded_step(arguments.bench, "resnet20", arguments.batch)
    lines, spilling = kernel_table(arguments.arch, arguments.jobs)
    version = subprocess.run([nvcc(), "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release ([\d.]+)", version)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    text = ["# CUDA kernels, as compiled", "",
            f"`tools/cuda_kernels.py --arch {arguments.arch}`, commit {commit}, "
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, nvcc {release[1] if release else '?'}. "
            "Nothing here was run on a GPU.", "",
            f"## Floors of a training step: ResNet-20, batch {arguments.batch}, bf16", "",
            f"At {BANDWIDTH / 1e12:.1f} TB/s (device copy) and {TENSOR / 1e12:.0f} TFLOP/s (bf16 "
            "matrix product), as measured on an H100. Each pass counts the activations that our "
            "kernel moves through memory once, caches being perfect: batch norm reads x again where "
            "a convolution leaves no sums, the residual, and in the backward pass dy, x and (for "
            "ReLU's gate behind a residual) y twice. Weights and partial sums of weight gradients "
            "are left out.", "", *step_table(step, arguments.batch),
            "", f"## Registers and spills, sm_{arguments.arch}", "",
            "Spilling: " + (", ".join(spilling) if spilling else "none") + ". The tiles of "
            "`implicit_gemm` are dynamic shared memory and not in the table.", "", *lines, ""]
    arguments.out.write_text("\n".join(text))
    print(f"{len(lines) - 2} kernels, {len(spilling)} with spills; written to {arguments.out}")


if __name__ == "__main__":
    main()
