#!/usr/bin/env python3
"""The cable of a host is cut, and the job ends. The hosts are network namespaces of this machine, joined by a
bridge in a namespace of its own, so that nothing reaches the network of the machine.

This needs root, or the capabilities to make namespaces; the test is skipped, and says so, without them.
"""
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

import on_ranks
from faults_test import LIVENESS, PROGRAM, SLACK, alive

SHELL = Path(__file__).resolve().with_name("rsh_to_namespace.sh")
NAME = f"sculpt{os.getpid()}"
# How long the rank beside mpirun waits for mpirun's end before it ends mpirun.
PATIENCE = 8


def ip(*words):
    return subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)


class Hosts:
    """Namespaces NAME0, NAME1, ... with the addresses 10.77.0.1, 10.77.0.2, ..."""

    def __init__(self, count):
        self.switch = NAME + "sw"
        self.names = [f"{NAME}n{i}" for i in range(count)]
        for name in [self.switch, *self.names]:
            self.run("netns", "add", name)
        self.run("-n", self.switch, "link", "add", "name", "sw0", "type", "bridge")
        self.run("-n", self.switch, "link", "set", "sw0", "up")
        for i, name in enumerate(self.names):
            self.run("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"port{i}",
                     "netns", self.switch)
            self.run("-n", self.switch, "link", "set", f"port{i}", "master", "sw0", "up")
            self.run("-n", name, "link", "set", "lo", "up")
            self.run("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            self.run("-n", name, "link", "set", "eth0", "up")

    @staticmethod
    def run(*words):
        done = ip(*words)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")

    def set_cable(self, host, state):
        self.run("-n", self.switch, "link", "set", f"port{host}", state)

    def remove(self):
        for name in [*self.names, self.switch]:
            for process in ip("netns", "pids", name).stdout.split():
                os.kill(int(process), signal.SIGKILL)  # daemons of mpirun that lost their host
            ip("netns", "del", name)


class Job:
    """One rank on each host. The ranks reach each other by TCP only."""

    def __init__(self, hosts, steps):
        line = [SHELL, hosts.names[0], "mpirun", "--mca", "plm_rsh_agent", SHELL,
                "--mca", "plm_rsh_no_tree_spawn", 1, "--mca", "plm", "^slurm", "--mca", "ras", "^slurm",
                "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "eth0",
                "--mca", "oob_tcp_if_include", "eth0", "--bind-to", "none", "--host", ",".join(hosts.names),
                PROGRAM, LIVENESS, 60, steps, 1, "none"]
        self.process = subprocess.Popen([str(word) for word in line], env=on_ranks.environment(),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.processes = [int(self.process.stdout.readline().split()[1]) for _ in hosts.names]


class Cut(unittest.TestCase):
    def setUp(self):
        self.addCleanup(lambda: self.hosts.remove())
        self.hosts = Hosts(3)

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
        print(f"mpirun ended after {seconds:.2f} s with exit code {job.process.returncode}", *said,
              sep="\n    ", flush=True)
        self.assertNotIn("finished", out)
        self.assertNotEqual(job.process.returncode, 0)
        self.assertLess(seconds, LIVENESS + PATIENCE + SLACK)
        self.assertIn(f"rank 2 on {self.hosts.names[2]} (process {job.processes[2]}) has given no sign of life",
                      err)
        end = time.monotonic() + 5
        while any(map(alive, job.processes)) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(any(map(alive, job.processes)), "a rank lives on")

    def test_a_cable_that_is_mended_in_time(self):
        job = self.start(200)
        self.hosts.set_cable(1, "down")
        time.sleep(LIVENESS / 2)
        self.hosts.set_cable(1, "up")
        out, err = job.process.communicate(timeout=60)
        self.assertEqual(job.process.returncode, 0, err)
        self.assertIn("finished", out)


def why_no_namespaces():
    for tool in ("ip", "unshare"):
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    try:
        hosts = Hosts(1)
    except OSError as error:
        ip("netns", "del", f"{NAME}n0")
        ip("netns", "del", f"{NAME}sw")
        return f"this machine does not let us make network namespaces ({error})"
    hosts.remove()
    return None


if __name__ == "__main__":
    reason = on_ranks.why_skipped(PROGRAM) or why_no_namespaces()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(on_ranks.SKIPPED)
    # One case after the other, because both use the same names.
    unittest.main(verbosity=2)
