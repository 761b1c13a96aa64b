#!/usr/bin/env python3
"""Times sculpt_report on many finished runs, and makes such runs without training.

usage: tools/bench_report.py --from RUN_FOLDER [--runs 1000] [--epochs 0] [--rounds 3] [--folder DIR]
                             [--program build/cpu/bin/sculpt_report]

Copies the records of one finished run (config, environment, metrics, layers, prunes, summary; not its
checkpoints) and changes method, sparsity and seed, so that the copies look like a study: methods x
sparsities x seeds. Accuracies, losses, costs and times are shifted by method, sparsity and a seeded
random number. With --epochs, each copy has that many lines in metrics.jsonl. Then writes the page of
all runs and prints the seconds of each round, from the start of the program to its end. With --folder the
copies and the page stay there, to be looked at; otherwise they are removed.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = {"pai": 0.0, "cyclic": 0.012, "lrr": 0.022, "sculpt": 0.027}
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
FILES = ("environment.json", "layers.jsonl", "prunes.jsonl", "kernel_choices.json")


def lines_of(source, epochs):
    lines = [json.loads(line) for line in (source / "metrics.jsonl").read_text().splitlines()]
    if epochs:
        last = len(lines) - 1
        lines = [dict(lines[round(i * last / max(epochs - 1, 1))], epoch=i + 1, cycle_epoch=i + 1)
                 for i in range(epochs)]
    return lines


def make_run(source, folder, number, lines):
    method = list(METHODS)[number % len(METHODS)]
    sparsity = SPARSITIES[number // len(METHODS) % len(SPARSITIES)]
    seed = number // (len(METHODS) * len(SPARSITIES)) + 1
    chance = random.Random(number)
    harder = 0.25 * (sparsity - 0.5) ** 3
    shift = METHODS[method] * (1 + 8 * harder) - harder + chance.gauss(0, 0.003)
    run = folder / f"{number + 1:04}-{method}-sparsity{sparsity}-s{seed}"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "final.safetensors").write_bytes(b"")  # says that the run has finished
    config = (source / "config.toml").read_text()
    for key, value in (("method", f'"{method}"'), ("seed", seed), ("sparsity", sparsity)):
        config = re.sub(rf"^{key} = .*$", f"{key} = {value}", config, count=1, flags=re.MULTILINE)
    (run / "config.toml").write_text(config)
    for name in FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, run / name)
    summary = json.loads((source / "summary.json").read_text())
    cost = {"pai": 1, "cyclic": 3, "lrr": 4, "sculpt": 3.3}[method] * (1.2 - sparsity)
    summary.update(method=method, seed=seed, sparsity=sparsity,
                   kept=round((1 - sparsity) * summary["prunable"]),
                   test_accuracy=summary["test_accuracy"] + shift,
                   train_loss=summary["train_loss"] - shift, train_flops_vs_dense=cost,
                   seconds=summary["seconds"] * cost * chance.uniform(0.95, 1.05))
    (run / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    with (run / "metrics.jsonl").open("w") as file:
        for line in lines:
            part = line["epoch"] / len(lines)
            changed = dict(line, density=1 - sparsity, train_loss=line["train_loss"] - shift * part * 3)
            if line["test_accuracy"] is not None:
                changed["test_accuracy"] = line["test_accuracy"] + shift * part + chance.gauss(0, 0.003)
            file.write(json.dumps(changed) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="RUN_FOLDER")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=0, help="lines of metrics.jsonl; 0: those of the run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--program", type=Path,
                        default=Path(__file__).resolve().parents[1] / "build/cpu/bin/sculpt_report")
    arguments = parser.parse_args()
    if not (arguments.source / "summary.json").exists():
        sys.exit(f"error: {arguments.source} is not the folder of a finished run")
    if not arguments.program.exists():
        sys.exit(f"error: {arguments.program} is not built; give --program")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="sculpt-bench-report-"))
    try:
        lines = lines_of(arguments.source, arguments.epochs)
        for number in range(arguments.runs):
            make_run(arguments.source, folder / "runs", number, lines)
        print(f"{arguments.runs} runs of {len(lines)} epochs, {os.cpu_count()} processors")
        for number in range(arguments.rounds):
            start = time.perf_counter()
            subprocess.run([arguments.program, folder / "runs", "--out", folder / "report.html"], check=True,
                           stdout=subprocess.DEVNULL)
            print(f"round {number + 1}: {time.perf_counter() - start:.2f} s")
        print(f"page: {(folder / 'report.html').stat().st_size} bytes")
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
