"""Reads what a training step launches, as survey_cuda_step (tests/cuda/survey) prints it."""
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .compiled import demangled, short_name


@dataclass
class Launch:
    """A launch of a step, with the work of its whole grid."""
    kernel: str             # as compiled.short_name() writes it
    blocks: int
    threads: int            # of a block
    shared_bytes: int       # dynamic shared memory
    matrix_products: float  # mma instructions, each of a whole warp
    moved_bytes: float      # what the kernel's own loads and stores move to and from global memory
    least_bytes: float      # what the launch must move at least to and from the GPU's memory

    @property
    def warps(self):
        return self.blocks * math.ceil(self.threads / 32)


@dataclass
class Pass:
    """One pass of one op of a step, for example the backward pass of a convolution."""
    op: str     # as in the table of `sculpt_bench kernels`: "conv2d, backward"
    name: str   # of the layer
    shape: str  # as in that table
    flops: float
    launches: list


def symbols_of(program):
    """Returns {address: short name} of a program's functions."""
    listed = subprocess.run(["nm", "--defined-only", str(program)], capture_output=True, text=True, check=True)
    found = [line.split() for line in listed.stdout.splitlines()]
    found = [(int(words[0], 16), words[2]) for words in found if len(words) == 3 and words[1] in "tTwWuV"]
    names = demangled([symbol for _, symbol in found])
    return {address: short_name(name) for (address, _), name in zip(found, names)}


def least_bytes(entry, kernel, multiplies, moved):
    """Returns what a launch of a pass must move.

    A kernel that multiplies may read an activation several times, from caches if all goes well: its floor is what
    `sculpt_bench` counts for the pass. Other kernels read and write what they must, and no more.
    """
    plain = re.sub("[^a-z]", "", kernel.lower())
    if not entry["flops"] or not (multiplies or re.search("forward|inputgrad|weightgrad", plain)):
        return moved
    if "weightgrad" in plain:
        return entry["weight_grad_bytes"]
    return entry["input_grad_bytes"] if entry["op"].endswith("backward") else entry["bytes"]


def remove_repeated_reads(launches, pass_bytes):
    """Windows of pooling overlap, and what they read again comes from a cache."""
    total = sum(launch.least_bytes for launch in launches)
    if total > pass_bytes:
        for launch in launches:
            launch.least_bytes *= pass_bytes / total


def input_bytes(shape, batch):
    """Returns the bytes of the input of a pass, from "16x32x32 -> 32x16x16, weight 32x16x3x3", in bf16."""
    return 2 * batch * math.prod(int(size) for size in shape.split(" -> ")[0].split("x"))


def read_survey(text, names):
    """Returns the passes of a survey. `names` maps the addresses of kernels to their names."""
    survey = json.loads(text)
    passes = []
    for entry in survey["passes"]:
        launches = []
        for launch in entry["launches"]:
            kernel = names.get(launch["kernel"])
            if kernel is None:
                sys.exit(f"error: no symbol of the program is the kernel {launch['spelled']}: was it stripped?")
            blocks = math.prod(launch["grid"])
            scale = blocks / launch["sampled_blocks"]
            moved = scale * (launch["read_bytes"] + launch["written_bytes"])
            if "norm_backward" in kernel:
                # It reads each activation once. Blocks along y read the same images, from a cache.
                reads = launch["read_bytes"] + launch["copied_bytes"]
                moved = scale * (reads + launch["written_bytes"])
                least = scale * (reads / launch["grid"][1] + launch["written_bytes"])
                if launch["copied_bytes"] == 0:
                    # It normalises its input, and reads it once more, from a cache, for the sums that every pass of a
                    # step leaves which normalises.
                    least -= input_bytes(entry["shape"], survey["batch"]) / launch["grid"][1]
            else:
                least = least_bytes(entry, kernel, launch["matrix_products"] > 0, moved)
            launches.append(Launch(kernel, blocks, math.prod(launch["block"]), launch["shared_bytes"],
                                   scale * launch["matrix_products"], moved, least))
        if entry["bytes"] and not entry["flops"]:
            remove_repeated_reads(launches, entry["bytes"])
        passes.append(Pass(entry["op"], entry["name"], entry["shape"], entry["flops"], launches))
    return survey, passes


def survey_step(program, model, batch, image_size, precision, classes=10):
    """Runs the program and returns (the survey, its passes)."""
    if not Path(program).exists():
        sys.exit(f"error: {program} does not exist: build it (cmake --preset cpu -DSCULPT_TESTS=ON && cmake --build "
                 "--preset cpu --target survey_cuda_step) or name another one with --survey")
    done = subprocess.run([program, "--model", model, "--batch", str(batch), "--image-size", str(image_size),
                           "--precision", precision, "--classes", str(classes)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {program} failed:\n{done.stderr}")
    return read_survey(done.stdout, symbols_of(program))
