"""Runs the test programs on the GPU in parallel, each with a limit, and a failing one once more alone."""
import os
import re
import shutil

from .binaries import CUDNN_LIBRARY, NCCL_LIBRARY
from .check import Skipped, find_tool
from .processes import SHARE

SUITE_SECONDS = 90
ALONE_SECONDS = 45
MEMCHECK_SECONDS = 60
AGAIN_SHARE = 0.15   # share of the time left for a suite that is run again
MOST_RERUNS = 3      # failing suites of one step that are run again
MOST_CASES = 6       # failing cases that are shown and run again
MEMCHECK_ERROR = 86  # exit status of compute-sanitizer if it found an error

CASES = re.compile(r"^\[doctest\] test cases: +(\d+) \| +(\d+) passed \| +(\d+) failed", re.MULTILINE)
CASE_OF_ERROR = re.compile(r"^TEST CASE:  (.+?)$(?:(?!^TEST CASE:  |^={20}).)*?"
                           r"^([^\n]*(?:ERROR|crashed)[^\n]*)$", re.MULTILINE | re.DOTALL)


def failing_cases(text):
    """Returns {case: first line of its first error} from the output of a doctest program."""
    found = {}
    for match in CASE_OF_ERROR.finditer(text):
        found.setdefault(match.group(1).strip(), match.group(2).strip())
    return found


def counted(text):
    """Returns (cases that ran, cases that failed), or None if the program did not reach its end."""
    match = None
    for match in CASES.finditer(text):
        pass
    return (int(match.group(1)), int(match.group(3))) if match else None


def case_filter(cases):
    """Returns doctest's option for these cases. A comma in a name becomes a wildcard, because commas separate
    names."""
    return "-tc=" + ",".join(re.sub(r"[,\\]", "?", case) for case in cases)


def words_of(check, suite, *more):
    """Returns the command that starts the program with line-buffered output, so that the lines of a killed
    program are not lost."""
    unbuffered = [shutil.which("stdbuf"), "-oL"] if shutil.which("stdbuf") else []
    return [*unbuffered, check.program(f"test_{suite}"), "-d=true", *more]


def suite_command(check, suite, backend, *more, limit=SUITE_SECONDS, **environment):
    if backend:
        environment["SCULPT_TEST_BACKEND"] = f"cuda-{backend}"
    name = f"{suite} {backend}".strip()
    return check.command(name, words_of(check, suite, *more), limit, environment)


