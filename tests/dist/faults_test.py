#!/usr/bin/env python3
"""A rank that is killed, stopped, cut off or hanging ends the whole job in time, with a message that names it.

FAULT_RANKS names the program (faults/main.cpp). The limits are short here, so that the tests are: 2 seconds for
a sign of life, 5 for a rank that computes while others wait.
"""
import os
import re
import signal
import subprocess
import sys
import time
import unittest

import on_ranks
from on_ranks import state_of, wait_until

PROGRAM = os.environ.get("FAULT_RANKS", "")
LIVENESS, COLLECTIVE = 2, 5
RANK_LOST = 76
# Open MPI itself needs up to a second and a half to end a job. The rest is for a busy machine.
SLACK = 6


class Job:
    """A running job. `processes` are those of the ranks."""

    def __init__(self, count, fault="none", rank=1, steps=40):
        words = [LIVENESS, COLLECTIVE, steps, rank, fault]
        # The launcher ends a job that nobody has ended: a safety net for the test itself.
        line = on_ranks.command(count, PROGRAM, *words, seconds=60)
        self.process = subprocess.Popen(line, env=on_ranks.environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        places = [self.process.stdout.readline().split() for _ in range(count)]
        self.processes = [int(place[1]) for place in places]
        self.hosts = [place[3] for place in places]

    def wait_for_the_fault(self):
        """Waits for the line that announces the fault and its time, at which the clock starts.

        The launcher can lose that line where the rank ends at once. The end of the output starts the clock then.
        """
        for line in self.process.stdout:
            if line.startswith("fault"):
                self.begin = float(line.split()[1])
                return
        self.begin = time.monotonic()

    def end(self):
        """Waits for the end. Returns exit code, seconds since the fault, standard output and error."""
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, time.monotonic() - self.begin, out, err

    def name(self, rank):
        return f"rank {rank} on {self.hosts[rank]} (process {self.processes[rank]})"

    def gone(self):
        """Returns true if no rank is alive any more, after giving them a moment to end."""
        return wait_until(lambda: not any(map(state_of, self.processes)), 5)


class Faults(unittest.TestCase):
    def start(self, *words, **options):
        job = Job(*words, **options)
        self.addCleanup(job.process.kill)
        return job

    def check_end(self, job, code, least, most, *parts):
        """Checks that the job ends with the code, within `least` to `most` seconds, and says all parts."""
        returned, seconds, out, err = job.end()
        said = [f"\n    {line}" for line in err.splitlines() if line.startswith("error: ")]
        print(f"{self._testMethodName} with {len(job.processes)} ranks: exit code {returned} after "
              f"{seconds:.2f} s{''.join(said)}", flush=True)
        self.assertNotIn("finished", out)
        if code is None:
            self.assertNotEqual(returned, 0)
        else:
            self.assertEqual(returned, code, err)
        self.assertGreaterEqual(seconds, least)
        self.assertLess(seconds, most + SLACK)
        for part in parts:
            self.assertIn(part, err)
        self.assertTrue(job.gone(), "a rank lives on")
        return err

    def each(self, ranks_of_count):
        for count, ranks in ranks_of_count.items():
            for rank in ranks:
                with self.subTest(ranks=count, faulty=rank):
                    yield count, rank

    def test_killed(self):
        for count, rank in self.each({2: [1], 4: [0]}):
            job = self.start(count, steps=10_000)
            job.begin = time.monotonic()
            os.kill(job.processes[rank], signal.SIGKILL)
            # MPI's launcher notices, and names the rank and its host.
            self.check_end(job, None, 0, 2, f"rank {rank} ", job.hosts[rank])

    def test_stopped(self):
        for count, rank in self.each({2: [0, 1], 4: [0, 2]}):
            job = self.start(count, steps=10_000)
            job.begin = time.monotonic()
            os.kill(job.processes[rank], signal.SIGSTOP)
            err = self.check_end(job, RANK_LOST, LIVENESS - 1, LIVENESS + 1,
                                 f"{job.name(rank)} has given no sign of life for 2 s")
            self.assertEqual(len(re.findall("^error: ", err, re.M)), 1, err)

    def test_stopped_for_a_moment(self):
        for count, rank in self.each({2: [0, 1], 4: [0, 3]}):
            job = self.start(count, steps=60)
            job.begin = time.monotonic()
            os.kill(job.processes[rank], signal.SIGSTOP)
            time.sleep(LIVENESS / 2)
            os.kill(job.processes[rank], signal.SIGCONT)
            code, _, out, err = job.end()
            self.assertEqual(code, 0, err)
            self.assertIn("finished", out)

    def test_all_stopped_for_long(self):
        # As by the batch system, or by Ctrl-Z. Nobody is to blame.
        job = self.start(4, steps=100)
        job.begin = time.monotonic()
        for process in job.processes:
            os.kill(process, signal.SIGSTOP)
        time.sleep(LIVENESS + 1)
        for process in job.processes:
            os.kill(process, signal.SIGCONT)
        code, _, out, err = job.end()
        self.assertEqual(code, 0, err)
        self.assertIn("finished", out)

    def test_hanging(self):
        for count, rank in self.each({2: [0], 4: [3]}):
            job = self.start(count, "hang", rank)
            job.wait_for_the_fault()
            self.check_end(job, RANK_LOST, LIVENESS - 0.5, LIVENESS + 1,
                           f"{count - 1} of {count} ranks wait in a sum of 1,000 floats",
                           f"but {job.name(rank)} has not come there and has used no processor for 2 s")

    def test_computing_for_ever(self):
        job = self.start(2, "spin")
        job.wait_for_the_fault()
        self.check_end(job, RANK_LOST, COLLECTIVE - 0.5, COLLECTIVE + 1,
                       f"but {job.name(1)} has not come there for 5 s")

    def test_computing_alone_is_no_fault(self):
        job = self.start(2, "slow")
        job.wait_for_the_fault()
        code, seconds, out, err = job.end()
        self.assertEqual(code, 0, err)
        self.assertIn("finished", out)
        self.assertGreater(seconds, LIVENESS)

    def test_ended_without_finishing(self):
        for fault, code in (("exit", 5), ("leave", 1), ("abort", 9)):
            with self.subTest(fault=fault):
                job = self.start(2, fault)
                job.wait_for_the_fault()
                parts = {"exit": [], "leave": [f"error: {job.name(1)}: this rank has ended before the others"],
                         "abort": [f"error: {job.name(1)}: a reason"]}[fault]
                self.check_end(job, code, 0, 3, *parts)

    def test_ranks_that_come_apart(self):
        job = self.start(2, "apart", steps=300)
        job.wait_for_the_fault()
        self.check_end(job, 1, 0, 3, f"error: {job.name(1)} has called the communicator in another order than "
                       f"{job.name(0)}", "a mistake of the program")

    def test_an_error_of_all_ranks_shows_once(self):
        job = self.start(4, "shared")
        job.wait_for_the_fault()
        err = self.check_end(job, 8, 0, 3, "error: every rank says so\n")
        self.assertEqual(err.count("every rank says so"), 1, err)

    def test_killed_launcher(self):
        job = self.start(4, steps=10_000)
        job.begin = time.monotonic()
        job.process.kill()
        self.assertTrue(job.gone(), "ranks live on without their launcher")
        job.process.communicate()


if __name__ == "__main__":
    sys.exit(on_ranks.run_cases(PROGRAM, [Faults]))
