"""Predicts how long the launches of a training step take on a GPU.

A launch takes the longest of three times, and a fixed time more:

  issue     its warp instructions at the rate at which the schedulers issue
  products  its matrix products at the rate of mma.sync
  memory    the bytes that it must move, at the bandwidth that copies reach

Instructions are counted in the compiled kernel: those of the hot loop as often as the launch's work demands (its
matrix products, or the bytes that its threads move), those outside of the loop once per warp. Of the latter only
a share counts, because a kernel contains the code of several cases (vectors or single elements, with or without
accumulation, sums, bias) and a launch takes one of them.

Where several loops share a kernel's matrix products (a joint backward pass), they count as one loop. The loop that loads
for them then takes as many turns as the bytes require that the other loops do not move.

The constants below are assumptions, made before any measurement. They are not fitted to one.
"""
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    name: str
    processors: int            # streaming multiprocessors, with 4 schedulers each
    clock: float               # Hz
    bandwidth: float           # bytes/s of the data sheet
    product_rates: dict        # FLOP/s of the data sheet, by precision of the matrix product
    product_share: float       # share of that which mma.sync reaches
    shared_bytes: int          # of a multiprocessor

A100 = Gpu("A100 SXM 80 GB", 108, 1.41e9, 2.04e12, {"bf16": 312e12, "tf32": 156e12}, 0.85, 164 << 10)
H100 = Gpu("H100 SXM 80 GB", 132, 1.755e9, 3.35e12, {"bf16": 989e12, "tf32": 495e12}, 0.62, 228 << 10)
H200 = Gpu("H200 SXM 141 GB", 132, 1.755e9, 4.8e12, {"bf16": 989e12, "tf32": 495e12}, 0.62, 228 << 10)

ISSUE_SHARE = 0.65       # of one instruction per scheduler and cycle
BANDWIDTH_SHARE = 0.79   # of the data sheet's
LAUNCH_SECONDS = 2.8e-6  # between kernels of a graph, and until the last block is done
# The same where the blocks of a kernel start while the kernel before it ends (programmatic dependent launch).
OVERLAPPED_SECONDS = 1.4e-6
ONCE_SHARE = 0.5         # of the instructions outside of the hot loop
PRODUCT_FLOPS = {"bf16": 2 * 16 * 8 * 16, "tf32": 2 * 16 * 8 * 8}  # of one mma instruction

REGISTERS = 65536        # of a multiprocessor
MAX_WARPS, MAX_BLOCKS = 64, 32
RESERVED_SHARED = 1024   # bytes of shared memory that a block takes beside its own


@dataclass
class Time:
    """Seconds of a launch or of several."""
    issue: float = 0
    products: float = 0
    memory: float = 0
    launch: float = 0
    total: float = 0
    instructions: float = 0
    bytes: float = 0
    launches: int = 0

    def __add__(self, other):
        return Time(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    @property
    def bound(self):
        """Names what takes longest."""
        return max(("issue", "products", "memory", "launch"), key=lambda name: getattr(self, name))


def blocks_per_processor(kernel, launch, gpu):
    """Returns how many blocks of a launch fit on a multiprocessor at a time."""
    warps = math.ceil(launch.threads / 32)
    # Registers are handed out to a warp in units of 256.
    registers = warps * math.ceil(kernel.registers * 32 / 256) * 256
    shared = kernel.shared_bytes + launch.shared_bytes + RESERVED_SHARED
    return min(MAX_BLOCKS, MAX_WARPS // warps, REGISTERS // max(registers, 1), gpu.shared_bytes // shared)


def instructions_of(kernel, launch):
    """Returns the warp instructions of a launch."""
    once, hot = kernel.once, kernel.hot
    turns = 0.0
    if hot.matrix_products:
        turns = max(launch.matrix_products / launch.warps - once.matrix_products, 0) / hot.matrix_products
    elif hot.moved_bytes:
        # A kernel whose accesses the survey does not see goes through its loop at least once.
        turns = max(launch.moved_bytes / (launch.blocks * launch.threads) / hot.moved_bytes, 1)
    loads = 0.0
    if kernel.loading.moved_bytes:
        moved = launch.moved_bytes / (launch.blocks * launch.threads)
        loads = max(moved - turns * hot.moved_bytes, 0) / kernel.loading.moved_bytes
    return launch.warps * (ONCE_SHARE * once.instructions + turns * hot.instructions +
                           loads * kernel.loading.instructions)


def time_of(kernel, launch, gpu, precision):
    instructions = instructions_of(kernel, launch)
    # The last blocks leave multiprocessors idle, and so does a grid that is smaller than the GPU.
    at_a_time = gpu.processors * max(blocks_per_processor(kernel, launch, gpu), 1)
    waves = launch.blocks / at_a_time
    spread = math.ceil(waves) / waves if waves > 1 else 1 / min(1, launch.blocks / gpu.processors)
    issue = spread * instructions / (gpu.processors * 4 * gpu.clock * ISSUE_SHARE)
    products = 0.0
    if launch.matrix_products:
        rate = gpu.product_rates[precision] * gpu.product_share
        products = spread * launch.matrix_products * PRODUCT_FLOPS[precision] / rate
    memory = launch.least_bytes / (gpu.bandwidth * BANDWIDTH_SHARE)
    between = OVERLAPPED_SECONDS if kernel.overlaps else LAUNCH_SECONDS
    return Time(issue, products, memory, between, max(issue, products, memory) + between, instructions,
                launch.least_bytes, 1)


def times_of(passes, kernels, gpu, precision):
    """Returns [(pass, Time of all its launches)]. `kernels` maps names to compiled kernels."""
    result = []
    for one in passes:
        total = Time()
        for launch in one.launches:
            total += time_of(kernels[launch.kernel], launch, gpu, precision)
        result.append((one, total))
    return result
