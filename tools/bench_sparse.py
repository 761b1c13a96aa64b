#!/usr/bin/env python3
"""Times training steps of masked networks, alternating on this machine: Sculpt with kernels that skip
masked weights and with dense kernels, PyTorch with masks, and the package sparseprop.

usage: tools/bench_sparse.py [--models resnet18:64,resnet20:128]
                             [--sparsities 0,0.5,0.8,0.9,0.95,0.98,0.99] [--rounds 5] [--seconds 1]
                             [--threads 2] [--engines sparse,dense,pytorch,sparseprop]
                             [--python PYTHON] [--sparseprop-python PYTHON]
                             [--out docs/results/sparse_step_peers]

Each engine is a process of its own for every model and sparsity. All engines time forward, loss, backward
and update of the same float32 CIFAR model on one batch in memory. The masks are random and keep the same
share of every convolution and linear layer, also of the first and the last layer. A round is a block of
steps of each engine, and each round starts with another engine. Ratios are medians over rounds of the
pairwise ratios.

  sparse      sculpt_bench serve
  dense       sculpt_bench serve --sparse off
  pytorch     PyTorch, channels_last, with masks as most code applies them: gradients are multiplied by
              the mask before the update and weights after it. These are two passes over the weights; a
              mask inside the forward pass, as in torch.nn.utils.prune, costs more
  sparseprop  PyTorch with swap_modules_with_sparse, used as its authors do: layers above 80 % sparsity
              are replaced if that is faster. Not run at 80 % and below, where no layer is replaced

An engine that cannot run here is left out, and one line says why. Peak memory is each process's
high-water mark of resident memory (VmHWM). Writes OUT.json and OUT.md after each sparsity.
"""
import argparse
import contextlib
import io
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

from bench_workers import (ROOT, Child, about_line, machine, models_and_batches, serve,
                           warn_if_busy)

ENGINES = ("sparse", "dense", "pytorch", "sparseprop")
NAMES = {"sparse": "Sculpt, sparse", "dense": "Sculpt, dense", "pytorch": "PyTorch, masked",
         "sparseprop": "sparseprop"}
SPARSEPROP_ABOVE = 0.8


# --- the PyTorch side ---------------------------------------------------------------------------

def mask_model(model, sparsity):
    """Zeroes the same share of random weights in every layer. Returns (parameter, mask) for each layer."""
    import torch

    import pytorch_models
    masked = []
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in pytorch_models.prunable_names(model) if sparsity > 0 else []:
            weight = parameters[name]
            mask = torch.ones(weight.numel())
            mask[torch.randperm(weight.numel())[:round(sparsity * weight.numel())]] = 0
            mask = torch.empty_like(weight).copy_(mask.view(weight.shape))  # same layout
            weight.mul_(mask)
            masked.append((weight, mask))
    return masked


