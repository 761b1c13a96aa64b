#!/usr/bin/env python3
"""Times training steps of two builds of Sculpt on this machine, alternating in one run: for example of the
last release and of a change, to see whether the change made anything slower.

usage: tools/bench_builds.py BEFORE AFTER [--models resnet20:128,resnet18:64] [--sparsities 0,0.9,0.99]
                             [--masks random] [--before-dense] [--threads 2] [--rounds 9] [--seconds 1.5] [--out builds]

BEFORE and AFTER are two programs `sculpt_bench`. Both train networks with the same masks: random ones, or those of a
global magnitude ranking (--masks magnitude). The option --sparse auto chooses their kernels. With --before-dense,
BEFORE trains the network without masks: the ratio then says how much faster a masked step is than the dense step of
an earlier build, so that a faster dense step does not hide a gain. A round is a block of steps of each; the order of the two changes from
round to round, so that slow phases of the machine affect both equally. The ratio is the median over rounds
of the pairwise ratios: above 1, AFTER is faster.

Writes OUT.json and OUT.md.
"""
import argparse
import json
import statistics
import sys
from pathlib import Path

from bench_workers import Child, about_line, machine, models_and_batches, warn_if_busy


def command(program, arguments, model, batch, sparsity):
    masks = [] if sparsity == 0 else ["--masks", arguments.masks, "--sparsity", str(sparsity)]
    return [str(program), "serve", "--model", model, "--batch", str(batch), "--threads",
            str(arguments.threads), *masks]


def measure(arguments, model, batch, sparsity):
    before_sparsity = 0 if arguments.before_dense else sparsity
    children = {"before": Child("before", command(arguments.before, arguments, model, batch, before_sparsity)),
                "after": Child("after", command(arguments.after, arguments, model, batch, sparsity))}
    for child in children.values():
        child.run(3)  # these steps warm up
    steps = max(1, round(arguments.seconds / children["before"].run(3)))
    seconds = {name: [] for name in children}
    for round_index in range(arguments.rounds):
        order = list(children) if round_index % 2 == 0 else list(reversed(children))
        for name in order:
            seconds[name].append(children[name].run(steps))
    for child in children.values():
        child.quit()
    ratios = [before / after for before, after in zip(seconds["before"], seconds["after"])]
    return {"model": model, "batch": batch, "sparsity": sparsity, "threads": arguments.threads,
            "steps_per_block": steps, "seconds_per_step": seconds, "ratios": ratios,
            "ratio": statistics.median(ratios)}


def row(result):
    def milliseconds(name):
        values = [1e3 * value for value in result["seconds_per_step"][name]]
        return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"

    return (f"| {result['model']} | {result['batch']} | {100 * result['sparsity']:g} % | "
            f"{milliseconds('before')} | {milliseconds('after')} | **{result['ratio']:.3f}** "
            f"({min(result['ratios']):.3f}-{max(result['ratios']):.3f}) |")


def markdown(report):
    what = ("The build before trains without masks. " if report["before_dense"] else "") + \
        f"Masks: {report['masks']}. "
    return "\n".join(
        ["# Training step: two builds", "", about_line(report), "",
         "Forward, loss, backward and update on one batch in memory, blocks of steps in turn; ms per "
         "step as median (lowest-highest), ratio as median of the pairwise ratios: above 1, the build "
         "after is faster. " + what, "",
         "| model | batch | masked | before, ms | after, ms | ratio |", "|---|---|---|---|---|---|",
         *map(row, report["results"]), ""])


def sparsities(text):
    values = [float(part) for part in text.split(",")]
    if not all(0 <= value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"{text}: give fractions from 0 to below 1")
    return values


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path, help="sculpt_bench of the build before")
    parser.add_argument("after", type=Path, help="sculpt_bench of the build after")
    parser.add_argument("--models", default="resnet20:128,resnet18:64",
                        help="NAME:BATCH,... (default resnet20:128,resnet18:64)")
    parser.add_argument("--sparsities", type=sparsities, default=[0, 0.9, 0.99],
                        help="masked fractions (default 0,0.9,0.99)")
    parser.add_argument("--masks", choices=["random", "magnitude"], default="random",
                        help="which weights are masked (default random)")
    parser.add_argument("--before-dense", action="store_true",
                        help="BEFORE trains without masks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="blocks of each (default 9)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a block (default 1.5)")
    parser.add_argument("--out", type=Path, default=Path("builds"),
                        help="OUT.json and OUT.md are written")
    arguments = parser.parse_args(arguments)
    try:
        arguments.models = models_and_batches(arguments.models)
    except ValueError as problem:
        parser.error(str(problem))
    for program in (arguments.before, arguments.after):
        if not program.exists():
            parser.error(f"{program} is not there; build it with cmake --build --preset cpu")
    return arguments


def main(command_line):
    arguments = parse_arguments(command_line)
    report = {"command": "tools/bench_builds.py " + " ".join(command_line), "machine": machine(),
              "masks": arguments.masks, "before_dense": arguments.before_dense, "results": []}
    warn_if_busy(report["machine"])
    for model, batch in arguments.models:
        for sparsity in arguments.sparsities:
            report["results"].append(measure(arguments, model, batch, sparsity))
            print(row(report["results"][-1]), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(report))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
