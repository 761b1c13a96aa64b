#!/usr/bin/env python3
"""Times training steps of Sculpt and of PyTorch on this machine, alternating in one run.

usage: tools/bench_pytorch.py [--models resnet20:128,resnet18:64] [--threads 2] [--rounds 7]
                              [--seconds 6] [--out docs/results/dense_step]

There are two processes: `sculpt_bench serve` and a PyTorch worker (this script with --worker). Both time
forward, loss, backward and SGD update of the same float32 model on one batch that is already in memory.
A round is a block of steps of Sculpt and a block of steps of PyTorch of about the same length. The order
of the two changes from round to round, so that slow phases of the machine affect both equally. The ratio
is the median over rounds of the pairwise ratios. Peak memory is each process's high-water mark of
resident memory (VmHWM).

tools/bench_workers.py defines the protocol with a worker.

Writes OUT.json and OUT.md. Only the worker needs torch (--python names an interpreter that has it).
"""
import argparse
import json
import statistics
import sys
from pathlib import Path

from bench_workers import (ROOT, Child, about_line, machine, models_and_batches, serve,
                           warn_if_busy)


# --- the PyTorch side ---------------------------------------------------------------------------

def worker(arguments):
    import torch

    import pytorch_models
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = pytorch_models.build(arguments.model)
    images = torch.randn(arguments.batch, 3, 32, 32)
    labels = torch.randint(0, 10, (arguments.batch,))
    if arguments.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    serve(step, arguments.batch, {"version": torch.__version__, "layout": arguments.layout})


# --- the driver ---------------------------------------------------------------------------------

def pytorch_command(arguments, model, batch, layout):
    return [arguments.python, str(Path(__file__).resolve()), "--worker", "--model", model,
            "--batch", str(batch), "--threads", str(arguments.threads), "--layout", layout]


def faster_layout(arguments, model, batch):
    """Returns the faster memory layout. Each layout is tried in a process of its own, so that neither
    raises the other's memory peak."""
    trial = {}
    for layout in ("contiguous", "channels_last"):
        child = Child(f"PyTorch {layout}", pytorch_command(arguments, model, batch, layout))
        child.run(2)
        trial[layout] = min(child.run(2) for _ in range(3))
        child.quit()
    return min(trial, key=trial.get), {name: batch / seconds for name, seconds in trial.items()}


def measure(arguments, model, batch):
    layout, trial = faster_layout(arguments, model, batch)
    print(f"{model} batch {batch}: PyTorch {layout} (trial: " + ", ".join(
        f"{name} {rate:.0f} images/s" for name, rate in trial.items()) + ")", flush=True)
    ours = Child("sculpt_bench", [str(arguments.bench), "serve", "--model", model, "--batch",
                                  str(batch), "--threads", str(arguments.threads)])
    theirs = Child("PyTorch", pytorch_command(arguments, model, batch, layout))
    children = {"sculpt": ours, "pytorch": theirs}
    steps = {}
    for name, child in children.items():
        child.run(3)  # these steps warm up
        steps[name] = max(1, round(arguments.seconds / child.run(3)))
    rates = {name: [] for name in children}
    for round_index in range(arguments.rounds):
        order = list(children) if round_index % 2 == 0 else list(reversed(children))
        for name in order:
            rates[name].append(batch / children[name].run(steps[name]))
        print(f"  round {round_index + 1}: sculpt {rates['sculpt'][-1]:.0f}, pytorch "
              f"{rates['pytorch'][-1]:.0f} images/s, ratio "
              f"{rates['sculpt'][-1] / rates['pytorch'][-1]:.3f}", flush=True)
    for child in children.values():
        child.quit()
    ratios = [a / b for a, b in zip(rates["sculpt"], rates["pytorch"])]
    return {"model": model, "batch": batch, "threads": arguments.threads, "layout": layout,
            "layout_trial_images_per_second": trial, "steps_per_block": steps,
            "images_per_second": rates, "ratios": ratios, "ratio": statistics.median(ratios),
            "peak_memory_bytes": {name: child.peak for name, child in children.items()},
            "pytorch_memory_before_bytes": theirs.hello["memory_before_bytes"],
            "torch": theirs.hello["version"], "sculpt_hello": ours.hello}


def markdown(report):
    lines = ["# Training step, dense, float32: Sculpt and PyTorch", "", about_line(report), "",
             "Forward, loss, backward and update on one batch in memory, blocks of steps in turn; "
             "images/s as median (lowest-highest), ratio as median of the pairwise ratios; memory "
             "is the process's resident peak (VmHWM).", "",
             "| model | batch | threads | Sculpt images/s | PyTorch images/s | PyTorch layout | "
             "ratio | Sculpt memory | PyTorch memory |",
             "|---|---|---|---|---|---|---|---|---|"]

    def rate(values):
        return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"

    for r in report["results"]:
        peak = {name: f"{value / 2**20:.0f} MiB" for name, value in r["peak_memory_bytes"].items()}
        lines.append(
            f"| {r['model']} | {r['batch']} | {r['threads']} | "
            f"{rate(r['images_per_second']['sculpt'])} | {rate(r['images_per_second']['pytorch'])} "
            f"| {r['layout']} | **{r['ratio']:.2f}** "
            f"({min(r['ratios']):.2f}-{max(r['ratios']):.2f}) | {peak['sculpt']} | "
            f"{peak['pytorch']}, of which {r['pytorch_memory_before_bytes'] / 2**20:.0f} MiB "
            "before the first step |")
    lines += ["", f"PyTorch {report['results'][0]['torch']}. What it holds before the first step "
              "is its libraries, the model and the batch.", ""]
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="resnet20:128,resnet18:64",
                        help="NAME:BATCH,... (default resnet20:128,resnet18:64)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7, help="blocks of each (default 7)")
    parser.add_argument("--seconds", type=float, default=6, help="length of a block (default 6)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "dense_step",
                        help="OUT.json and OUT.md are written")
    parser.add_argument("--bench", type=Path, default=ROOT / "build" / "cpu" / "bin" /
                        "sculpt_bench", help="path of sculpt_bench")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--layout", default="contiguous", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        arguments.models = models_and_batches(arguments.models)
    except ValueError as problem:
        parser.error(str(problem))
    return arguments


def main():
    arguments = parse_arguments()
    if arguments.worker:
        return worker(arguments)
    if not arguments.bench.exists():
        sys.exit(f"error: {arguments.bench} is not there; build it with tools/test or "
                 "cmake --preset cpu && cmake --build --preset cpu")
    report = {"command": "tools/bench_pytorch.py " + " ".join(sys.argv[1:]),
              "machine": machine(), "results": []}
    report["command"] = report["command"].strip()
    warn_if_busy(report["machine"])
    for model, batch in arguments.models:
        report["results"].append(measure(arguments, model, batch))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    text = markdown(report)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
