#!/usr/bin/env python3
"""Runs a program on ranks of this machine, as on a machine with enough processors.

usage: on_ranks.py COUNT PROGRAM [ARGUMENT]...

The exit code is that of the launcher. It is 77, which CTest reads as skipped, where there is no launcher or
where the program was built without MPI. With the variable SCULPT_TEST_RANKS_BY=sockets, the ranks need no MPI.
"""
import os
import shutil
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SKIPPED = 77
BY_SOCKETS = os.environ.get("SCULPT_TEST_RANKS_BY") == "sockets"
# Ranks that wait yield their processor, because there may be more ranks than processors. Open MPI knows this
# only if it knows the number of processors.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
# MPI itself leaks, takes its locks in different orders, and is not instrumented.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "TSAN_OPTIONS": "detect_deadlocks=0:ignore_noninstrumented_modules=1",
}


def environment():
    variables = dict(os.environ, **ENVIRONMENT)
    for name, option in SANITIZERS.items():
        variables[name] = ":".join(filter(None, [os.environ.get(name), option]))
    return variables


def why_skipped(program):
    """Returns why there can be no ranks here, or None."""
    if BY_SOCKETS:
        return None
    if shutil.which("mpirun") is None:
        return "there is no mpirun (package openmpi-bin)"
    if not (Path(program).parent / "libsculpt_mpi.so").exists():
        return "the programs were built without MPI (package libopenmpi-dev)"
    return None


START_RANKS = [sys.executable, "-B", str(Path(__file__).with_name("start_ranks.py"))]


def command(count, program, *words, seconds=None):
    """Returns the command that starts a program on ranks. They are ended after so many seconds."""
    limit = ["--timeout", str(seconds)] if seconds else []
    if BY_SOCKETS:
        launcher = [*START_RANKS, *limit, str(count)]
    else:
        launcher = ["mpirun", *limit, "-n", str(count), "--bind-to", "none"]
    return [*launcher, str(program), *map(str, words)]


def ranks_by():
    """Returns the name of what connects the ranks, for --ranks-by."""
    return "sockets" if BY_SOCKETS else "mpi"


def state_of(process):
    """Returns the letter of the process's state: T if it is stopped, "" if it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0].replace("Z", "")
    except OSError:
        return ""


def parent_of(process):
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def rank_of(process):
    """Returns the rank that a launcher has given the process, or None."""
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    for variable in variables:
        if variable.startswith((b"OMPI_COMM_WORLD_RANK=", b"SCULPT_RANK=")):
            return int(variable.split(b"=")[1])
    return None


def descendants(process):
    """Returns the processes that the process has started, directly or through others."""
    parents = {int(entry.name): parent_of(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def ranks_of(launcher):
    """Returns {rank: process} of the ranks that a launcher has started."""
    ranks = {rank_of(process): process for process in descendants(launcher)}
    ranks.pop(None, None)
    return ranks


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def run_cases(program, classes):
    """Runs the cases of test classes that need ranks. Returns an exit code."""
    reason = why_skipped(program)
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    return run_in_parallel(classes)


def run_in_parallel(classes):
    """Runs the cases of test classes, or those that the command line names, several at a time, because they
    mostly wait. Returns an exit code."""
    cases = [case for tests in classes for case in unittest.defaultTestLoader.loadTestsFromTestCase(tests)
             if not sys.argv[1:] or case.id().split(".")[-1] in sys.argv[1:]]

    def run(case):
        result = unittest.TestResult()
        case.run(result)
        for _, text in result.failures + result.errors:
            print(f"FAILED: {case.id()}\n{text}", flush=True)
        for _, why in result.skipped:
            print(f"skipped: {case.id()}: {why}", flush=True)
        return result.testsRun == 1 and result.wasSuccessful()

    with ThreadPoolExecutor(6) as pool:
        passed = list(pool.map(run, cases))
    print(f"{sum(passed)} of {len(passed)} cases passed")
    return 0 if passed and all(passed) else 1


def main():
    count, program, *words = sys.argv[1:]
    reason = why_skipped(program)
    if count != "1" and reason:
        print(f"skipped: {reason}")
        return SKIPPED
    # One rank needs no launcher.
    line = command(count, program, *words) if count != "1" else [program, *words]
    return subprocess.run(line, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
