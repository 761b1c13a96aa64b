#!/usr/bin/env python3
"""Checks which folder includes which. The table below says what is allowed; every #include "..." of the
source folders, and the libraries that CMake links, must agree with it.

usage: tools/check_includes.py [--root DIR] [--graph text|dot|markdown]

The rule in one sentence: a folder includes folders below it, kernels include nothing of the engine, and
nothing includes tests/ or tools/. Prints violations as file:line: message and exits with 1 if there is one.
With --graph, prints which folder includes which instead; docs/architecture.md shows the output of `markdown`.
"""
import argparse
import re
import sys
from collections import Counter
from pathlib import Path

# Maps a folder to the folders that its files include besides their own, from the bottom to the top. A file
# belongs to the longest key that is a prefix of its path. Each row is as short as the code allows: `check`
# reports an entry that no file uses.
KERNELS = ["kernels", "kernels/common", "kernels/device"]
ALLOWED = {
    "kernels/common": [],
    "kernels": ["kernels/common"],
    "kernels/tuning": [],
    "kernels/device": ["kernels", "kernels/common", "kernels/tuning"],
    "kernels/host": ["kernels", "kernels/common"],
    "kernels/reference": ["kernels/common", "kernels/device"],
    "kernels/cpu": [*KERNELS, "kernels/host"],
    "kernels/cuda": [*KERNELS, "kernels/tuning"],
    "kernels/cudnn": ["kernels/common", "kernels/device"],
    "kernels/nccl": ["kernels", "kernels/common"],
    "engine/core": ["kernels/common", "kernels/device"],
    "engine/dist": ["engine/core", "kernels", "kernels/common", "kernels/device"],
    "engine/config": ["engine/core"],
    "engine/formats": ["engine/core"],
    "engine/parameters": ["engine/core", "kernels/device"],
    "engine/autograd": ["engine/parameters", "engine/core", "kernels/common", "kernels/device"],
    "engine/ops": ["engine/autograd", "engine/core", "kernels", "kernels/common", "kernels/tuning"],
    "engine/nn": ["engine/ops", "engine/autograd", "engine/parameters", "engine/dist",
                  "engine/core", "kernels", "kernels/common", "kernels/device", "kernels/tuning"],
    "engine/optim": ["engine/parameters", "engine/core", "kernels"],
    "engine/sparse": ["engine/nn", "engine/parameters", "engine/core", "kernels/device"],
    "engine/masks": ["engine/sparse", "engine/parameters", "engine/core", "kernels/device"],
    "engine/plan": ["engine/masks", "engine/sparse", "engine/nn", "engine/core"],
    "engine/run": ["engine/plan", "engine/sparse", "engine/parameters", "engine/formats",
                   "engine/config", "engine/core", "kernels/common", "kernels/tuning"],
    "engine/study": ["engine/run", "engine/config", "engine/core"],
    "engine/report": ["engine/study", "engine/run", "engine/core"],
    "engine/analyze": ["engine/plan", "engine/sparse", "engine/nn", "engine/parameters",
                       "engine/formats", "engine/core", "kernels/common"],
    "engine/train": ["engine/run", "engine/plan", "engine/masks", "engine/sparse", "engine/optim", "engine/nn",
                     "engine/parameters", "engine/dist", "engine/core"],
    "models": ["engine/nn", "engine/core"],
    "data": ["engine/core", "kernels/common"],
    "apps": ["models", "data", "engine/train", "engine/analyze", "engine/report", "engine/study", "engine/run",
             "engine/plan", "engine/masks", "engine/formats",
             "engine/sparse",
             "engine/optim", "engine/nn", "engine/ops", "engine/autograd", "engine/config",
             "engine/dist",
             "engine/core", "kernels/common", "kernels/device", "kernels/tuning"],
}
# Headers that CMake writes into the build folder.
GENERATED = {"build_info.h"}
# The folders with source files that are checked. Tests may include anything.
SOURCES = ["kernels", "engine", "models", "data", "apps"]
SUFFIXES = {".h", ".hpp", ".cpp", ".cc", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer_of(path):
    """Returns the longest row of ALLOWED that `path` lies in, or None."""
    rows = [row for row in ALLOWED if inside(path, row)]
    return max(rows, key=len) if rows else None


def violation(path, included):
    """Returns why file `path` (from the root) may not include `included`; None if it may."""
    layer, target = layer_of(path), layer_of(included)
    if layer is None:
        return f"no rule for its folder: add it to the table in {Path(__file__).name}"
    if target is None:
        top = included.split("/")[0]
        if top in ("tests", "tools"):
            return f'includes "{included}": nothing includes {top}/'
        return f'includes "{included}": not a path from the repository root of a known folder'
    if layer == target or target in ALLOWED[layer]:
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
    """Returns all violations as printable lines, the pairs of rows used, and the number of includes."""
    problems, used, count = [], set(), 0
    for path, number, included in includes(root):
        count += 1
        if included in GENERATED:
            continue
        reason = violation(path, included)
        if reason is None and not (root / included).is_file():
            reason = f'includes "{included}": there is no such file'
        if reason:
            problems.append(f"{path}:{number}: {reason}")
        used.add((layer_of(path), layer_of(included)))
    return problems, used, count


def unused_rules(used):
    """Returns a printable line for each entry of the table that no include needs."""
    return [f"{Path(__file__).name}: no file of {layer} includes {target}: take it out of the table"
            for layer, targets in ALLOWED.items() for target in targets
            if (layer, target) not in used]


LIBRARY = re.compile(r"sculpt_library\((\w+)\s+FOLDER\s+(\S+)\s+LINK\s*([^)]*)\)")


def linked(root):
    """Returns {folder: (library, folders of the libraries that it links)} of all sculpt_library() calls."""
    found = {"kernels": ("sculpt_kernels", set())}
    lines = []
    for folder in ("engine", "models", "data"):
        file = root / folder / "CMakeLists.txt"
        if file.is_file():
            for name, sub, links in LIBRARY.findall(file.read_text(encoding="utf-8")):
                lines.append((folder if sub == "." else f"{folder}/{sub}", name, links.split()))
    folder_of = {name: folder for folder, name, _ in lines} | {"sculpt_kernels": "kernels"}
    for folder, name, links in lines:
        found[folder] = (name, {folder_of[link] for link in links if link in folder_of})
    return found


def link_problems(root):
    """Returns a printable line for each library whose linked libraries differ from the table."""
    problems = []
    for folder, (name, links) in linked(root).items():
        if folder == "kernels":
            continue
        wanted = {"kernels" if inside(target, "kernels") else target for target in ALLOWED[folder]}
        if links != wanted:
            problems.append(f"{name} (CMake) links {', '.join(sorted(links))}, but its folder may "
                            f"include {', '.join(sorted(wanted))}")
    return problems


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
        return
    for layer in reversed(ALLOWED):
        targets = [t for (s, t) in sorted(edges) if s == layer]
        if style == "markdown":
            print(f"| `{layer}` | {', '.join(f'`{t}`' for t in targets) or 'nothing'} |")
        else:
            print(f"{layer:<18} -> {', '.join(f'{t} ({edges[layer, t]})' for t in targets) or '-'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--graph", choices=("text", "dot", "markdown"))
    arguments = parser.parse_args()
    if arguments.graph:
        print_graph(arguments.root, arguments.graph)
        return 0
    problems, used, count = check(arguments.root)
    problems += link_problems(arguments.root)
    if not problems:
        problems += unused_rules(used)
    for problem in problems:
        print(problem)
    if count == 0:
        print(f"error: no includes found under {arguments.root}", file=sys.stderr)
        return 1
    print(f"{count} includes, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
