#!/usr/bin/env python3
"""Models a data-parallel training step of ResNet-50: how long ranks compute, how long they wait for the sums
of their gradients, and what it saves that only kept gradients travel. Nothing is measured here; --check
compares the model of a sum with times that were measured (docs/results/scale_model.md).

usage: tools/scale_model.py [--computer gpu|cpu] [--links nvlink,node,400g] [--ranks 8,64,512,4096]
                            [--sparsities 0,0.9,0.95,0.99] [--batch 256] [--step-ms 103.6]
                            [--speedups 1,1,1,1] [--bucket-mb 25] [--bandwidth-share 1]
       tools/scale_model.py --report     all tables of docs/results/scale_model.md
       tools/scale_model.py --check      the model of a sum against measured sums

Bytes. A rank sums 4 bytes for each kept weight of convolutions and of the last layer, without indices, because
all ranks have the same mask, and 4 bytes for each of the other parameters (batch norm, bias). Without masks that
is the whole gradient. The same share of every layer is kept.

A sum of n bytes over R ranks, on links of latency a and bandwidth b in each direction:
  ring   2 (R - 1) a + 2 (R - 1) / R n / b
  tree   2 ceil(log2 R) a + 2 n / b         two binary trees, each for half of the data, pipelined
  node   (link "node") ranks of a node sum by NVLink so that each has 1/8 of the sums, all eighths are summed over
         the nodes at the same time, each over a 400 Gb/s link of its own, and ranks of a node collect them
One rank sums nothing. The faster of ring and tree is used. A shared switch is never the limit.

A step. The forward pass takes a third of the compute time, and the backward pass two thirds, spread over the
layers by their multiply-adds. Without overlap, the sum starts after the backward pass. With overlap, gradients
travel in buckets of at least --bucket-mb of dense gradients, from the last layer to the first. A bucket starts
when the backward pass has reached its first layer and the bucket before it has arrived. The update of the weights
belongs to the compute time. Sums do not slow the computation down, and all ranks are equally fast.

Efficiency is compute time / step time: what remains of R times the speed of one rank with the same batch a rank.
"All gradients" are overlapped steps in which the gradients of masked weights travel, too. Images/s are those of
overlapped steps.
"""
import argparse
import math
import sys
from dataclasses import dataclass, replace

FLOAT_BYTES = 4
RANKS_OF_A_NODE = 8


# --- the network --------------------------------------------------------------------------------

