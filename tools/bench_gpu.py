#!/usr/bin/env python3
"""Times training steps of Sculpt and of PyTorch on one GPU, alternating in one run.

usage: tools/bench_gpu.py [--models resnet20:512,resnet18:512,resnet50:128:224] [--rounds 5]
                          [--seconds 2] [--precision bf16] [--engines sculpt,eager,compiled]
                          [--bench build/cuda/bin/sculpt_bench] [--out runs/bench_gpu]

One process each, all on the GPU at once: `sculpt_bench serve --device cuda` (sculpt: our
convolutions, sculpt-cudnn: cuDNN's, sculpt-auto: the faster for each), PyTorch eager and PyTorch
with torch.compile(mode="max-autotune"), the latter two channels-last and under bf16 autocast. A
round is a block of steps of each, in turn, starting with another one each time. Ratios are of the
Sculpt that is fastest by its median: the median over rounds of the pairwise ratios. The protocol
with a process is that of tools/bench_workers.py. MODEL:BATCH[:IMAGE_SIZE]. Writes OUT.json and
OUT.md after each model. Needs torch.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_workers import Child, answer

ROOT = Path(__file__).resolve().parent.parent


# --- the PyTorch side ---------------------------------------------------------------------------

def worker(arguments):
    import torch

    import pytorch_models
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
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
        model = torch.compile(model, mode="max-autotune")

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


def command_of(engine, arguments, model, batch, size):
    if engine in CONVOLUTIONS:
        return [str(arguments.bench), "serve", "--device", arguments.device, "--precision",
                arguments.precision, "--conv", CONVOLUTIONS[engine], "--model", model, "--batch",
                str(batch), "--image-size", str(size)]
    words = [arguments.python, str(Path(__file__).resolve()), "--worker", "--model", model,
             "--batch", str(batch), "--image-size", str(size), "--precision", arguments.precision,
             "--device", arguments.device]
    return words + (["--compile"] if engine == "compiled" else [])


def measure(arguments, model, batch, size):
    children = {engine: Child(engine, command_of(engine, arguments, model, batch, size))
                for engine in arguments.engines.split(",")}
    steps = {}
    for engine, child in children.items():
        child.run(3)
        steps[engine] = max(1, round(arguments.seconds / child.run(5)))
    rates = {engine: [] for engine in children}
    order = list(children)
    for _ in range(arguments.rounds):
        for engine in order:
            rates[engine].append(batch / children[engine].run(steps[engine]))
        order = order[1:] + order[:1]
    peaks = {engine: child.peak for engine, child in children.items()}
    for child in children.values():
        child.quit()
    ours = max((engine for engine in rates if engine in CONVOLUTIONS), default=None,
               key=lambda engine: statistics.median(rates[engine]))
    ratios = {engine: statistics.median(a / b for a, b in zip(rates[ours], rates[engine]))
              for engine in rates if engine not in CONVOLUTIONS and ours}
    result = {"model": model, "batch": batch, "image_size": size, "images_per_second": rates,
              "ours": ours, "ratios": ratios, "peak_memory_bytes": peaks}
    print(row(result), flush=True)
    return result


def row(result):
    def rate(engine):
        values = result["images_per_second"].get(engine)
        return f"{statistics.median(values):.0f}" if values else "-"

    def ratio(engine):
        return f"{result['ratios'][engine]:.2f}" if engine in result["ratios"] else "-"

    rates = " | ".join(rate(engine) for engine in (*CONVOLUTIONS, "eager", "compiled"))
    return (f"| {result['model']} | {result['batch']} | {result['image_size']} | {rates} "
            f"| {ratio('eager')} | {ratio('compiled')} |")


HEADER = ["| model | batch | pixels | Sculpt images/s | with cuDNN | auto | eager | compiled | best "
          "against eager | against compiled |", "|---|---|---|---|---|---|---|---|---|---|"]


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
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--bench", type=Path, default=ROOT / "build/cuda/bin/sculpt_bench")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench_gpu")
    for name in ("worker", "compile"):
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--image-size", type=int, default=32, help=argparse.SUPPRESS)
    return parser.parse_args()


def write(arguments, results):
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    about = {"command": "tools/bench_gpu.py " + " ".join(sys.argv[1:]), "gpu": gpu_name(),
             "commit": commit, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    arguments.out.with_suffix(".json").write_text(
        json.dumps({**about, "results": results}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text("\n".join(
        [f"# Training steps on a GPU, {arguments.precision}", "",
         f"`{about['command'].strip()}`, {about['gpu']}, commit {commit}, {about['date']}.", "",
         *HEADER, *map(row, results), ""]))


def main():
    arguments = parse_arguments()
    if arguments.worker:
        return worker(arguments)
    if not arguments.bench.exists():
        sys.exit(f"error: {arguments.bench} is not there; build it with cmake --preset cuda && "
                 "cmake --build --preset cuda")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results = []
    print("\n".join(HEADER), flush=True)
    for item in arguments.models.split(","):
        model, batch, *size = item.split(":")
        results.append(measure(arguments, model, int(batch), int(size[0]) if size else 32))
        write(arguments, results)  # after each: the next may take too long
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as problem:
        sys.exit(f"error: {problem}")