def swap_layers(model, batch):
    """Lets sparseprop replace the layers that it chooses. Returns the model, and how many were replaced."""
    import torch
    from sparseprop.modules import SparseConv2d, SparseLinear
    from sparseprop.utils import swap_modules_with_sparse
    with contextlib.redirect_stdout(io.StringIO()):  # stdout carries the protocol
        model = swap_modules_with_sparse(model, (batch, 3, 32, 32), inplace=True)
    swapped = [m for m in model.modules() if isinstance(m, (SparseConv2d, SparseLinear))]
    dense = [m for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    return model, f"{len(swapped)} of {len(swapped) + len(dense)}"


def worker(arguments):
    import torch

    import pytorch_models
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = pytorch_models.initialise(pytorch_models.build(arguments.model), seed=0).train()
    images = torch.randn(arguments.batch, 3, 32, 32)
    labels = torch.randint(0, 10, (arguments.batch,))
    hello = {"version": torch.__version__}
    if arguments.worker == "pytorch":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    masked = mask_model(model, arguments.sparsity)
    if arguments.worker == "sparseprop":
        model, hello["swapped"] = swap_layers(model, arguments.batch)
        left = {id(p) for p in model.parameters()}
        masked = [(weight, mask) for weight, mask in masked if id(weight) in left]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        with torch.no_grad():
            for weight, mask in masked:
                weight.grad.mul_(mask)
            optimizer.step()
            for weight, mask in masked:
                weight.mul_(mask)

    serve(step, arguments.batch, hello)


# --- the driver ---------------------------------------------------------------------------------

def python_of(engine, arguments):
    return arguments.sparseprop_python if engine == "sparseprop" else arguments.python


def command_of(engine, arguments, model, batch, sparsity):
    shape = ["--model", model, "--batch", str(batch), "--threads", str(arguments.threads),
             "--sparsity", str(sparsity)]
    if engine in ("sparse", "dense"):
        return [str(arguments.bench), "serve", *shape, "--sparse",
                "auto" if engine == "sparse" else "off"]
    return [python_of(engine, arguments), str(Path(__file__).resolve()), "--worker", engine, *shape]


def why_missing(engine, arguments):
    """Returns the reason why an engine cannot run here, or "" if it can."""
    if engine in ("sparse", "dense"):
        return "" if arguments.bench.exists() else "sculpt_bench is not built"
    module = "sparseprop.utils" if engine == "sparseprop" else "torch"
    try:
        done = subprocess.run([python_of(engine, arguments), "-c", f"import torch, {module}"],
                              capture_output=True, text=True, check=False)
    except OSError as problem:
        return f"cannot start its Python: {problem.strerror}"
    lines = done.stderr.strip().splitlines() or [f"importing it ends with {done.returncode}"]
    return "" if done.returncode == 0 else lines[-1]


def measure(arguments, engines, model, batch, sparsity):
    engines = [e for e in engines if e != "sparseprop" or sparsity > SPARSEPROP_ABOVE]
    # sparseprop has no function that sets the number of threads once it runs.
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    children = {e: Child(e, command_of(e, arguments, model, batch, sparsity), environment)
                for e in engines}
    steps = {}
    for engine, child in children.items():
        child.run(1)  # this step warms up
        steps[engine] = max(1, round(arguments.seconds / child.run(1)))
    seconds = {engine: [] for engine in engines}
    order = list(engines)
    for _ in range(arguments.rounds):
        for engine in order:
            seconds[engine].append(children[engine].run(steps[engine]))
        order = order[1:] + order[:1]
    for child in children.values():
        child.quit()
    return {"model": model, "batch": batch, "sparsity": sparsity, "seconds_per_step": seconds,
            "steps_per_block": steps,
            "peak_memory_bytes": {engine: child.peak for engine, child in children.items()},
            "hello": {engine: child.hello for engine, child in children.items()}}


def ratios(result, slower, faster):
    """Returns the ratio of the times in each round; [] if one of the two engines did not run."""
    seconds = result["seconds_per_step"]
    return [a / b for a, b in zip(seconds.get(slower, []), seconds.get(faster, []))]


def cell(values, template="{:.2f}"):
    if not values:
        return "-"
    numbers = statistics.median(values), min(values), max(values)
    middle, least, most = (template.format(number) for number in numbers)
    return f"{middle} ({least}-{most})"


def row(result, engines):
    milliseconds = [cell([1e3 * s for s in result["seconds_per_step"].get(engine, [])], "{:.0f}")
                    for engine in engines]
    against = [f"**{cell(ratios(result, engine, 'sparse'))}**".replace("**-**", "-")
               for engine in engines if engine != "sparse"]
    peaks = [f"{result['peak_memory_bytes'][engine] / 2**20:.0f}"
             if engine in result["peak_memory_bytes"] else "-" for engine in engines]
    dense = [cell(ratios(result, "pytorch", "dense"))] if "pytorch" in engines else []
    swapped = result["hello"].get("sparseprop", {}).get("swapped", "-")
    cells = [result["model"], str(result["batch"]), f"{100 * result['sparsity']:g} %",
             *milliseconds, *against, *dense, *peaks]
    return "| " + " | ".join(cells + ([swapped] if "sparseprop" in engines else [])) + " |"


def header(engines):
    titles = ["model", "batch", "sparsity", *(f"{NAMES[e]}, ms" for e in engines),
              *(f"{NAMES[e]} / sparse" for e in engines if e != "sparse"),
              *(["PyTorch, masked / dense"] if "pytorch" in engines else []),
              *(f"{NAMES[e]}, MiB" for e in engines),
              *(["layers sparseprop replaced"] if "sparseprop" in engines else [])]
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]


