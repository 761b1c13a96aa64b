#!/usr/bin/env python3
"""Times how long sculpt_study needs to read many finished runs, without and with its index.

usage: tools/bench_studies.py [--runs 1000] [--bin build/cpu/bin]

Trains one tiny run, copies its records (without checkpoints) under other seeds, and prints the seconds of
`sculpt_study ls` with an empty index, with a full one, and after one run in a hundred has changed.
"""
import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ("environment.json", "metrics.jsonl", "layers.jsonl", "prunes.jsonl", "summary.json")
TINY = """
method = "sculpt"
[model]
name = "resnet20"
width = 0.25
[data]
synthetic_train = 96
synthetic_test = 40
[train]
epochs = 2
batch = 32
[cycles]
count = 10
"""


def make_runs(programs, folder, count):
    """Makes run folders that differ in the seed and in the sparsity."""
    config = folder / "tiny.toml"
    config.write_text(TINY)
    model = folder / "model"
    subprocess.run([programs / "sculpt_run", config, "--out", model], check=True, stdout=subprocess.DEVNULL)
    text = (model / "config.toml").read_text()
    records = {name: (model / name).read_bytes() for name in RECORDS if (model / name).exists()}
    runs = folder / "runs"
    for number in range(count):
        run = runs / f"{number:05}"
        run.mkdir(parents=True)
        other = re.sub(r"(?m)^seed = .*", f"seed = {number % 10}", text)
        sparsity = 0.5 + 0.4 * (number // 10) / max(count // 10, 1)
        (run / "config.toml").write_text(re.sub(r"(?m)^sparsity = .*", f"sparsity = {sparsity:.6f}", other))
        for name, content in records.items():
            (run / name).write_bytes(content)
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "final.safetensors").touch()  # a finished run has one
    return runs


def seconds_of_ls(programs, runs):
    begin = time.monotonic()
    subprocess.run([programs / "sculpt_study", "ls", runs], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description="Times how long sculpt_study needs to read many finished runs.")
    parser.add_argument("--runs", type=int, default=1000, help="number of runs")
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "cpu" / "bin", help="folder of the programs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sculpt-bench-") as name:
        runs = make_runs(arguments.bin.resolve(), Path(name), arguments.runs)
        print(f"{arguments.runs} finished runs")
        print(f"  without an index   {seconds_of_ls(arguments.bin, runs):6.3f} s")
        print(f"  with the index     {seconds_of_ls(arguments.bin, runs):6.3f} s")
        for summary in sorted(runs.glob("*/summary.json"))[::100]:
            os.utime(summary)
        print(f"  one in 100 changed {seconds_of_ls(arguments.bin, runs):6.3f} s")


if __name__ == "__main__":
    main()
