#!/usr/bin/env python3
"""Times training steps on several ranks over slow links: what an exchange of gradients costs at several
sparsities. Each rank is a host in a network namespace of this machine, and its link is throttled in both
directions.

usage: tools/bench_ranks.py [--models resnet18:128,resnet50:128] [--ranks 2,4] [--sparsities 0,0.9,0.95,0.99]
                            [--rates none,1gbit,100mbit] [--rounds 3] [--steps 2] [--blocks 2] [--threads 1]
                            [--set KEY=VALUE]... [--against KEY=VALUE]... [--mca NAME=VALUE]...
                            [--out build/bench_ranks]

Every measurement is a run of sculpt_run under Open MPI's mpirun: a random mask with the same share of every layer,
one epoch of --steps steps that warms up, and --blocks epochs that count. A round has one run at each rate, and
each round starts with another rate. Batches (MODEL:BATCH) are those of all ranks together, as in train.batch; with
at least 32 images a rank, batch norm sums nothing over the ranks (dist.sync_batch_norm = auto).

Efficiency is step time without a throttle / step time with it, the median over rounds of the pairwise ratios. The
bytes are those that have left the first host in a step, headers included, the median of all runs of a row (a short
step may end before its counter is read). "Packed" is the share of weights in layers whose gradients are stored as
they travel, because all three passes run on kernels that skip masked weights; those of other layers are gathered.

--set changes the config of all runs. --against repeats all runs with further settings, in the same rounds:
dist.exchange=whole sends the gradients of masked weights, too (dense networks, which have none, are not repeated for
it), and execution.sparse=off also computes them. --mca passes a parameter to Open MPI, for example
coll_libnbc_iallreduce_algorithm=3.

Where network namespaces are not allowed, or MPI is missing, it says so and exits with 77. Writes OUT.json and OUT.md
after each row.
"""
import argparse
import json
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_sparse import cell
from bench_workers import ROOT, about_line, machine, models_and_batches, warn_if_busy
from namespace_hosts import Hosts, bytes_sent_beside, mpirun, why_no_namespaces

SKIPPED = 77
UNTHROTTLED = "none"
RUN_SECONDS = 1800  # limit of one run
POLL_SECONDS = 0.02


# --- one run ------------------------------------------------------------------------------------

def config(model, batch, sparsity, arguments):
    prune = [] if sparsity == 0 else [f"prune random uniform {1 - sparsity:.6g}"]
    plan = json.dumps([*prune, f"train {1 + arguments.blocks}"])
    return f"""method = "custom"
plan = {plan}

[model]
name = "{model}"
width = {arguments.width!r}

[data]
synthetic_train = {batch * arguments.steps}
synthetic_test = 10

[train]
batch = {batch}
eval_every = 1000000
checkpoint_every = 0

[optim]
lr = 0.0001

[execution]
device = "cpu"
threads = {arguments.threads}
dense_timing = false
"""


