"""Markdown tables of predictions."""
from .predict import Time, blocks_per_processor, time_of


def table(heading, rows):
    return [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading),
            *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]


def grouped(times, key):
    """Returns {key(pass): (number of passes, Time)}, in the order in which keys first occur."""
    groups = {}
    for one, time in times:
        count, total = groups.get(key(one), (0, Time()))
        groups[key(one)] = (count + 1, total + time)
    return groups


def step_row(title, gpu, batch, times):
    total = sum((time for _, time in times), Time())
    return [title, gpu.name, f"{total.total * 1e3:.2f}", f"{batch / total.total:.0f}", total.launches,
            f"{total.bytes / 1e9:.2f}", f"{total.instructions / 1e6:.0f}", f"{total.issue * 1e3:.2f}",
            f"{total.products * 1e3:.2f}", f"{total.memory * 1e3:.2f}", f"{total.launch * 1e3:.2f}"]


STEP_HEADING = ["network", "GPU", "step, ms", "images/s", "launches", "GB", "10⁶ warp instructions", "issue, ms",
                "products, ms", "memory, ms", "launches, ms"]


def op_table(times):
    """The passes of each op of a step together."""
    rows = [[op, time.launches, f"{time.bytes / 1e6:.1f}", f"{time.instructions / 1e6:.1f}",
             f"{time.issue * 1e6:.0f}", f"{time.products * 1e6:.0f}", f"{time.memory * 1e6:.0f}",
             f"{time.launch * 1e6:.0f}", f"{time.total * 1e6:.0f}", time.bound]
            for op, (_, time) in grouped(times, lambda one: one.op).items()]
    return table(["pass", "launches", "MB", "10⁶ warp instructions", "issue, us", "products, us", "memory, us",
                  "launches, us", "in all, us", "bound by"], rows)


def shape_table(times, measured):
    """One row for each op of one shape, comparable with the table of `sculpt_bench kernels`."""
    rows, errors = [], []
    for (op, shape), (count, time) in grouped(times, lambda one: (one.op, one.shape)).items():
        predicted = time.total / count
        row = [op, shape, count, f"{predicted * 1e6:.1f}", time.bound]
        if measured:
            seconds = measured.get((op, shape))
            row += ["-", "-"] if seconds is None else [f"{seconds * 1e6:.1f}",
                                                       f"{100 * (predicted / seconds - 1):+.0f} %"]
            if seconds is not None:
                errors.append(predicted / seconds)
        rows.append(row)
    heading = ["kernel", "shape", "calls per step", "us per call", "bound by"]
    if measured:
        heading += ["measured, us", "error"]
    return table(heading, rows), errors


def kernel_table(kernels):
    """The kernels as compiled. The share of matrix products is that of the instructions of the hot loop."""
    rows = []
    for kernel in kernels:
        hot = kernel.hot
        share = f"{100 * hot.matrix_products / hot.instructions:.0f} %" if hot.matrix_products else "-"
        rows.append([kernel.file, f"`{kernel.name}`", kernel.registers, kernel.shared_bytes, kernel.spilled_bytes,
                     kernel.once.instructions, hot.instructions, hot.matrix_products or "-", share])
    return table(["file", "kernel", "registers", "shared, static (bytes)", "spills (bytes)",
                  "instructions outside of the hot loop", "in the hot loop", "matrix products in it", "share"], rows)


def costliest_table(passes, kernels, gpu, precision, count=12):
    """The kernels in which a step spends most, with what limits them."""
    groups = {}
    for one in passes:
        for launch in one.launches:
            kernel = kernels[launch.kernel]
            launches, total, resident = groups.get(launch.kernel, (0, Time(), 64))
            warps = blocks_per_processor(kernel, launch, gpu) * -(-launch.threads // 32)
            groups[launch.kernel] = (launches + 1, total + time_of(kernel, launch, gpu, precision),
                                     min(resident, warps))
    rows = []
    for name, (launches, time, resident) in sorted(groups.items(), key=lambda item: -item[1][1].total)[:count]:
        rows.append([f"`{name}`", launches, f"{time.total * 1e6:.0f}", f"{time.instructions / 1e6:.1f}",
                     f"{100 * time.issue / (time.total - time.launch):.0f} %",
                     f"{100 * time.memory / (time.total - time.launch):.0f} %",
                     f"{kernels[name].registers}", f"{resident} of 64"])
    return table(["kernel", "launches", "in all, us", "10⁶ warp instructions", "issue share", "memory share",
                  "registers", "warps of a multiprocessor"], rows)
