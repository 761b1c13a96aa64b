#!/usr/bin/env python3
"""Times training steps of Sculpt and of PyTorch on one GPU, alternating in one run.

usage: tools/bench_gpu.py [--models resnet20:512,resnet18:512,resnet50:128:224] [--rounds 5]
                          [--seconds 2] [--precision bf16] [--engines sculpt,eager,compiled]
                          [--ready-seconds 600] [--bench build/cuda/bin/sculpt_bench]
                          [--out runs/bench_gpu]

Each engine is a process of its own. Three engines are `sculpt_bench serve --device cuda`: sculpt with
Sculpt's own convolutions, sculpt-cudnn with those of cuDNN, and sculpt-auto with the faster ones for each
shape. The others are PyTorch: without compilation (eager), with torch.compile (compiled) and with
torch.compile(mode="max-autotune") (autotuned). PyTorch runs channels-last and in the same precision
(bf16 by autocast). A model is given as MODEL:BATCH[:IMAGE_SIZE].

An engine is first timed alone for a block, as soon as it is ready and before the next engine starts.
Then all engines alternate, a block each, and each round starts with another engine. A ratio compares
an engine with the Sculpt engine of the highest median rate; it is the median over rounds of the pairwise
ratios. After each measurement, a row is printed and OUT.json and OUT.md are written. If an engine cannot
start, fails, or is not ready in time, only its own row is lost. tools/bench_workers.py defines the
protocol with a process. Only the PyTorch engines need torch. The exit status is 1 if an engine failed.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_workers import Child, answer

ROOT = Path(__file__).resolve().parent.parent
ANSWER_SECONDS = 120  # a process that takes longer for a block of steps counts as hanging


# --- the PyTorch side ---------------------------------------------------------------------------

def worker(arguments):
    import torch

    import pytorch_models
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    # PyTorch's default is TF32 in convolutions and float32 in matrix products.
    torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    device = torch.device(arguments.device)
    size = arguments.image_size
    model = pytorch_models.build(arguments.model, image_size=size,
                                 stem="imagenet" if size > 64 else "cifar")
    model = model.to(device, memory_format=torch.channels_last).train()
    images = torch.randn(arguments.batch, 3, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (arguments.batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    if arguments.compile:
        model = torch.compile(model, mode=None if arguments.compile == "default" else
                              arguments.compile)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    def finish():
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    finish()
    answer({"ready": True, "version": torch.__version__})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        started = time.perf_counter()
        for _ in range(int(words[1])):
            step()
        finish()
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        answer({"seconds": time.perf_counter() - started, "images": arguments.batch * int(words[1]),
                "peak_memory_bytes": peak})


# --- the driver ---------------------------------------------------------------------------------

CONVOLUTIONS = {"sculpt": "native", "sculpt-cudnn": "cudnn", "sculpt-auto": "auto"}
COMPILED = {"compiled": "default", "autotuned": "max-autotune"}  # the mode of torch.compile
ENGINES = (*CONVOLUTIONS, "eager", *COMPILED)


def command_of(engine, arguments, model, batch, size):
    if engine in CONVOLUTIONS:
        return [str(arguments.bench), "serve", "--device", arguments.device, "--precision",
                arguments.precision, "--conv", CONVOLUTIONS[engine], "--model", model, "--batch",
                str(batch), "--image-size", str(size)]
    words = [arguments.python, str(Path(__file__).resolve()), "--worker", "--model", model,
             "--batch", str(batch), "--image-size", str(size), "--precision", arguments.precision,
             "--device", arguments.device]
    return words + (["--compile", COMPILED[engine]] if engine in COMPILED else [])


def measure(arguments, model, batch, size, changed=lambda result: None):
    """Measures every engine alone, then all alternately. Calls `changed` with the result after each
    measurement."""
    result = {"model": model, "batch": batch, "image_size": size, "alone": {}, "failures": {},
              "images_per_second": {}, "ours": None, "ratios": {}, "peak_memory_bytes": {}}
    children, steps = {}, {}

    def failed(engine, problem):
        result["failures"][engine] = str(problem)
        child = children.pop(engine, None)
        if child:
            child.kill()
        show_row(result, engine, "failed", 0)
        print(f"{model}, {engine}: {problem}", file=sys.stderr, flush=True)
        changed(result)

    try:
        for engine in arguments.engines.split(","):
            try:
                children[engine] = child = Child(
                    engine, command_of(engine, arguments, model, batch, size),
                    ready_seconds=arguments.ready_seconds, answer_seconds=ANSWER_SECONDS)
                child.run(3)
                steps[engine] = max(1, round(arguments.seconds / child.run(5)))
                result["alone"][engine] = batch / child.run(steps[engine])
                result["peak_memory_bytes"][engine] = child.peak
            except RuntimeError as problem:
                failed(engine, problem)
                continue
            show_row(result, engine, "alone", result["alone"][engine])
            changed(result)
        in_turn(arguments, result, children, steps, failed)
    finally:
        for child in children.values():
            child.quit()
    compare(result)
    for engine, rates in result["images_per_second"].items():
        show_row(result, engine, "in turn", statistics.median(rates))
    changed(result)
    return result


def in_turn(arguments, result, children, steps, failed):
    """Runs blocks of all engines that still work, alternately."""
    rates = {engine: [] for engine in children}
    order = list(children)
    for _ in range(arguments.rounds):
        for engine in list(order):
            try:
                rates[engine].append(result["batch"] / children[engine].run(steps[engine]))
                result["peak_memory_bytes"][engine] = children[engine].peak
            except RuntimeError as problem:
                order.remove(engine)
                failed(engine, problem)
        order = order[1:] + order[:1]
    result["images_per_second"] = {engine: rates[engine] for engine in children if rates[engine]}


def compare(result):
    """Computes the ratios of the engines that took part in every round."""
    rates = {engine: values for engine, values in result["images_per_second"].items()
             if engine not in result["failures"]}
    result["ours"] = max((engine for engine in rates if engine in CONVOLUTIONS), default=None,
                         key=lambda engine: statistics.median(rates[engine]))
    if result["ours"]:
        result["ratios"] = {
            engine: statistics.median(a / b for a, b in zip(rates[result["ours"]], rates[engine]))
            for engine in rates if engine not in CONVOLUTIONS}


def row(result):
    """Returns a row of the table: the model, the rate of each engine from the alternating rounds, and the
    ratios. Values that were not measured are `-`."""
    def rate(engine):
        values = result["images_per_second"].get(engine)
        if values:
            return f"{statistics.median(values):.0f}"
        alone = result["alone"].get(engine)
        return f"{alone:.0f} alone" if alone else "failed" if engine in result["failures"] else "-"

    def ratio(engine):
        return f"{result['ratios'][engine]:.2f}" if engine in result["ratios"] else "-"

    rates = " | ".join(map(rate, ENGINES))
    ratios = " | ".join(ratio(engine) for engine in ENGINES if engine not in CONVOLUTIONS)
    return (f"| {result['model']} | {result['batch']} | {result['image_size']} | {rates} | {ratios} |")


HEADER = ["| model | batch | pixels | Sculpt images/s | with cuDNN | auto | eager | compiled | "
          "autotuned | best against eager | against compiled | against autotuned |",
          "|" + "---|" * 12]
ROW_HEADER = ["| model | batch | pixels | engine | measured | images/s | ms a step | best Sculpt "
              "against it | GPU memory, MiB |", "|" + "---|" * 9]


def show_row(result, engine, how, rate):
    """Prints a measurement of one engine as soon as it is known."""
    ratio = result["ratios"].get(engine)
    memory = result["peak_memory_bytes"].get(engine, 0) / 2**20
    print(f"| {result['model']} | {result['batch']} | {result['image_size']} | {engine} | {how} | "
          + (f"{rate:.0f} | {1e3 * result['batch'] / rate:.3f}" if rate else "- | -")
          + f" | {f'{ratio:.2f}' if ratio else '-'} | {memory:.0f} |", flush=True)


def gpu_name():
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                               "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown GPU"
    return done.stdout.strip().splitlines()[0]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="resnet20:512,resnet18:512,resnet50:128:224")
    parser.add_argument("--engines", default="sculpt,eager,compiled")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "tf32", "fp32"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--bench", type=Path, default=ROOT / "build/cuda/bin/sculpt_bench")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench_gpu")
    parser.add_argument("--ready-seconds", type=float, default=600,
                        help="an engine that takes longer to start is left out")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--compile", default="", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--image-size", type=int, default=32, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for engine in arguments.engines.split(","):
        if engine not in ENGINES:
            parser.error(f"--engines {engine}: there are {', '.join(ENGINES)}")
    for item in arguments.models.split(","):
        if not re.fullmatch(r"\w+(:[1-9][0-9]*){1,2}", item):
            parser.error(f"--models {item}: expected MODEL:BATCH or MODEL:BATCH:IMAGE_SIZE")
    return arguments


def write(arguments, results):
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    failures = [f"{r['model']}, {engine}: {problem}" for r in results
                for engine, problem in r["failures"].items()]
    about = {"command": "tools/bench_gpu.py " + " ".join(sys.argv[1:]), "gpu": gpu_name(),
             "commit": commit, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    arguments.out.with_suffix(".json").write_text(
        json.dumps({**about, "results": results}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text("\n".join(
        [f"# Training steps on a GPU, {arguments.precision}", "",
         f"`{about['command'].strip()}`, {about['gpu']}, commit {commit}, {about['date']}.", "",
         *HEADER, *map(row, results), "", *[f"- {failure}" for failure in failures], ""]))


def main():
    arguments = parse_arguments()
    if arguments.worker:
        return worker(arguments)
    if not arguments.bench.exists():
        sys.exit(f"error: {arguments.bench} is not there; build it with cmake --preset cuda && "
                 "cmake --build --preset cuda")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results = []

    def changed(result):
        if result not in results:
            results.append(result)
        write(arguments, results)

    print("\n".join(ROW_HEADER), flush=True)
    for item in arguments.models.split(","):
        model, batch, *size = item.split(":")
        measure(arguments, model, int(batch), int(size[0]) if size else 32, changed)
    return 1 if any(result["failures"] for result in results) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
