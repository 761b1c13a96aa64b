#!/usr/bin/env python3
"""What goes wrong on a GPU, in NCCL or in a rank that uses it ends the whole job in time, with a message that
says why.

usage: faults_test.py [CASE]...
       faults_test.py --table FILE      also writes a table of faults, ends, messages and times

NCCL_FAULT_RANKS names the program (faults/main.cpp). The limits are short here, so that the tests are: 2 seconds
for a sign of life (and 12 to connect), 3 for a wait for the GPU. The fault of a case happens in a replay, if the
text does not say otherwise.
"""
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dist"))
import on_ranks  # noqa: E402

PROGRAM = os.environ.get("NCCL_FAULT_RANKS", "")
LIVENESS, COLLECTIVE = 2, 3
CONNECT = 6 * LIVENESS
ABORT = 3  # seconds that ncclCommAbort may take
FAILED, RANK_LOST, WRONG_SUM = 1, 76, 4
# MPI needs up to a second and a half to end a job. The rest is for a busy machine.
SLACK = 6
IN_STEP_6 = 1 + 3 * 6  # execution of the first sum of step 6
IN_STEP_1 = 1 + 3 * 1  # call of the first sum of step 1, which is launched

TABLE = []


class Job:
    """A running job on `count` ranks with a fault of the stand-in."""

    def __init__(self, count, fault="", mode="steps", collective=COLLECTIVE):
        # The launcher ends a job that nobody has ended: a safety net for the test itself.
        line = on_ranks.command(count, PROGRAM, LIVENESS, collective, mode, seconds=60)
        self.prefix = f"nccl-standin-{uuid.uuid4().hex}"
        environment = dict(on_ranks.environment(), NCCL_STANDIN_FAULT=fault, NCCL_STANDIN_PREFIX=self.prefix)
        self.process = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        places = [self.process.stdout.readline().split() for _ in range(count)]
        if [] in places:
            raise AssertionError(f"the job has not started: {self.process.communicate(timeout=90)[1]}")
        self.processes = [int(place[1]) for place in places]
        self.begin = time.monotonic()

    def wait_for(self, text):
        for line in self.process.stdout:
            if line.startswith(text):
                self.begin = time.monotonic()
                return

    def end(self):
        """Returns exit code, seconds since the fault, and standard output and error."""
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, time.monotonic() - self.begin, out, err


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Faults(unittest.TestCase):
    def check(self, what, fault="", mode="steps", code=RANK_LOST, least=0.0, most=1.0, says=(), act=None,
              count=2, since="fault", by="", collective=COLLECTIVE):
        """Runs a job with a fault and checks how it ends. `most` is the longest time without SLACK."""
        job = Job(count, fault, mode, collective)
        self.addCleanup(job.process.kill)
        if since:
            job.wait_for(since)
        if act:
            act(job)
        returned, seconds, out, err = job.end()
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        print(f"{what}: exit code {returned} after {seconds:.1f} s\n    " + "\n    ".join(errors), flush=True)
        TABLE.append((what, count, by, returned, seconds, errors))
        if code is None:
            self.assertNotIn(returned, (0,), err)
        else:
            self.assertEqual(returned, code, err)
        self.assertEqual("finished" in out, code == 0, out)
        self.assertGreaterEqual(seconds, least)
        self.assertLess(seconds, most + SLACK)
        for text in says:
            self.assertIn(text, err)
        deadline = time.monotonic() + 5
        while any(map(alive, job.processes)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse([p for p in job.processes if alive(p)], "a rank lives on")
        # Ranks that end before all have joined leave the shared memory behind.
        for left in Path("/dev/shm").glob(f"{job.prefix}-*"):
            left.unlink()

    def test_none(self):
        for count in 2, 4:
            self.check("no fault", code=0, most=5, count=count, by="–")

    def test_slow(self):
        self.check("a rank is 0.8 s late", f"1:{IN_STEP_6}:slow=800", code=0, least=0.7, most=5, by="–")

    def test_call_fails(self):
        self.check("a call fails", f"1:{IN_STEP_1}:error", code=FAILED, since="connected", by="the error",
                   says=["rank 1 on", "adding up over the GPUs: NCCL says 'unhandled system error' "
                         "(stand-in: an injected error of the call)"])

    def test_asynchronous_error(self):
        for count in 2, 4:
            self.check("a sum fails on the GPU", f"1:{IN_STEP_6}:async", count=count, by="a look at NCCL",
                       says=["the sums over the GPUs have failed: NCCL says 'remote process exited",
                             "an injected error of another rank"])

    def test_late_error(self):
        self.check("an error is reported after the sum", f"0:{IN_STEP_6}:late", by="a look at NCCL",
                   says=["the sums over the GPUs have failed", "reported late"])

    def test_hang(self):
        for count in 2, 4:
            self.check("a sum never ends", f"1:{IN_STEP_6}:hang", least=COLLECTIVE - 1, most=COLLECTIVE + 1,
                       count=count, by="the deadline of waits",
                       says=["the GPU has not done its work for 3 s", "dist.collective_seconds"])

    def test_hang_of_a_launched_sum(self):
        self.check("a launched sum never ends", f"1:{IN_STEP_1}:hang", least=COLLECTIVE - 1,
                   most=COLLECTIVE + 1, since="connected", by="the deadline of waits",
                   says=["the GPU has not done its work for 3 s"])

    def test_a_rank_stays_away(self):
        self.check("a rank does not come", mode="stay_away", least=LIVENESS - 1, most=LIVENESS + 2,
                   by="the heartbeats", collective=20,
                   says=["1 of 2 ranks wait in a step of the GPUs (call ", "but rank 1 on ",
                         "has not come there and has used no processor for 2 s; ending all ranks"])

    def test_launch_hangs(self):
        self.check("the driver does not return from a launch", mode="launch", since="", most=3,
                   by="the thread that watches", says=["the GPU has not done its work for 3 s"])

    def test_die(self):
        for count in 2, 4:
            self.check("a rank is killed in a sum", f"1:{IN_STEP_6}:die", code=None, most=2, count=count,
                       by="mpirun", says=["rank 1 "])

    def test_stopped(self):
        def stop(job):
            os.kill(job.processes[1], signal.SIGSTOP)
        self.check("a rank is stopped", act=stop, least=LIVENESS - 1, most=LIVENESS + 1, since="connected",
                   by="the heartbeats", says=["has given no sign of life for 2 s"])

    def test_wrong_bit(self):
        self.check("a bit of a sum is wrong", f"1:{IN_STEP_6}:flip", code=WRONG_SUM,
                   by="the test (in a run: hashes of weights)", says=["a wrong sum in step 6"])

    def test_different_collectives(self):
        # Two replays have made their calls by then, so the calls of step 1 are meant.
        self.check("a rank adds fewer values", f"1:{IN_STEP_1}:apart", since="connected", by="a look at NCCL",
                   says=["the ranks call different collectives"])

    def test_other_order(self):
        self.check("a rank adds in another order", f"1:{IN_STEP_1}:reorder", since="connected",
                   by="a look at NCCL", says=["the ranks call different collectives"])

    def test_init_fails(self):
        self.check("connecting fails", "1:0:init", code=FAILED, since="", by="the error",
                   says=["connecting the GPUs of the ranks: NCCL says 'unhandled system error' "
                         "(stand-in: an injected error of the start)"])

    def test_absent(self):
        self.check("a rank does not connect", "1:0:absent", code=FAILED, since="", least=CONNECT - 1,
                   most=CONNECT + 1, by="the deadline of connecting",
                   says=[f"is not connected after {CONNECT} s, because another rank has not come"])

    def test_no_id(self):
        self.check("NCCL gives no id", "0:0:id", code=FAILED, since="", by="the error",
                   says=["naming a group of ranks: NCCL says 'unhandled system error'"])

    def test_abort_hangs(self):
        self.check("a sum fails, and the abort never returns", f"1:{IN_STEP_6}:async,0:0:abort,1:0:abort",
                   least=ABORT - 1, most=ABORT + 1, by="a look at NCCL, then _exit",
                   says=["the sums over the GPUs have failed"])

    def test_finalize_hangs(self):
        self.check("disconnecting never ends", "0:0:finalize,1:0:finalize", least=CONNECT - 1, most=CONNECT + 1,
                   by="the deadline of disconnecting", says=[f"NCCL has not ended after {CONNECT} s"])

    def test_finalize_of_one_rank_hangs(self):
        self.check("disconnecting never ends on one rank", "1:0:finalize", least=COLLECTIVE - 1,
                   most=COLLECTIVE + 1, by="the heartbeats",
                   says=["rank 1 on", "has not come there for 3 s (dist.collective_seconds)"])

    def test_recording_is_kept(self):
        self.check("a recording outlives the connection", mode="keep", least=CONNECT - 1, most=CONNECT + 1,
                   by="the deadline of disconnecting",
                   says=["a recording of a step still holds a sum"])

    def test_array_is_freed(self):
        self.check("a recording uses memory that was freed", mode="free", by="a look at NCCL",
                   says=["a buffer is not memory of the device, or not any more"])


def write_table(path):
    def message(errors):
        text = re.sub(r"^error: (rank \d+ on \S+ \(process \d+\): )?", "", errors[0]) if errors else ""
        return re.sub(r"process \d+", "process …", text.replace("|", "\\|"))
    rows = ["| fault | ranks | ended by | exit code | seconds | message |", "|---|---|---|---|---|---|"]
    for what, count, by, code, seconds, errors in sorted(TABLE, key=lambda row: row[:2]):
        rows.append(f"| {what} | {count} | {by} | {code} | {seconds:.1f} | {message(errors)} |")
    Path(path).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    table = None
    if "--table" in sys.argv:
        at = sys.argv.index("--table")
        table = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    status = on_ranks.run_cases(PROGRAM, [Faults])
    if table:
        write_table(table)
    sys.exit(status)
