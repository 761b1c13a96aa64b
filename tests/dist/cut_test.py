#!/usr/bin/env python3
"""The cable of a host is cut, and the job ends. The hosts are network namespaces of this machine, joined by a
bridge in a namespace of its own, so that nothing reaches the network of the machine.

This needs root, or the capabilities to make namespaces; the test is skipped, and says so, without them.
"""
import subprocess
import sys
import time
import unittest
from pathlib import Path

import on_ranks
from faults_test import LIVENESS, PROGRAM, SLACK
from on_ranks import state_of, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from namespace_hosts import Hosts, mpirun, why_no_namespaces  # noqa: E402

# How long the rank beside mpirun waits for mpirun's end before it ends mpirun.
PATIENCE = 8


class Job:
    """One rank on each host. The ranks reach each other by TCP only."""

    def __init__(self, hosts, steps):
        words = [PROGRAM, LIVENESS, 60, steps, 1, "none"]
        if on_ranks.BY_SOCKETS:
            names = hosts.names
            line = [str(word) for word in (*on_ranks.START_RANKS, "--hosts", ",".join(names), len(names), *words)]
        else:
            line = mpirun(hosts, *words)
        self.process = subprocess.Popen(line, env=on_ranks.environment(),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.processes = [int(self.process.stdout.readline().split()[1]) for _ in hosts.names]


class Cut(unittest.TestCase):
    def setUp(self):
        self.hosts = Hosts(3)
        self.addCleanup(self.hosts.remove)

    def start(self, steps):
        job = Job(self.hosts, steps)
        self.addCleanup(job.process.kill)
        return job

    def test_a_host_is_cut_off(self):
        job = self.start(100_000)
        time.sleep(0.5)
        begin = time.monotonic()
        self.hosts.set_cable(2, "down")
        out, err = job.process.communicate(timeout=60)
        seconds = time.monotonic() - begin
        said = [line for line in err.splitlines() if line.startswith("error: ")]
        print(f"the job ended after {seconds:.2f} s with exit code {job.process.returncode}", *said,
              sep="\n    ", flush=True)
        self.assertNotIn("finished", out)
        self.assertNotEqual(job.process.returncode, 0)
        self.assertLess(seconds, LIVENESS + PATIENCE + SLACK)
        self.assertIn(f"rank 2 on {self.hosts.names[2]} (process {job.processes[2]}) has given no sign of life",
                      err)
        self.assertTrue(wait_until(lambda: not any(map(state_of, job.processes)), 5), "a rank lives on")

    def test_a_cable_that_is_mended_in_time(self):
        job = self.start(200)
        self.hosts.set_cable(1, "down")
        time.sleep(LIVENESS / 2)
        self.hosts.set_cable(1, "up")
        out, err = job.process.communicate(timeout=60)
        self.assertEqual(job.process.returncode, 0, err)
        self.assertIn("finished", out)


if __name__ == "__main__":
    reason = on_ranks.why_skipped(PROGRAM) or why_no_namespaces()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(on_ranks.SKIPPED)
    # One case runs after the other, because the namespaces of both have the same names.
    unittest.main(verbosity=2)
