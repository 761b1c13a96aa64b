#!/usr/bin/env python3
"""Times whole runs of methods with Sculpt and with PyTorch, alternating on this machine.

usage: tools/bench_runs.py --data DIR [--methods lrr,sculpt] [--sparsity 0.95] [--model resnet20]
                           [--batch 128] [--images 10000] [--epochs 2] [--threads 2] [--rounds 2]
                           [--steps 100] [--program FILE] [--python PYTHON] [--out build/bench_runs]

Sculpt runs each method whole: its file in configs/cifar10/ with the settings above, EPOCHS epochs a cycle.
PyTorch trains the same network with masks. Its whole run is not executed but summed: for each level of
sparsity of Sculpt's run, STEPS steps are timed on masks of that density, and their mean time is multiplied
by the number of steps that the level has. Both numbers are those of training steps alone, without
evaluation, checkpoints and prunes; the table also has the wall time of Sculpt's run. A round is a run of
Sculpt and STEPS / ROUNDS steps of PyTorch for each level; rounds alternate which of the two is first.

PyTorch runs in the form that is fastest here, as a few steps of each form at half density tell: memory
layout, SGD that is fused or not, the model compiled or not. Masks are applied to the weights after each
update, in one call for all layers, which is enough to keep them zero.

Writes OUT.json and OUT.md. Sculpt's runs lie under OUT/. Only the worker needs torch (--python).
"""
import argparse
import itertools
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_workers import ROOT, Child, about_line, machine, serve, warn_if_busy

TRIAL_STEPS = 5


# --- the PyTorch side ---------------------------------------------------------------------------

def worker(arguments):
    import torch

    import bench_sparse
    import pytorch_models
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    layout, update, compiled = arguments.worker.split(",")
    model = pytorch_models.initialise(pytorch_models.build(arguments.model), seed=0).train()
    images = torch.randn(arguments.batch, 3, 32, 32)
    labels = torch.randint(0, 10, (arguments.batch,))
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    masked = bench_sparse.mask_model(model, 1 - arguments.density)
    weights, masks = [weight for weight, _ in masked], [mask for _, mask in masked]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4,
                                fused=update == "fused")
    network = torch.compile(model) if compiled == "compiled" else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        if weights:
            with torch.no_grad():
                torch._foreach_mul_(weights, masks)

    serve(step, arguments.batch, {"version": torch.__version__})


FORMS = [",".join(form) for form in itertools.product(
    ("channels_last", "contiguous"), ("fused", "unfused"), ("compiled", "eager"))]


def start_worker(arguments, form, density):
    child = Child("pytorch", [arguments.python, str(Path(__file__).resolve()), "--worker", form,
                              "--model", arguments.model, "--batch", str(arguments.batch),
                              "--threads", str(arguments.threads), "--density", repr(density)])
    child.run(2)  # warms up, and compiles
    return child


def fastest_form(arguments):
    """Returns the fastest form of PyTorch, its version, and the seconds per step of each form."""
    seconds, version = {}, ""
    for form in FORMS:
        try:
            child = start_worker(arguments, form, 0.5)
            version = child.hello["version"]
            seconds[form] = min(child.run(TRIAL_STEPS) for _ in range(2))
            child.quit()
        except RuntimeError as problem:
            print(f"PyTorch as {form} does not run here: {problem}", file=sys.stderr)
    if not seconds:
        raise RuntimeError("PyTorch does not run; --python names an interpreter that has torch")
    return min(seconds, key=seconds.get), version, seconds


# --- the driver ---------------------------------------------------------------------------------

def config_of(method):
    return ROOT / "configs" / "cifar10" / f"{method}.toml"


