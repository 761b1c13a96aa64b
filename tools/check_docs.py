#!/usr/bin/env python3
"""Checks that everything that the documents refer to exists.

usage: tools/check_docs.py [--root DIR]

In README.md and docs/**/*.md: relative links lead to files, anchors to headings, and paths in
backticks that start with a folder of the repository (`engine/ops/ops.h`) exist. Paths with
placeholders (<name>, *, ...) and paths that a build or a run creates are not checked.
"""
import argparse
import re
import sys
from pathlib import Path

FOLDERS = ("apps", "configs", "data", "docs", "engine", "kernels", "models", "tests", "tools")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:%s)/[A-Za-z0-9_./-]+" % "|".join(FOLDERS))


def anchor(heading):
    """Returns the anchor that GitHub makes of a heading."""
    text = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text):
    return {anchor(m.group(1)) for m in re.finditer(r"^#+ (.*)$", text, re.MULTILINE)}


def without_blocks(text):
    """Returns the text with empty lines in place of fenced code blocks, so that line numbers stay."""
    return re.sub(r"^```.*?^```", lambda m: "\n" * m.group(0).count("\n"), text,
                  flags=re.MULTILINE | re.DOTALL)


def broken_link(root, document, text, target):
    if re.match(r"[a-z]+:", target):
        return None
    path, _, fragment = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.exists():
        return f"link to {target}: there is no such file"
    if fragment and file.suffix == ".md":
        there = text if file == document else file.read_text(encoding="utf-8")
        if fragment not in anchors(there):
            return f"link to {target}: {file.relative_to(root)} has no such heading"
    return None


def problems_of(root, document):
    text = document.read_text(encoding="utf-8")
    for number, line in enumerate(without_blocks(text).splitlines(), 1):
        where = f"{document.relative_to(root)}:{number}"
        for match in LINK.finditer(line):
            reason = broken_link(root, document, text, match.group(1))
            if reason:
                yield f"{where}: {reason}"
        for code in CODE.findall(line):
            first = code.split()[0] if code.split() else ""
            if PATH.fullmatch(first) and not (root / first).exists():
                yield f"{where}: `{first}` is not there"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    documents = [d for d in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
                 if d.exists()]
    problems = [p for document in documents for p in problems_of(root, document)]
    for problem in problems:
        print(problem)
    print(f"{len(documents)} documents, {len(problems)} problems")
    return 1 if problems or not documents else 0


if __name__ == "__main__":
    sys.exit(main())
