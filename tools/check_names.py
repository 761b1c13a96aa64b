#!/usr/bin/env python3
"""Checks that no two files define a type with the same name in the same namespace.

usage: tools/check_names.py [--root DIR]

Such types compile as long as no file includes both. A program that links both files then has two layouts under
one name, and the linker keeps the code of one of them. Types in anonymous namespaces do not count. Prints the
clashes and exits with 1 if there is one.
"""
import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

SOURCES = ["kernels", "engine", "models", "data", "apps"]
ANONYMOUS = re.compile(r"^namespace \{.*?^\}  // namespace$", re.M | re.S)
NAMESPACE = re.compile(r"^namespace ([\w:]+) \{", re.M)
TYPE = re.compile(r"^(?:struct|class|enum class) (\w+)(?: final)?(?: : [^;{]*)? \{", re.M)


def clashes(root):
    """Returns {"namespace::Type": files} for every type that several files define."""
    places = defaultdict(set)
    files = sorted(path for folder in SOURCES for path in (root / folder).rglob("*"))
    for path in (path for path in files if path.suffix in (".h", ".cpp")):
        text = ANONYMOUS.sub("", path.read_text(encoding="utf-8"))
        namespaces = NAMESPACE.findall(text)
        for name in TYPE.findall(text):
            places[f"{namespaces[0] if namespaces else ''}::{name}"].add(str(path.relative_to(root)))
    return {name: sorted(files) for name, files in places.items() if len(files) > 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    found = clashes(parser.parse_args().root)
    for name, files in sorted(found.items()):
        print(f"{name} is defined in {', '.join(files)}: give one of them another name")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
