#!/usr/bin/env python3
"""Checks who includes whom: every #include "..." of the source folders against the table below.

usage: tools/check_includes.py [--root DIR] [--graph text|dot]

The rule in one sentence: a folder includes folders below it, kernels know no engine, and nothing
includes tests/ or tools/. Prints violations as file:line: message and exits with 1 if there is one.
--graph prints which folder includes which instead.
"""
import argparse
import re
import sys
from collections import Counter
from pathlib import Path

# Folder -> folders that its files may include besides their own. Longest prefix wins on both sides.
KERNEL_API = ["kernels"]  # kernels/*.h and kernels/common, not the implementations (see INTERNAL)
ALLOWED = {
    "kernels": [],
    "engine/core": KERNEL_API,
    "engine/autograd": ["engine/core", *KERNEL_API],
    "engine/ops": ["engine/autograd", "engine/core", *KERNEL_API],
    "engine/nn": ["engine/ops", "engine/autograd", "engine/core", *KERNEL_API],
    "engine/optim": ["engine/nn", "engine/autograd", "engine/core", *KERNEL_API],
    "engine/sparse": ["engine/optim", "engine/nn", "engine/autograd", "engine/core", *KERNEL_API],
    "engine/train": ["engine/sparse", "engine/optim", "engine/nn", "engine/ops", "engine/autograd",
                     "engine/core", *KERNEL_API],
    "models": ["engine/nn", "engine/ops", "engine/core"],
    "data": ["engine/core", "kernels/common"],
    "apps": ["models", "data", "engine", "kernels"],
}
# Implementations behind the kernel headers: used within kernels/ only.
INTERNAL = ["kernels/cpu", "kernels/reference", "kernels/cuda", "kernels/cudnn"]
# Headers that CMake writes into the build folder.
GENERATED = {"build_info.h"}
# Where source lies; tests may include anything and are not looked at.
SOURCES = ["kernels", "engine", "models", "data", "apps"]
SUFFIXES = {".h", ".hpp", ".cpp", ".cc", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    """The longest row of ALLOWED that `path` lies in, or None."""
    rows = [row for row in ALLOWED if inside(path, row)]
    return max(rows, key=len) if rows else None


def violation(path, included):
    """Why file `path` (from the root) may not include `included`; None if it may."""
    layer, target = layer_of(path), layer_of(included)
    if layer is None:
        return f"no rule for its folder: add it to the table in {Path(__file__).name}"
    if target is None:
        top = included.split("/")[0]
        if top in ("tests", "tools"):
            return f'includes "{included}": nothing includes {top}/'
        return f'includes "{included}": not a path from the repository root of a known folder'
    if not inside(path, "kernels") and any(inside(included, folder) for folder in INTERNAL):
        return f'includes "{included}": implementations of kernels are private to kernels/'
    if layer == target or any(inside(included, folder) for folder in ALLOWED[layer]):
        return None
    allowed = ", ".join(ALLOWED[layer]) or "itself only"
    return f'includes "{included}": {layer} may include {allowed}'


def includes(root):
    """Yields (path from root, line number, included path) over all sources."""
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in SUFFIXES:
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if match:
                    yield file.relative_to(root).as_posix(), number, match.group(1)


def check(root):
    """All violations as printable lines, and the number of includes looked at."""
    problems, count = [], 0
    for path, number, included in includes(root):
        count += 1
        if included in GENERATED:
            continue
        reason = violation(path, included)
        if reason is None and not (root / included).is_file():
            reason = f'includes "{included}": there is no such file'
        if reason:
            problems.append(f"{path}:{number}: {reason}")
    return problems, count


def print_graph(root, style):
    edges = Counter()
    for path, _, included in includes(root):
        source, target = layer_of(path), layer_of(included)
        if target and source != target:
            edges[source, target] += 1
    if style == "dot":
        print("digraph includes {\n  rankdir=BT;\n  node [shape=box];")
        for (source, target), count in sorted(edges.items()):
            print(f'  "{source}" -> "{target}" [label={count}];')
        print("}")
    else:
        for layer in reversed(ALLOWED):
            targets = [f"{t} ({n})" for (s, t), n in sorted(edges.items()) if s == layer]
            print(f"{layer:<16} -> {', '.join(targets) or '-'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--graph", choices=("text", "dot"))
    arguments = parser.parse_args()
    if arguments.graph:
        print_graph(arguments.root, arguments.graph)
        return 0
    problems, count = check(arguments.root)
    for problem in problems:
        print(problem)
    if count == 0:
        print(f"error: no includes found under {arguments.root}", file=sys.stderr)
        return 1
    print(f"{count} includes, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
