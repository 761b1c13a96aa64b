"""The steps of a check, in the order in which their results are wanted when time is short."""
# STEPS is {name: (title, body)}. A step may take STEP_SHARE, or its entry in STEP_SHARES, of the time that is
# left, so that a step in which everything hangs leaves time for the others.
from . import binaries, measure, suites, versions

STEP_SHARE = 0.4
STEP_SHARES = {"binaries": 0.8, "compiled": 0.7, "sanitizer": 1.0}

STEPS = {
    "versions": ("Versions", versions.step),
    "binaries": ("Programs: carried or built", binaries.step),
    "fragments": ("Fragment layouts of matrix instructions", suites.fragments),
    "memcheck": ("One 16-channel convolution under memcheck", suites.one_convolution),
    "resnet20": ("ResNet-20: a step, beside eager PyTorch", measure.resnet20),
    "kernels": ("Every kernel of a step by itself", measure.kernel_table),
    "bf16": ("Test suites, bf16", suites.bf16),
    "ncu": ("The costliest kernels under Nsight Compute", measure.costliest_kernels),
    "real_sizes": ("Native kernels against cuDNN at real sizes", suites.real_sizes),
    "cudnn": ("Test suites with cuDNN's convolutions, and chosen ones", suites.libraries),
    "nccl": ("One rank of NCCL in recorded steps", suites.collectives),
    "cudnn_bench": ("Steps with cuDNN's convolutions, and chosen ones", measure.with_libraries),
    "networks": ("Other networks", measure.other_networks),
    "precisions": ("Test suites, other precisions", suites.other_precisions),
    "compiled": ("Beside compiled PyTorch", measure.compiled),
    "run": ("One short run", measure.run),
    "sanitizer": ("compute-sanitizer", suites.sanitizer),
}
