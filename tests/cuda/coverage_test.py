#!/usr/bin/env python3
"""Every CUDA kernel is launched by the kernels' tests.

usage: coverage_test.py TEST_PROGRAM     runs it in bf16 on the host layer; prints the kernels of
                                         kernels/cuda that it never launched, and fails if there are
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^()]*\)\s*)?(\w+)\s*\(")


def kernels_of_sources():
    """Returns {(file, kernel)} for all kernels."""
    found = set()
    for path in sorted((ROOT / "kernels" / "cuda").rglob("*.[ch]*")):
        for name in KERNEL.findall(path.read_text()):
            found.add((path.name, name))
    return found


def launched_by(program):
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "launches"
        subprocess.run([program], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "SCULPT_TEST_BACKEND": "cuda-bf16",
                            "SCULPT_HOST_LAUNCHES": str(log)})
        # "(forward<T, 4>)" or "scan_kernel"
        return {re.match(r"\(*(\w+)", line)[1] for line in log.read_text().splitlines()}


def main():
    kernels, launched = kernels_of_sources(), launched_by(sys.argv[1])
    unknown = launched - {name for _, name in kernels}
    if unknown or not kernels:
        sys.exit(f"error: launched, but not found in the sources: {sorted(unknown)}")
    untested = sorted(f"{name} ({file})" for file, name in kernels if name not in launched)
    print(f"{len(kernels)} kernels, without a test: {', '.join(untested) or 'none'}")
    return 1 if untested else 0


if __name__ == "__main__":
    sys.exit(main())
