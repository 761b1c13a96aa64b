#!/usr/bin/env python3
"""Times whole runs in which a rule changes masks, in turn with dense runs of the same network.

usage: tools/bench_masks.py [--rules set,rigl,itop,gmp,granet,acdc] [--sparsities 0.9,0.95] [--model resnet20]
                            [--batch 128] [--steps 400] [--interval 100] [--rounds 3] [--threads 2]
                            [--program FILE] [--out build/mask_rules]

A round trains each rule and a dense network for the same number of steps on the built-in data set; every
round starts with another run. The time of a run is that of the whole run with changes of masks, records and one
evaluation of a batch. The ratio is the time of the dense run of the same round
divided by the time of the rule's run: above 1, the rule is faster. gmp, granet and acdc are dense for a part of the run, so
the table also has the mean density. Writes OUT.json and OUT.md after each round.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_workers import ROOT, about_line, machine, warn_if_busy

STEPS_PER_EPOCH = 50
KEEP_DENSITY = ("set", "rigl", "itop")


def settings(arguments, rule, sparsity):
    """Returns the settings of a run; `rule` is "dense" for a run without masks, "static" for masks that stay."""
    common = {"model.name": arguments.model, "data.name": "synthetic", "train.batch": arguments.batch,
              "data.train_limit": STEPS_PER_EPOCH * arguments.batch, "data.test_limit": arguments.batch,
              "train.epochs": arguments.steps // STEPS_PER_EPOCH, "train.eval_every": 1000,
              "train.checkpoint_every": 0, "execution.dense_timing": "false", "optim.schedule": "triangular", "cycles.count": 1}
    if rule == "dense":
        return {**common, "method": "dense"}
    own = {"prune.sparsity": sparsity}
    if rule in KEEP_DENSITY or rule == "static":
        own.update({"method": "pai", "prune.criterion": "random", "prune.allocation": "erk"})
        del common["cycles.count"]
    else:
        own["method"] = "dense"
    if rule != "static":
        own["masks.rule"] = rule
        if rule != "acdc":
            own["masks.interval"] = arguments.interval
    return {**common, **own}


def seconds_of_run(arguments, folder, run):
    """Trains a run. Returns the seconds of its training steps, and its summary."""
    words = [str(arguments.program), str(folder.parent / "empty.toml"), "--out", str(folder), "--threads",
             str(arguments.threads)]
    for key, value in run.items():
        words += ["--set", f"{key}={value}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    summary = json.loads((folder / "summary.json").read_text())
    return summary["seconds"], summary


def measure_round(arguments, number, times, summaries):
    rows = [("dense", 0.0)] + [(rule, sparsity) for sparsity in arguments.sparsities
                               for rule in ["static", *arguments.rules]]
    shift = number % len(rows)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "empty.toml").write_text("")
        for index, (rule, sparsity) in enumerate(rows[shift:] + rows[:shift]):
            run = settings(arguments, rule, sparsity)
            seconds, summary = seconds_of_run(arguments, Path(place) / str(index), run)
            times.setdefault((rule, sparsity), []).append(seconds)
            summaries[rule, sparsity] = summary
            print(f"round {number + 1}: {rule} {sparsity:g}: {seconds:.2f} s", flush=True)


def records(times, summaries):
    dense = times["dense", 0.0]
    rows = []
    for (rule, sparsity), seconds in times.items():
        ratios = [base / own for base, own in zip(dense, seconds)]
        rows.append({"rule": rule, "sparsity": sparsity, "seconds": seconds, "ratios": ratios,
                     "mean_density": summaries[rule, sparsity].get("density_mean"),
                     "final_density": 1 - summaries[rule, sparsity]["sparsity"]})
    return sorted(rows, key=lambda row: row["sparsity"])


def write(arguments, about, rows, rounds):
    report = {"command": shlex.join(["tools/bench_masks.py", *sys.argv[1:]]), "machine": about, "runs": rows}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    lines = ["# Training with rules that change masks, against dense training", "", about_line(report), "",
             f"{arguments.threads} threads; {arguments.model}, batch {arguments.batch}, {arguments.steps} steps, a change "
             f"every {arguments.interval} steps (acdc: its phases), {rounds} rounds. The ratio is the time of the dense run divided by that of the run: median, and smallest to "
             "largest.", "",
             "| sparsity | rule | mean density | ratio | range | ms per step |", "|---|---|---|---|---|---|"]
    for row in rows:
        mean = row["mean_density"]
        lines.append(f"| {100 * row['sparsity']:g} % | {row['rule']} | {'-' if mean is None else f'{mean:.3f}'} | "
                     f"{statistics.median(row['ratios']):.2f} | {min(row['ratios']):.2f} to {max(row['ratios']):.2f} | "
                     f"{1000 * statistics.median(row['seconds']) / arguments.steps:.1f} |")
    arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rules", default="set,rigl,itop,gmp,granet,acdc")
    parser.add_argument("--sparsities", default="0.9,0.95")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--interval", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "cpu" / "bin" / "sculpt_run")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mask_rules",
                        help="without the suffix")
    arguments = parser.parse_args()
    arguments.rules = arguments.rules.split(",")
    arguments.sparsities = [float(text) for text in arguments.sparsities.split(",")]
    if arguments.steps < STEPS_PER_EPOCH or arguments.steps % STEPS_PER_EPOCH != 0:
        parser.error(f"--steps must be a multiple of {STEPS_PER_EPOCH}")
    if not arguments.program.exists():
        parser.error(f"{arguments.program} is not there; tools/quickstart or tools/test builds it")
    return arguments


def main():
    arguments = parse_arguments()
    about = machine()
    warn_if_busy(about)
    times, summaries = {}, {}
    for number in range(arguments.rounds):
        measure_round(arguments, number, times, summaries)
        write(arguments, about, records(times, summaries), number + 1)
    print(arguments.out.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