@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer, with the batch norm or the bias behind it."""
    name: str
    weights: int          # may be masked
    others: int           # batch norm, bias: never masked
    multiply_adds: int    # of one image's forward pass

    def gradient_bytes(self, kept):
        return FLOAT_BYTES * (round(kept * self.weights) + self.others)


def conv(name, channels_in, channels_out, kernel, side):
    """`side` is that of the output, in pixels."""
    weights = channels_in * channels_out * kernel * kernel
    return Layer(name, weights, 2 * channels_out, weights * side * side)


def resnet50(image=224, classes=1000):
    """Returns the layers in the order of the forward pass: 7x7 stem, strides in the 3x3 convolutions."""
    side = image // 2
    layers = [conv("conv1", 3, 64, 7, side)]
    side //= 2  # max pooling
    channels = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            layers.append(conv(name + ".conv1", channels, width, 1, side))
            if stage > 1 and block == 0:
                side //= 2
            layers.append(conv(name + ".conv2", width, width, 3, side))
            layers.append(conv(name + ".conv3", width, 4 * width, 1, side))
            if block == 0:
                layers.append(conv(name + ".shortcut", channels, 4 * width, 1, side))
            channels = 4 * width
    return [*layers, Layer("fc", channels * classes, classes, channels * classes)]


def gradient_bytes(layers, sparsity):
    return sum(layer.gradient_bytes(1 - sparsity) for layer in layers)


# --- sums over ranks ----------------------------------------------------------------------------

@dataclass(frozen=True)
class Link:
    name: str
    bandwidth: float           # bytes a second, in each direction at once
    ring_latency: float        # seconds for each of the messages that follow one another
    tree_latency: float
    source: str
    node: bool = False         # whether ranks of a node are joined by NVLink


NCCL = "NCCL's own model (src/graph/tuning.cc, protocol Simple)"
NVLINK = Link("nvlink", 380e9, 3.4e-6, 4.0e-6,
              f"bandwidth: 380 of 450 GB/s, as measured between two H100 (NVIDIA/nccl#1264); latency: {NCCL}")
NET = Link("400g", 50e9, 14e-6, 14e-6, f"bandwidth: the line's rate; latency: {NCCL}")
TCP_LATENCY = 25e-6
LINKS = {link.name: link for link in (
    NVLINK, NET,
    replace(NET, name="node", source="8 ranks of a node by NVLink, and a 400 Gb/s link for each of them", node=True),
    Link("1g", 948e6 / 8, TCP_LATENCY, TCP_LATENCY,
         "bandwidth: 948 Mbit/s, as iperf3 measured through a throttled link; latency: a ring of 1,000 floats over "
         "TCP on the loopback of one machine took 150 us for 6 messages"),
    Link("100m", 96e6 / 8, TCP_LATENCY, TCP_LATENCY, "bandwidth: 96 Mbit/s, measured likewise; latency: as for 1g"))}
TITLES = {"nvlink": "NVLink", "400g": "400 Gb/s", "node": "NVLink in nodes of 8, 400 Gb/s between them",
          "1g": "1 Gb/s", "100m": "100 Mb/s"}


def ring_seconds(size, ranks, link):
    """A reduce-scatter and an all-gather, of ranks - 1 messages each."""
    if ranks == 1:
        return 0.0
    return 2 * (ranks - 1) * link.ring_latency + 2 * (ranks - 1) / ranks * size / link.bandwidth


def tree_seconds(size, ranks, link):
    if ranks == 1:
        return 0.0
    return 2 * math.ceil(math.log2(ranks)) * link.tree_latency + 2 * size / link.bandwidth


def flat_seconds(size, ranks, link):
    return min(ring_seconds(size, ranks, link), tree_seconds(size, ranks, link))


def sum_seconds(size, ranks, link):
    """Returns how long the ranks take to sum `size` bytes."""
    if not link.node or ranks <= RANKS_OF_A_NODE:
        return flat_seconds(size, ranks, NVLINK if link.node else link)
    if ranks % RANKS_OF_A_NODE != 0:
        raise ValueError(f"{ranks} ranks do not fill nodes of {RANKS_OF_A_NODE}")
    inside = ring_seconds(size, RANKS_OF_A_NODE, NVLINK)
    return inside + flat_seconds(size / RANKS_OF_A_NODE, ranks // RANKS_OF_A_NODE, link)


# --- a step -------------------------------------------------------------------------------------

def buckets(layers, sparsity, least_bytes):
    """Returns [(share of the backward pass after which the bucket is ready, bytes)], in the order of the
    backward pass. A bucket closes when its dense gradients reach `least_bytes`, so that masks do not change
    where it begins."""
    whole = sum(layer.multiply_adds for layer in layers)
    found, done, dense, size = [], 0, 0, 0
    for layer in reversed(layers):
        done += layer.multiply_adds
        dense += layer.gradient_bytes(1)
        size += layer.gradient_bytes(1 - sparsity)
        if dense >= least_bytes:
            found.append((done / whole, size))
            dense = size = 0
    if dense > 0:
        found.append((1.0, size))
    return found


def step_seconds(compute, ready_buckets, ranks, link):
    """Returns the time of a step whose buckets travel as soon as they are ready, one after the other."""
    forward, backward = compute / 3, 2 * compute / 3
    free = 0.0
    for share, size in ready_buckets:
        free = max(free, forward + share * backward) + sum_seconds(size, ranks, link)
    return max(compute, free)  # the last bucket is ready at the end of the backward pass, but for rounding


@dataclass(frozen=True)
class Computer:
    """How fast one rank computes."""
    batch: int
    step: float         # seconds of a dense step
    speedups: tuple     # of a step at the default sparsities, against a dense one
    source: str


SPARSITIES = (0.0, 0.9, 0.95, 0.99)
RANKS = (8, 64, 512, 4096)
# 204 GFLOP/s: a dense step of ResNet-18, batch 64, on CIFAR took 1,046 ms (docs/results/sparse_step.md), with
# 555.4 million multiply-adds for an image's forward pass and three times as many for a step.
CPU_FLOPS = 6 * 555.4e6 * 64 / 1.046


def cpu_step(layers, batch):
    return 6 * sum(layer.multiply_adds for layer in layers) * batch / CPU_FLOPS


COMPUTERS = {
    "gpu": Computer(256, 256 / 2470, (1, 1, 1, 1),
                    "2,470 images/s, as NVIDIA publishes for one A100 (DeepLearningExamples, ResNet-50 v1.5 with "
                    "PyTorch, mixed precision, batch 256). Masks do not change it, because the CUDA backend computes "
                    "masked weights, too"),
    "cpu": Computer(32, cpu_step(resnet50(), 32), (1, 4.00, 5.68, 10.92),
                    f"{CPU_FLOPS / 1e9:.0f} GFLOP/s on two cores, which a dense step of ResNet-18 reached, and the "
                    "speedups that its sparse steps had (docs/results/sparse_step.md)")}


@dataclass(frozen=True)
class Row:
    ranks: int
    sparsity: float
    size: int                # bytes of gradients a rank
    compute: float           # seconds
    ring: float
    tree: float
    sum: float
    plain: float             # a step without overlap
    overlapped: float
    whole: float             # an overlapped step that exchanges the gradients of masked weights, too

    def efficiency(self, step):
        return self.compute / step


def rows(layers, computer, link, ranks=RANKS, sparsities=SPARSITIES, bucket_bytes=25e6):
    found = []
    for count in ranks:
        for sparsity, speedup in zip(sparsities, computer.speedups):
            size = gradient_bytes(layers, sparsity)
            compute = computer.step / speedup
            total = sum_seconds(size, count, link)

            def overlapped(exchanged):
                return step_seconds(compute, buckets(layers, exchanged, bucket_bytes), count, link)

            found.append(Row(count, sparsity, size, compute, ring_seconds(size, count, link),
                             tree_seconds(size, count, link), total, compute + total,
                             overlapped(sparsity), overlapped(0)))
    return found


# --- tables -------------------------------------------------------------------------------------

def number(value):
    """Returns a number with three digits, which are more than a model knows."""
    rounded = float(f"{value:.3g}")
    digits = 0 if rounded == 0 else max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{digits}f}"


def table(found, link, batch):
    # A ring or a tree over all ranks says nothing about links of two kinds.
    flat = not link.node
    titles = ["ranks", "sparsity", "MB a rank", "compute, ms", *(["ring, ms", "tree, ms"] if flat else ["sum, ms"]),
              "step, ms", "efficiency", "overlapped, ms", "efficiency", "efficiency, all gradients", "images/s"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in found:
        sums = [row.ring, row.tree] if flat else [row.sum]
        cells = [f"{row.ranks:,}", f"{100 * row.sparsity:g} %", number(row.size / 1e6), number(1e3 * row.compute),
                 *(number(1e3 * seconds) for seconds in sums), number(1e3 * row.plain), percent(row, row.plain),
                 number(1e3 * row.overlapped), percent(row, row.overlapped), percent(row, row.whole),
                 number(batch * row.ranks / row.overlapped)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def percent(row, step):
    return f"{100 * row.efficiency(step):.1f} %"


# --- the check ----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Measured:
    what: str
    floats: int
    ranks: int
    link: str
    seconds: float


RING = "a plain ring over TCP"
MPI = "Open MPI 4.1.4 over TCP"
# Four hosts in network namespaces of a machine with two cores, links throttled with tbf. The machine was busy.
MEASURED = (
    Measured(RING, 270_000, 4, "1g", 13.5e-3),
    Measured(RING, 1_000_000, 4, "1g", 50.9e-3),
    Measured(MPI + ", burst 256 KB", 1_000_000, 4, "1g", 95e-3),
    Measured(MPI + ", burst 1 MB", 1_000_000, 4, "1g", 71e-3))


def check_table():
    lines = ["| sum | floats | ranks | link | measured, ms | model, ms | model / measured |", "|" + "---|" * 7]
    for one in MEASURED:
        model = ring_seconds(FLOAT_BYTES * one.floats, one.ranks, LINKS[one.link])
        lines.append(f"| {one.what} | {one.floats:,} | {one.ranks} | {TITLES[one.link]} | {number(1e3 * one.seconds)} "
                     f"| {number(1e3 * model)} | {model / one.seconds:.2f} |")
    return lines


# --- the command --------------------------------------------------------------------------------

def report():
    layers = resnet50()
    lines = []
    for name, links in (("gpu", ("nvlink", "node", "400g")), ("cpu", ("1g", "100m"))):
        computer = COMPUTERS[name]
        for link in links:
            lines += [f"### {TITLES[link]}, a {name.upper()} a rank, batch {computer.batch} a rank", ""]
            lines += table(rows(layers, computer, LINKS[link]), LINKS[link], computer.batch) + [""]
    return lines[:-1]


def numbers(text, kind, name, least, most=math.inf):
    """Returns the numbers of "1,2,3". A ValueError names one that is wrong."""
    found = []
    for item in text.split(","):
        try:
            value = kind(item)
        except ValueError:
            raise ValueError(f"{name} {item}: not a number") from None
        if not least <= value < most:
            raise ValueError(f"{name} {item}: expected at least {least}"
                             f"{'' if most == math.inf else f' and below {most}'}")
        found.append(value)
    return found


def parse_arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="The header of this file describes the model.")
    parser.add_argument("--report", action="store_true", help="all tables of docs/results/scale_model.md")
    parser.add_argument("--check", action="store_true", help="the model of a sum against measured sums")
    parser.add_argument("--computer", choices=COMPUTERS, default="gpu",
                        help="whose speed and batch are the defaults below (default gpu)")
    parser.add_argument("--links", default="nvlink,node,400g",
                        help=f"some of {','.join(LINKS)} (default nvlink,node,400g)")
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)))
    parser.add_argument("--sparsities", default=",".join(f"{s:g}" for s in SPARSITIES), help="fractions")
    parser.add_argument("--batch", type=int, help="images a rank and step (gpu: 256, cpu: 32)")
    parser.add_argument("--step-ms", type=float,
                        help="a dense step of one rank with this batch, for example as sculpt_bench profile measures it")
    parser.add_argument("--speedups", help="of a step at each sparsity, against a dense step")
    parser.add_argument("--bucket-mb", type=float, default=25, help="dense gradients of a bucket (default 25)")
    parser.add_argument("--bandwidth-share", type=float, default=1,
                        help="the share of a link's bandwidth that sums reach (default 1; Open MPI over a TCP link "
                             "of 1 Gb/s: 0.53)")
    arguments = parser.parse_args(words)
    try:
        read_numbers(arguments)
    except ValueError as problem:
        parser.error(str(problem))
    return arguments


def read_numbers(arguments):
    """Replaces texts by numbers, and fills in the computer."""
    arguments.ranks = numbers(arguments.ranks, int, "--ranks", 1)
    arguments.sparsities = numbers(arguments.sparsities, float, "--sparsities", 0, 1)
    arguments.links = arguments.links.split(",")
    for link in arguments.links:
        if link not in LINKS:
            raise ValueError(f"--links: {link} is none of {', '.join(LINKS)}")
        if link == "node":
            for count in arguments.ranks:
                sum_seconds(1, count, LINKS[link])
    for value, name in ((arguments.bucket_mb, "--bucket-mb"), (arguments.bandwidth_share, "--bandwidth-share"),
                        (arguments.step_ms, "--step-ms"), (arguments.batch, "--batch")):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} {value:g}: expected more than 0")
    base = COMPUTERS[arguments.computer]
    batch = arguments.batch or base.batch
    step = arguments.step_ms / 1e3 if arguments.step_ms else base.step * batch / base.batch
    if arguments.speedups:
        speedups = numbers(arguments.speedups, float, "--speedups", 1e-3)
    else:
        known = dict(zip(SPARSITIES, base.speedups))
        unknown = [s for s in arguments.sparsities if s not in known]
        if unknown and arguments.computer != "gpu":
            raise ValueError(f"--speedups: there is no measured speedup at sparsity {unknown[0]:g}, so give them all")
        speedups = [known.get(s, 1) for s in arguments.sparsities]
    if len(speedups) != len(arguments.sparsities):
        raise ValueError(f"--speedups: expected {len(arguments.sparsities)}, one for each sparsity")
    arguments.one = Computer(batch, step, tuple(speedups), base.source)


def main(words):
    arguments = parse_arguments(words)
    if arguments.check:
        print("\n".join(check_table()))
    elif arguments.report:
        print("\n".join(report()))
    else:
        layers = resnet50()
        for i, name in enumerate(arguments.links):
            link = LINKS[name]
            link = replace(link, bandwidth=link.bandwidth * arguments.bandwidth_share)
            found = rows(layers, arguments.one, link, arguments.ranks, arguments.sparsities, 1e6 * arguments.bucket_mb)
            print("\n" * (i > 0) + f"### {TITLES[name]}, batch {arguments.one.batch} a rank\n")
            print("\n".join(table(found, link, arguments.one.batch)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