def lines_of(path):
    """Returns the complete lines of a file that another process is writing."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def packed_share(layers):
    """Returns the share of weights in layers whose three passes skip masked weights."""
    packed = sum(layer["count"] for layer in layers if set(layer["kernels"].values()) == {"sparse"})
    return packed / sum(layer["count"] for layer in layers) if layers else 0.0


def read_run(out, batch, bytes_at_epochs, arguments):
    """Returns seconds and bytes per step of the epochs that count. `bytes_at_epochs` are the first host's counters
    when the epoch that warms up was recorded, and at the end."""
    epochs = lines_of(out / "metrics.jsonl")
    if len(epochs) != 1 + arguments.blocks:
        raise RuntimeError(f"the run has recorded {len(epochs)} epochs, not {1 + arguments.blocks}")
    if any(epoch.get("diverged") for epoch in epochs):
        raise RuntimeError("the training diverged")
    first, last = bytes_at_epochs
    return {"seconds": statistics.median(batch / epoch["images_per_second"] for epoch in epochs[1:]),
            "bytes": (last - first) / (arguments.blocks * arguments.steps),
            "packed": packed_share(lines_of(out / "layers.jsonl"))}


def run_once(hosts, folder, batch, settings, arguments):
    """Runs folder/run.toml with one rank on each host."""
    out, log = folder / "run", folder / "log"
    options = ["--allow-run-as-root", "--mca", "mpi_yield_when_idle", 1]
    for parameter in arguments.mca:
        options += ["--mca", *parameter.split("=", 1)]
    words = [arguments.program, folder / "run.toml", "--out", out, "--ranks", len(hosts.names), "--restart"]
    for setting in settings:
        words += ["--set", setting]
    line = mpirun(hosts, *words, options=options)
    metrics, first = out / "metrics.jsonl", None
    metrics.unlink(missing_ok=True)  # of the run before
    with log.open("w") as text:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=text, stderr=text, start_new_session=True)
        try:
            end = time.monotonic() + RUN_SECONDS
            while process.poll() is None and time.monotonic() < end:
                if first is None and lines_of(metrics):
                    first = bytes_sent_beside(process.pid)  # mpirun's, which runs on the first host
                time.sleep(POLL_SECONDS)
            last = hosts.bytes_sent(0)
            if process.poll() is None:
                raise RuntimeError(f"{shlex.join(line)}\nhas not ended after {RUN_SECONDS} s")
        finally:
            if process.poll() is None:  # ranks and daemons end with their namespaces
                process.kill()
                process.wait()
    if process.returncode != 0 or first is None:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{shlex.join(line)}\nended with exit code {process.returncode}:\n{tail}")
    return read_run(out, batch, (first, last), arguments)


# --- the measurement ----------------------------------------------------------------------------

def orders(rates, rounds):
    """Returns the rates of each round, which starts with another rate each time."""
    return [rates[i % len(rates):] + rates[:i % len(rates)] for i in range(rounds)]


def differs(settings, sparsity):
    """Returns whether runs with the settings differ from runs without them. A dense network has no masked weights."""
    return any(sparsity > 0 or not setting.startswith("dist.exchange=") for setting in settings)


def measure(hosts, model, batch, sparsity, arguments, run=run_once):
    """Returns one result for each variant of the settings."""
    variants = [[]] + ([arguments.against] if differs(arguments.against, sparsity) else [])
    runs = [{rate: [] for rate in arguments.rates} for _ in variants]
    with tempfile.TemporaryDirectory(prefix="sculpt-bench-ranks-") as folder:
        folder = Path(folder)
        (folder / "run.toml").write_text(config(model, batch, sparsity, arguments))
        for rates in orders(arguments.rates, arguments.rounds):
            for rate in rates:
                hosts.set_rate(None if rate == UNTHROTTLED else rate)
                for found, settings in zip(runs, variants):
                    found[rate].append(run(hosts, folder, batch, [*arguments.set, *settings], arguments))
    return [{"model": model, "batch": batch, "ranks": len(hosts.names), "sparsity": sparsity, "settings": settings,
             "seconds": {rate: [one["seconds"] for one in ones] for rate, ones in found.items()},
             "bytes": {rate: [one["bytes"] for one in ones] for rate, ones in found.items()},
             "packed": found[arguments.rates[0]][0]["packed"]}
            for found, settings in zip(runs, variants)]


def efficiencies(result, rate):
    """Returns those of each round."""
    return [free / slow for free, slow in zip(result["seconds"][UNTHROTTLED], result["seconds"][rate])]


# --- the report ---------------------------------------------------------------------------------

def header(rates):
    titles = ["model", "batch", "ranks", "sparsity", "settings", "packed", "MB a step",
              *(f"{rate}, ms" if rate != UNTHROTTLED else "no throttle, ms" for rate in rates),
              *(f"efficiency, {rate}" for rate in rates if rate != UNTHROTTLED)]
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]


def row(result, rates):
    sent = statistics.median(count for counts in result["bytes"].values() for count in counts)
    cells = [result["model"], str(result["batch"]), str(result["ranks"]), f"{100 * result['sparsity']:g} %",
             ", ".join(result["settings"]), f"{100 * result['packed']:.0f} %", f"{sent / 1e6:.2f}",
             *(cell([1e3 * s for s in result["seconds"][rate]], "{:.0f}") for rate in rates),
             *(f"**{cell(efficiencies(result, rate))}**" for rate in rates if rate != UNTHROTTLED)]
    return "| " + " | ".join(cells) + " |"


def markdown(report):
    return "\n".join(
        ["# Training steps on several ranks over slow links", "", about_line(report), "",
         f"Whole training steps of sculpt_run with {report['threads']} thread(s) a rank, one rank on each host; the "
         "hosts are network namespaces of one machine, and all ranks share its processors. Times and efficiencies "
         "(step time without a throttle / with it) are medians (lowest-highest) of the rounds. A random mask keeps as "
         "many weights of every layer. \"Packed\" is the share of weights in layers whose gradients are stored as they "
         "travel; those of other layers are gathered. "
         "\"MB a step\" have left the first host, headers included.", "",
         *header(report["rates"]), *(row(result, report["rates"]) for result in report["results"])]) + "\n"


def write(report, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    out.with_suffix(".md").write_text(markdown(report))


def command_line(arguments):
    """Returns the command with the options that affect the numbers, without the paths of programs."""
    words = ["tools/bench_ranks.py", "--models", arguments.models, "--ranks", ",".join(map(str, arguments.ranks)),
             "--sparsities", ",".join(f"{s:g}" for s in arguments.sparsities), "--rates", ",".join(arguments.rates),
             "--rounds", arguments.rounds, "--steps", arguments.steps, "--blocks", arguments.blocks, "--threads",
             arguments.threads, *(["--width", f"{arguments.width:g}"] if arguments.width != 1 else [])]
    for name in ("set", "against", "mca"):
        for value in getattr(arguments, name):
            words += [f"--{name}", value]
    return shlex.join(map(str, words))


# --- the command --------------------------------------------------------------------------------

def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="The header of this file says how it measures.")
    parser.add_argument("--models", default="resnet18:128,resnet50:128", help="NAME:BATCH,..., batch of all ranks")
    parser.add_argument("--width", type=float, default=1.0, help="channel multiplier (default 1)")
    parser.add_argument("--ranks", default="2,4", help="numbers of ranks (default 2,4)")
    parser.add_argument("--sparsities", default="0,0.9,0.95,0.99", help="fractions")
    parser.add_argument("--rates", default="none,1gbit,100mbit",
                        help="of the links, as tc writes them; none, which must be among them: no throttle")
    parser.add_argument("--rounds", type=int, default=3, help="runs at each rate (default 3)")
    parser.add_argument("--steps", type=int, default=2, help="steps of an epoch (default 2)")
    parser.add_argument("--blocks", type=int, default=2, help="epochs of a run that count (default 2)")
    parser.add_argument("--threads", type=int, default=1, help="of a rank (default 1)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all runs")
    parser.add_argument("--against", action="append", default=[], metavar="KEY=VALUE",
                        help="also measure with this setting")
    parser.add_argument("--mca", action="append", default=[], metavar="NAME=VALUE", help="a parameter of Open MPI")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench_ranks",
                        help="OUT.json and OUT.md are written (default build/bench_ranks)")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "cpu" / "bin" / "sculpt_run")
    arguments = parser.parse_args(words)
    try:
        read_arguments(arguments)
    except ValueError as problem:
        parser.error(str(problem))
    return arguments


def read_arguments(arguments):
    """Replaces texts by numbers. A ValueError names what is wrong."""
    batches = [batch for _, batch in models_and_batches(arguments.models)]
    arguments.ranks = [int(text) for text in arguments.ranks.split(",")]
    for count in arguments.ranks:
        if not 2 <= count <= min([64, *batches]):
            raise ValueError(f"--ranks {count}: expected from 2 to 64, and at most the smallest batch")
    arguments.sparsities = [float(text) for text in arguments.sparsities.split(",")]
    for sparsity in arguments.sparsities:
        if not 0 <= sparsity < 1:
            raise ValueError(f"--sparsities {sparsity:g}: expected a fraction, at least 0 and below 1")
    arguments.rates = arguments.rates.split(",")
    if UNTHROTTLED not in arguments.rates or len(set(arguments.rates)) != len(arguments.rates):
        raise ValueError(f"--rates: expected different rates, {UNTHROTTLED} among them")
    for name in ("rounds", "steps", "blocks", "threads"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} {getattr(arguments, name)}: expected at least 1")
    for name in ("set", "against", "mca"):
        for text in getattr(arguments, name):
            if "=" not in text:
                raise ValueError(f"--{name} {text}: expected KEY=VALUE")


def why_impossible(program):
    """Returns why nothing can be measured here, or None."""
    if not program.with_name("libsculpt_mpi.so").exists():
        return "the program was built without MPI (packages openmpi-bin libopenmpi-dev)"
    return why_no_namespaces()


def main(words):
    arguments = parse_arguments(words)
    # After a SIGTERM, namespaces are removed as at any other end.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    arguments.program = arguments.program.resolve()
    if not arguments.program.exists():
        sys.exit("error: there is no sculpt_run to measure; build it with tools/test or cmake --preset cpu && cmake "
                 "--build --preset cpu, or name it with --program")
    reason = why_impossible(arguments.program)
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    report = {"command": command_line(arguments), "machine": machine(), "rates": arguments.rates,
              "threads": arguments.threads, "results": []}
    warn_if_busy(report["machine"])
    print("\n".join(header(arguments.rates)), flush=True)
    for model, batch in models_and_batches(arguments.models):
        for ranks in arguments.ranks:
            for sparsity in arguments.sparsities:
                with Hosts(ranks) as hosts:
                    results = measure(hosts, model, batch, sparsity, arguments)
                report["results"] += results
                print("\n".join(row(result, arguments.rates) for result in results), flush=True)
                write(report, arguments.out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
