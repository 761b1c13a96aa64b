"""Measures times: training steps beside those of PyTorch, every kernel separately, the slowest kernels under
Nsight Compute, and one short run."""
import csv
import json
import re

from .binaries import CUDNN_LIBRARY
from .check import ROOT, Skipped, find_tool
from .processes import SHARE, readable

COSTLIEST = 8
MAX_TABLE_BYTES = 16 << 20
MODELS = {"resnet20": "512", "resnet18": "512", "resnet50": "128:224"}


def bench(check, name, models, engines, limit, ready_seconds=60, share=SHARE):
    """Runs tools/bench_gpu.py and copies its rows into the report as they are measured."""
    if not check.torch and any(not e.startswith("sculpt") for e in engines.split(",")):
        engines = ",".join(e for e in engines.split(",") if e.startswith("sculpt"))
        check.report.item("without PyTorch, which this Python does not have")
    words = [check.options.python, ROOT / "tools" / "bench_gpu.py", "--models",
             ",".join(f"{model}:{MODELS[model]}" for model in models), "--engines", engines,
             "--rounds", "3", "--seconds", "0.5", "--ready-seconds", ready_seconds, "--python",
             check.options.python, "--bench", check.program("sculpt_bench"), "--out",
             check.logs / f"bench_{name}"]
    rows = check.pass_rows()
    result = check.runner.run(check.command(f"bench {name}", words, limit, lines=rows,
                                            share=share))
    check.report.line()
    check.outcome(result, f"{max(0, len(rows.rows) - 2)} rows")


def own_convolutions(check):
    return "sculpt,sculpt-cudnn,sculpt-auto" if check.has(CUDNN_LIBRARY) else "sculpt"


def resnet20(check):
    bench(check, "resnet20", ["resnet20"], "sculpt,eager", 75)


def with_libraries(check):
    bench(check, "libraries", ["resnet20"], own_convolutions(check), 60)


def other_networks(check):
    bench(check, "networks", ["resnet18", "resnet50"], own_convolutions(check) + ",eager", 120)


def compiled(check):
    if not check.torch:
        raise Skipped("this Python has no torch")
    bench(check, "compiled", ["resnet20"], "sculpt,compiled", 120, ready_seconds=100, share=0.5)
    bench(check, "autotuned", ["resnet20"], "sculpt,autotuned", 120, ready_seconds=100, share=0.5)


def kernel_table(check):
    for model in ("resnet20", "resnet18"):
        rows = check.pass_rows()
        result = check.runner.run(check.command(f"kernels of {model}", [
            check.program("sculpt_bench"), "kernels", "--device", "cuda", "--precision", "bf16",
            "--model", model, "--batch", "512"], 60, lines=rows))
        check.report.line()
        sums = [line for line in result.text.splitlines() if line.startswith(("Sum of", "Batch "))]
        check.outcome(result, f"{max(0, len(rows.rows) - 2)} rows" + "".join(f"; {s}" for s in sums))


def run(check):
    folder = check.logs / "run"
    words = [check.program("sculpt_run"), "configs/quickstart.toml", "--device", "cuda", "--out",
             folder]
    if check.options.data:
        words += ["--set", "data.name=cifar10", "--set", f"data.root={check.options.data.resolve()}"]
    result = check.run("sculpt_run", words, 90)
    if result.ok:
        try:
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            check.report.item(f"{100 * summary['test_accuracy']:.2f} % at "
                              f"{100 * summary['sparsity']:.2f} % sparsity, "
                              f"{summary['images_per_second']:.0f} images/s, {summary['backend']}")
        except (OSError, ValueError, KeyError, TypeError) as problem:
            check.problem(f"its summary.json cannot be used: {problem}")
    for path in folder.glob("checkpoints/*"):  # the archive is for logs
        path.unlink()


# --- Nsight Compute --------------------------------------------------------------------------------

def whole(result):
    """Returns a whole log. A result holds only its beginning and end."""
    try:
        with open(result.log, "rb") as file:
            return readable(file.read(MAX_TABLE_BYTES))
    except (OSError, TypeError):
        return result.text