def run_sculpt(arguments, method, folder):
    """Trains a run, and returns its levels as [density, steps, seconds of the steps] and its summary."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = {"model.name": arguments.model, "data.root": arguments.data,
                "data.train_limit": arguments.images, "train.epochs": arguments.epochs,
                "train.batch": arguments.batch, "train.eval_every": 1000, "optim.schedule": "triangular",
                "prune.sparsity": arguments.sparsity, "execution.dense_timing": "false"}
    words = [str(arguments.program), str(config_of(method)), "--out", str(folder), "--threads",
             str(arguments.threads)]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    summary = json.loads((folder / "summary.json").read_text())
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = summary["steps"] // len(epochs)
    levels = []
    for density, group in itertools.groupby(epochs, key=lambda epoch: epoch["density"]):
        group = list(group)
        levels.append([density, steps * len(group),
                       sum(arguments.images / epoch["images_per_second"] for epoch in group)])
    return levels, summary


def time_pytorch(arguments, form, levels):
    """Returns the seconds per step at each level."""
    seconds = []
    for density, _, _ in levels:
        child = start_worker(arguments, form, density)
        seconds.append(child.run(max(1, arguments.steps // arguments.rounds)))
        child.quit()
    return seconds


def measure(arguments, method, form):
    result = {"method": method, "form": form, "sculpt": [], "pytorch": [], "levels": [], "wall": []}
    for turn in range(arguments.rounds):
        def sculpt(turn=turn):
            started = time.perf_counter()
            levels, summary = run_sculpt(arguments, method, arguments.out / f"{method}-{turn}")
            result["wall"].append(time.perf_counter() - started)
            result["levels"] = levels
            result["sculpt"].append(sum(seconds for _, _, seconds in levels))
            result["sparsity"], result["accuracy"] = summary["sparsity"], summary["test_accuracy"]

        def pytorch():
            per_step = time_pytorch(arguments, form, result["levels"])
            result["pytorch"].append(
                sum(s * steps for s, (_, steps, _) in zip(per_step, result["levels"])))

        # PyTorch needs the levels, so Sculpt is first in the first round.
        for part in (sculpt, pytorch) if turn % 2 == 0 else (pytorch, sculpt):
            part()
    return result


def cell(values, template="{:.1f}"):
    least, most = min(values), max(values)
    return f"{template.format(statistics.median(values))} ({template.format(least)}-{template.format(most)})"


def table(results):
    rows = ["| method | levels | steps | sparsity | accuracy | Sculpt, wall s | Sculpt, steps alone, s | "
            "PyTorch with masks, steps alone, summed, s | PyTorch / Sculpt |", "|" + "---|" * 9]
    for r in results:
        ratios = [p / s for p, s in zip(r["pytorch"], r["sculpt"])]
        steps = sum(level[1] for level in r["levels"])
        rows.append(f"| {r['method']} | {len(r['levels'])} | {steps} | {100 * r['sparsity']:.2f} % | "
                    f"{100 * r['accuracy']:.2f} % | {cell(r['wall'])} | {cell(r['sculpt'])} | "
                    f"{cell(r['pytorch'])} | **{cell(ratios, '{:.2f}')}** |")
    return rows


def command_line(arguments):
    """Returns the command with the options that affect the numbers, without the paths of programs."""
    return shlex.join(["tools/bench_runs.py", "--data", "DIR", "--methods", arguments.methods, "--sparsity",
                       f"{arguments.sparsity:g}", "--model", arguments.model, "--batch",
                       str(arguments.batch), "--images", str(arguments.images), "--epochs",
                       str(arguments.epochs), "--threads", str(arguments.threads), "--rounds",
                       str(arguments.rounds), "--steps", str(arguments.steps)])


def write(arguments, report):
    trial = sorted(report["trial"].items(), key=lambda form: form[1])
    forms = ", ".join(f"{form} {1e3 * seconds:.0f} ms" for form, seconds in trial)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text("\n".join([
        "# Whole runs: Sculpt and PyTorch", "", about_line(report), "",
        f"{arguments.model}, {arguments.images} images, {arguments.epochs} epochs a cycle, batch "
        f"{arguments.batch}, {arguments.threads} threads. Sculpt's runs are whole. PyTorch's seconds are a "
        f"sum over levels of the steps of a level times their mean time, which {arguments.steps} steps of "
        "each level tell. Medians of the rounds (lowest-highest).", "", *table(report["results"]), "",
        f"PyTorch {report['version']}, one step at half density: {forms}. The table has the fastest.", ""]))


def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--data", help="folder of the CIFAR-10 binary files")
    parser.add_argument("--methods", default="lrr,sculpt", help="configs of configs/cifar10")
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=10000, help="training images")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a cycle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="steps of PyTorch for each level")
    parser.add_argument("--program", type=Path, default=ROOT / "build/cpu/bin/sculpt_run")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench_runs",
                        help="OUT.json and OUT.md are written; the runs lie in the folder OUT")
    parser.add_argument("--worker", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--density", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.worker:
        return arguments
    if not arguments.data:
        parser.error("--data names the folder of CIFAR-10; tools/get_data makes one")
    if not 1 <= arguments.rounds <= arguments.steps:
        parser.error("--rounds must be at least 1 and at most --steps")
    if not arguments.program.exists():
        parser.error(f"there is no {arguments.program}; build it, or name it with --program")
    for method in arguments.methods.split(","):
        if not config_of(method).exists():
            parser.error(f"--methods: there is no {config_of(method)}")
    return arguments


def main(words):
    arguments = parse_arguments(words)
    if arguments.worker:
        return worker(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {"command": command_line(arguments), "machine": machine(), "results": []}
    warn_if_busy(report["machine"])
    form, report["version"], report["trial"] = fastest_form(arguments)
    for method in arguments.methods.split(","):
        report["results"].append(measure(arguments, method, form))
        write(arguments, report)
        print(table(report["results"])[-1], flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
