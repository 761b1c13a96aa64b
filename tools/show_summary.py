#!/usr/bin/env python3
"""Prints the result of run folders as a small table.

usage: tools/show_summary.py RUN_FOLDER...
"""
import os
import sys
from pathlib import Path

import run_folder


def number(value, template):
    return "-" if value is None else template.format(value)


def percent(value):
    return "-" if value is None else f"{100 * value:.2f} %"


def rows(summary, measured_on="test"):
    """Returns the values that a person wants to know first, as (name, text)."""
    best, best_of = run_folder.best_accuracy(summary)
    flops_ratio = summary.get("train_flops_vs_dense")
    gpu_bytes = summary.get("peak_device_memory_bytes")  # 0 on the CPU, absent in old summaries
    on_gpu = f", {gpu_bytes:,} bytes on the GPU" if gpu_bytes else ""
    ranks = summary.get("ranks", 1)  # absent in old summaries
    on_ranks = f", on {ranks} ranks" if ranks > 1 else ""
    seconds, dense = summary.get("seconds"), summary.get("seconds_dense")
    on_dense = []
    if seconds and dense:
        on_dense = [("with dense kernels", f"{dense:.1f} s, {dense / seconds:.2f} x as long (as "
                                           "timed on a few steps)")]
    return [
        ("method", f"{summary.get('method', '?')} (seed {summary.get('seed', '?')})"),
        (f"{measured_on} accuracy", f"{percent(summary.get('test_accuracy'))} in the last epoch"),
        ("", f"{percent(best)} in the best epoch {best_of}"),
        ("sparsity", f"{percent(summary.get('sparsity'))} ({summary.get('kept', 0):,} of "
                     f"{summary.get('prunable', 0):,} prunable weights kept)"),
        ("cost against dense",
         number(flops_ratio, "{:.3f} x the training FLOPs of one dense cycle")),
        ("epochs", str(summary.get("epochs", "-"))),
        ("training FLOPs", number(summary.get("train_flops"), "{:.3g}")),
        ("time", number(seconds, "{:.1f} s") + ", " +
         number(summary.get("images_per_second"), "{:,.0f} images/s") + on_ranks),
        *on_dense,
        ("peak memory", number(summary.get("peak_memory_bytes"), "{:,}") + " bytes" + on_gpu),
    ]


def main(folders):
    if not folders or folders[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if folders else 2
    for index, folder in enumerate(folders):
        if len(folders) > 1:
            print(f"{os.linesep if index > 0 else ''}{folder}")
        try:
            summary = run_folder.read_summary(folder)
        except run_folder.ConfigError as error:
            print(f"error: {error}; `sculpt_run --resume {folder}` says what to do", file=sys.stderr)
            return 1
        if summary is None:
            print(f"error: {Path(folder) / 'summary.json'} is not there: the run has not finished",
                  file=sys.stderr)
            return 1
        config = Path(folder) / "config.toml"
        try:
            measured_on = run_folder.measured_on(run_folder.read_config(config))
        except FileNotFoundError:
            measured_on = "test"
        except run_folder.ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        for name, text in rows(summary, measured_on):
            print(f"{name:<20}{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