def short_name(name):
    """Returns a kernel's name without namespaces, return type and arguments, and without the casts before
    template arguments: "void a::kind<(int)3>(float *)" becomes "kind<3>"."""
    name = re.sub(r"(?<=[<, ])\([\w: ]+\)(?=[\w-])", "", name)
    return re.sub(r"\b\w+::|^void ", "", re.sub(r"\(.*", "", name)).strip()


def measurements(text):
    """Returns {(kernel, grid, block): [launches, {metric: sum of values}]} from the output of `ncu --csv`.
    The output has many lines that are not part of the table; these are skipped."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    found = {}
    if start is None:
        return found
    header = next(csv.reader([lines[start]]))
    seen = set()
    for line in lines[start + 1:]:
        if not line.startswith('"'):
            continue
        try:
            row = dict(zip(header, next(csv.reader([line]))))
            value = float(row["Metric Value"].replace(",", ""))
            key = (short_name(row["Kernel Name"]), row.get("Grid Size", ""), row.get("Block Size", ""))
            metric = row["Metric Name"], row.get("Metric Unit", "")
        except (KeyError, ValueError, csv.Error, StopIteration):
            continue
        entry = found.setdefault(key, [0, {}])
        if (key, row.get("ID")) not in seen:
            seen.add((key, row.get("ID")))
            entry[0] += 1
        entry[1][metric] = entry[1].get(metric, 0.0) + value
    return found


def microseconds(metrics):
    scale = {"nsecond": 1e-3, "ns": 1e-3, "usecond": 1.0, "us": 1.0, "msecond": 1e3, "ms": 1e3}
    return sum(value * scale.get(unit, 1e-3) for (name, unit), value in metrics.items()
               if "duration" in name.lower())


def profile(check, tool, name, more, limit):
    words = [tool, "--csv", "--target-processes", "all", *more, check.program("sculpt_bench"),
             "serve", "--device", "cuda", "--precision", "bf16", "--model", "resnet20", "--batch",
             "512"]
    # With SCULPT_CUDA_SYNC=1, kernels are launched one by one and not as one graph.
    return check.runner.run(check.command(name, words, limit, {"SCULPT_CUDA_SYNC": "1"},
                                          stdin="run 1\nquit\n"))


def costliest_kernels(check):
    tool = find_tool("ncu")
    if tool is None:
        raise Skipped("there is no ncu (Nsight Compute)")
    result = profile(check, tool, "ncu, time of every kernel",
                     ["--metrics", "gpu__time_duration.sum"], 60)
    times = {key: (count, microseconds(metrics)) for key, (count, metrics)
             in measurements(whole(result)).items()}
    check.outcome(result, f"{len(times)} kernels")
    if not times:
        return
    order = sorted(times, key=lambda key: -times[key][1])[:COSTLIEST]
    check.report.table("kernel", "grid", "block", "launches", "us in all")
    for key in order:
        check.report.row(*key, times[key][0], f"{times[key][1]:.1f}")
    # ncu selects kernels by name only: it measures the launches of these kernels, in the order of a step,
    # up to a count.
    names = sorted({re.escape(re.split(r"[<(]", key[0])[0]) for key in order})
    sections = [word for section in ("SpeedOfLight", "LaunchStats", "Occupancy", "SchedulerStats",
                                     "WarpStateStats", "MemoryWorkloadAnalysis")
                for word in ("--section", section)]
    check.report.line()
    result = profile(check, tool, "ncu, the costliest", [
        "--kernel-name", f"regex:^({'|'.join(names)})", "--launch-count", "60", *sections], 90)
    details = measurements(whole(result))
    check.outcome(result, f"{len(details)} kernels")
    wanted = ("Duration", "Memory Throughput", "DRAM Throughput", "Compute (SM) Throughput",
              "Registers Per Thread", "Achieved Occupancy", "No Eligible", "L2 Hit Rate")
    if details:
        check.report.table("kernel", "grid", *wanted)
    for key in order:
        count, metrics = details.get(key, (0, {}))
        if count:
            cells = [next((f"{value / count:.1f} {unit}" for (name, unit), value in metrics.items()
                           if name == what), "-") for what in wanted]
            check.report.row(key[0], key[1], *cells)