def parallel_suites():
    return max(2, min(6, (os.cpu_count() or 2) // 2))


def report_suite(check, result):
    """Reports a suite in one line, and the first error of each failing case."""
    counts = counted(result.text)
    note = f"{counts[0]} cases, {counts[1]} failed" if counts else "it did not reach its end"
    if result.ok and not counts:
        note = "it printed no count of cases"
        result.outcome = "no result"
    elif result.ok and counts[0] == 0:
        note = "no case of it is meant for this backend"
    check.outcome(result, note)
    for case, error in list(failing_cases(result.text).items())[:MOST_CASES]:
        check.report.item(f"failing case: {case}: {error}")


def again_alone(check, result, suite, backend, chosen=()):
    """Runs a failing suite again with kernels launched one by one, and under memcheck. Runs only the cases
    that failed; if none is known, the cases that were chosen; else all cases."""
    cases = list(failing_cases(result.text))[:MOST_CASES] or chosen
    chosen = [case_filter(cases)] if cases else []
    alone = suite_command(check, suite, backend, *chosen, limit=ALONE_SECONDS,
                          SCULPT_CUDA_SYNC="1")
    alone.share = AGAIN_SHARE
    alone.name += " again, alone, with SCULPT_CUDA_SYNC=1"
    report_suite(check, check.runner.run(alone))
    tool = find_tool("compute-sanitizer")
    if tool is None:
        check.report.item("memcheck of it: skipped, there is no compute-sanitizer")
        return
    memcheck(check, tool, suite, backend, chosen, MEMCHECK_SECONDS, share=AGAIN_SHARE)


def memcheck(check, tool, suite, backend, more, limit, kind="memcheck", share=SHARE):
    """Runs cases under compute-sanitizer. Returns True if it printed a verdict."""
    command = suite_command(check, suite, backend, *more, limit=limit)
    command.share = share
    # The sanitizer must start the program itself. stdbuf works by environment variables and stays in front.
    place = command.words.index(str(check.program(f"test_{suite}")))
    command.words[place:place] = [tool, "--tool", kind, "--error-exitcode", str(MEMCHECK_ERROR)]
    command.name += f" under {kind}"
    result = check.runner.run(command)
    found = re.search(r"ERROR SUMMARY: (\d+) error", result.text)
    counts = counted(result.text)
    if found and found.group(1) != "0":
        note = f"{kind} found {found.group(1)} errors"
    elif found:
        note = f"{kind} found nothing" + (f", {counts[0]} cases" if counts else "")
    else:
        note = f"{kind} printed no summary"
        result.outcome = "no result" if result.ok else result.outcome
    check.outcome(result, note)
    return found is not None


def run_suites(check, pairs):
    """Runs (suite, backend) pairs. Runs failing ones again afterwards."""
    pairs = [(suite, backend) for suite, backend in pairs if check.has(f"test_{suite}")]
    if not pairs:
        raise Skipped("none of its test programs is there")
    commands = [suite_command(check, suite, backend) for suite, backend in pairs]
    results = check.runner.run_all(commands, parallel_suites(),
                                   done=lambda result: report_suite(check, result))
    failed = [(result, pair) for result, pair in zip(results, pairs) if not result.ok]
    for result, pair in failed[:MOST_RERUNS]:
        if check.runner.seconds_left() > 5:
            again_alone(check, result, *pair)
    if len(failed) > MOST_RERUNS:
        check.report.item(f"{len(failed) - MOST_RERUNS} more failing suites were not run again")


# --- the steps -------------------------------------------------------------------------------------

def fragments(check):
    result = check.runner.run(suite_command(check, "fragments", "", limit=40))
    report_suite(check, result)


def one_convolution(check):
    cases = "-tc=conv2d: layers of the usual networks*"
    tool = find_tool("compute-sanitizer")
    if tool is not None and memcheck(check, tool, "kernels", "bf16", [cases], 75):
        return
    why = "there is no compute-sanitizer" if tool is None else "compute-sanitizer gave no verdict"
    check.report.item(f"{why}; kernels are run one by one instead")
    command = suite_command(check, "kernels", "bf16", cases, limit=60, SCULPT_CUDA_SYNC="1")
    report_suite(check, check.runner.run(command))


def bf16(check):
    run_suites(check, [("kernels", "bf16"), ("cuda", "bf16"), ("ops", "bf16"), ("train", "bf16"),
                       ("run", "bf16"), ("sparse", "fp32"), ("nn", "fp32")])


def other_precisions(check):
    run_suites(check, [(suite, precision) for precision in ("fp32", "tf32")
                       for suite in ("kernels", "cuda", "ops")] + [("train", "fp32")])


def real_sizes(check):
    """Runs every network separately, so that a large one that fails or hangs does not affect others."""
    listed = check.runner.run(suite_command(check, "cuda", "bf16", "-ltc", "-tc=real sizes*", limit=20))
    cases = [line.strip() for line in listed.text.splitlines() if line.startswith("real sizes")]
    if not listed.ok:
        check.outcome(listed)
        cases = ["real sizes*"]
    if not cases:
        raise Skipped("this build of test_cuda has no cases for real sizes")
    for case in cases:
        command = suite_command(check, "cuda", "bf16", case_filter([case]))
        command.name = case
        result = check.runner.run(command)
        report_suite(check, result)
        if not result.ok and check.runner.seconds_left() > 5:
            again_alone(check, result, "cuda", "bf16", [case])


def libraries(check):
    if not check.has(CUDNN_LIBRARY):
        raise Skipped(f"there is no {CUDNN_LIBRARY}: it was built without cuDNN")
    run_suites(check, [(suite, f"{precision}-cudnn") for precision in ("bf16", "fp32", "tf32")
                       for suite in ("kernels", "ops")]
               + [("kernels", "bf16-auto"), ("train", "bf16-cudnn"), ("train", "bf16-auto")])


def collectives(check):
    """One rank of NCCL, whose sums are part of recorded steps. The suite leaves these cases out unless they are
    asked for, because it may run where there is no NCCL."""
    if not check.has(NCCL_LIBRARY):
        raise Skipped(f"there is no {NCCL_LIBRARY}: it was built without NCCL")
    report_suite(check, check.runner.run(suite_command(check, "cuda", "bf16", "-tc=nccl*", "--no-skip")))


def sanitizer(check):
    tool = find_tool("compute-sanitizer")
    if tool is None:
        raise Skipped("there is no compute-sanitizer")
    # These cases launch few blocks. racecheck is the slower of the two tools.
    memcheck(check, tool, "kernels", "bf16", [], 120)
    memcheck(check, tool, "kernels", "bf16", [
        "-tc=conv2d: layers*,batch norm*,linear*,segmented ranking*,pruning*"], 120, "racecheck")
    memcheck(check, tool, "cuda", "bf16", ["-tc=step graph*"], 90)