def markdown(report):
    engines = report["engines"]
    lines = ["# Training step of masked networks: Sculpt, PyTorch, sparseprop", "",
             about_line(report), "",
             "Forward, loss, backward and update on one batch in memory, blocks of steps in turn: ms "
             "a step and ratios of times as median (lowest-highest) of the rounds; memory is the "
             "process's resident peak. Random masks, as many weights of every layer kept. PyTorch: "
             "channels_last, gradients masked before the update, weights after it. sparseprop: its "
             "own `swap_modules_with_sparse`, which leaves layers of 80 % and below dense.", ""]
    lines += header(engines) + [row(result, engines) for result in report["results"]] + [""]
    versions = {h["version"] for r in report["results"] for e, h in r["hello"].items()
                if "version" in h}
    if versions:
        lines += [f"PyTorch {', '.join(sorted(versions))}.", ""]
    lines += [f"{NAMES[engine]} is left out: {why}." for engine, why in report["missing"].items()]
    return "\n".join(lines).rstrip() + "\n"


def write(report, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    out.with_suffix(".md").write_text(markdown(report))


def command_line(arguments):
    """Returns the command with the options that affect the numbers, without the paths of programs."""
    return shlex.join(["tools/bench_sparse.py", "--models", arguments.models, "--sparsities",
                       arguments.sparsities, "--rounds", str(arguments.rounds), "--seconds",
                       f"{arguments.seconds:g}", "--threads", str(arguments.threads), "--engines",
                       arguments.engines])


def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", default="resnet18:64,resnet20:128",
                        help="NAME:BATCH,... (default resnet18:64,resnet20:128)")
    parser.add_argument("--sparsities", default="0,0.5,0.8,0.9,0.95,0.98,0.99",
                        help="fractions (default 0,0.5,0.8,0.9,0.95,0.98,0.99)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each engine (default 5)")
    parser.add_argument("--seconds", type=float, default=1,
                        help="seconds of a block, which has at least one step (default 1)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of " + ", ".join(ENGINES))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "sparse_step_peers",
                        help="OUT.json and OUT.md are written")
    parser.add_argument("--bench", type=Path, default=ROOT / "build" / "cpu" / "bin" /
                        "sculpt_bench", help="path of sculpt_bench")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--sparseprop-python",
                        help="interpreter that has torch and sparseprop (default: that of --python)")
    parser.add_argument("--worker", choices=ENGINES[2:], help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sparsity", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    arguments.sparseprop_python = arguments.sparseprop_python or arguments.python
    unknown = [e for e in arguments.engines.split(",") if e not in ENGINES]
    if unknown:
        parser.error(f"--engines: {unknown[0]} is none of {', '.join(ENGINES)}")
    try:
        models_and_batches(arguments.models)
        for text in arguments.sparsities.split(","):
            if not 0 <= float(text) < 1:
                raise ValueError(f"--sparsities {text}: expected a fraction, at least 0 and below 1")
    except ValueError as problem:
        parser.error(str(problem))
    return arguments


def main(words):
    arguments = parse_arguments(words)
    if arguments.worker:
        return worker(arguments)
    wanted = arguments.engines.split(",")
    missing = {engine: why for engine in wanted if (why := why_missing(engine, arguments))}
    for engine, why in missing.items():
        print(f"{engine} is left out: {why}", file=sys.stderr)
    engines = [engine for engine in wanted if engine not in missing]
    if "sparse" not in engines:
        sys.exit("error: nothing to compare with; build sculpt_bench with tools/test or "
                 "cmake --preset cpu && cmake --build --preset cpu, and keep it in --engines")
    report = {"command": command_line(arguments), "machine": machine(), "engines": engines,
              "missing": missing, "results": []}
    warn_if_busy(report["machine"])
    print("\n".join(header(engines)), flush=True)
    for model, batch in models_and_batches(arguments.models):
        for sparsity in map(float, arguments.sparsities.split(",")):
            result = measure(arguments, engines, model, batch, sparsity)
            report["results"].append(result)
            print(row(result, engines), flush=True)
            write(report, arguments.out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
