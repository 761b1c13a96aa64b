"""Runs broken kernels and expects each to be stopped with a report of what is wrong and where.

usage: mutants_test.py PROGRAM SANITIZERS

SANITIZERS is what PROGRAM was compiled with (as in -fsanitize=), or nothing. Where a report names
lines, they must be among those that a comment "KIND: NAME" marks in the sources.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = [HERE.parent / "sample_kernels.h", HERE / "mutants.cpp"]

# These are the reports of the host layer itself, in every build.
STOPPED = {
    "divergent_barrier": "divergent barriers",
    "deadlock": "deadlock",
    "outside_mask": "mask that does not contain it",
    "misaligned_copy": "not a multiple of 16",
    "misaligned_copy_of_nothing": "not a multiple of 16",
}
OVERRUNS = ["block_sum", "radix_histogram", "dynamic_shared", "static_shared", "async_copy"]
RACES = ["block_sum", "tiled_gemm", "block_scan", "radix_histogram", "column_sums", "shuffle",
         "lost_update"]


def marked_lines(mark):
    """Returns the places "FILE:LINE" of the sources that have the mark."""
    places = set()
    for source in SOURCES:
        for number, line in enumerate(source.read_text().splitlines(), 1):
            comment = line.partition("  // ")[2]
            if mark in [part.strip() for part in comment.split(",")]:
                places.add(f"{source.name}:{number}")
    if not places:
        raise ValueError(f"no line is marked {mark!r}")
    return places


def accesses(report):
    """Returns "FILE:LINE" in the sources for each access in the first report of a sanitizer."""
    names = "|".join(re.escape(source.name) for source in SOURCES)
    undefined = re.search(rf"/({names}):(\d+):\d+: runtime error", report)
    if undefined:
        return [f"{undefined[1]}:{undefined[2]}"]
    places = []
    searching = False
    for line in report.partition("SUMMARY")[0].splitlines():
        frame = re.match(r"\s*#(\d+) ", line)
        if not frame:
            continue
        if frame[1] == "0":
            searching = True
        place = re.search(rf"/({names}):(\d+)", line)
        if searching and place:
            places.append(f"{place[1]}:{place[2]}")
            searching = False
    # Further stacks show where memory was allocated and threads were created.
    return places[:2] if "data race" in report else places[:1]


class Checker:
    def __init__(self, program):
        self.program = program
        self.failures = 0

    def run(self, name):
        result = subprocess.run([self.program, name], capture_output=True, text=True)
        return result.returncode, result.stderr

    def expect(self, name, right, status, report):
        print(f"{name}: {'as expected' if right else 'NOT AS EXPECTED'}")
        if not right:
            print(f"exit status {status}, report:\n{report}")
            self.failures += 1

    def check_stopped(self, name, text):
        status, report = self.run(name)
        self.expect(name, status != 0 and text in report, status, report)

    def check_accused(self, name, mark):
        status, report = self.run(name)
        places = accesses(report)
        right = status != 0 and places and set(places) <= marked_lines(mark)
        self.expect(name, right, status, report)


def main():
    program, sanitizers = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    checker = Checker(program)
    status, report = checker.run("none")
    checker.expect("none", status == 0 and not report, status, report)
    for name, text in STOPPED.items():
        checker.check_stopped(name, text)
    if "address" in sanitizers:
        for name in OVERRUNS:
            checker.check_accused(f"overrun_{name}", f"overrun: {name}")
    if "undefined" in sanitizers:
        checker.check_accused("misaligned_vector", "misaligned: vector")
    if "thread" in sanitizers:
        for name in RACES:
            checker.check_accused(f"race_{name}", f"race: {name}")
    return 1 if checker.failures else 0


if __name__ == "__main__":
    sys.exit(main())
