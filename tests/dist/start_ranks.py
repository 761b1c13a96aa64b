#!/usr/bin/env python3
"""Starts a program on ranks that find each other over sockets, as a batch system without MPI does.

usage: start_ranks.py [--timeout SECONDS] [--hosts NAME,...] COUNT PROGRAM [ARGUMENT]...

The ranks find each other by a file in a temporary folder. Hosts are network namespaces, which the ranks take in
turns. If a rank fails, the others get two seconds to end by
themselves. The exit code is that of the rank that failed first; a rank that has ended because of another one
(exit code 76) does not count if another code is there.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

RANK_LOST = 76
PATIENCE = 2


# Runs a command as on a host that is a network namespace, and that has the namespace's name.
ON_HOST = """exec ip netns exec "$0" unshare --uts bash -c 'hostname "$0"; exec "$@"' "$0" "$@" """


def start(folder, count, hosts, command):
    ranks = []
    for rank in range(count):
        host = hosts[rank % len(hosts)] if hosts else None
        variables = dict(os.environ, SCULPT_RANK=str(rank), SCULPT_RANKS=str(count), SCULPT_LOCAL_RANK=str(rank),
                         SCULPT_RENDEZVOUS=f"file:{folder}", SCULPT_JOB="test")
        line = ["bash", "-c", ON_HOST, host, *command] if host else command
        ranks.append(subprocess.Popen(line, env=variables, stdin=subprocess.DEVNULL))
    return ranks


def wait(ranks, end):
    """Waits for all ranks, and returns the exit codes other than 0 in the order in which the ranks ended."""
    running, failures = list(ranks), []
    while running:
        time.sleep(0.005)
        for process in list(running):
            code = process.poll()
            if code is None:
                continue
            running.remove(process)
            if code != 0:
                failures.append(code if code > 0 else 128 - code)
                end = min(end, time.monotonic() + PATIENCE)
        if time.monotonic() > end:
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait()
            return failures or [124]
    return failures


def main():
    words = sys.argv[1:]
    seconds, hosts = 3600, []
    while words[0].startswith("--"):
        if words[0] == "--timeout":
            seconds = float(words[1])
        else:
            hosts = words[1].split(",")
        words = words[2:]
    with tempfile.TemporaryDirectory(prefix="sculpt-rendezvous-") as folder:
        failures = wait(start(folder, int(words[0]), hosts, words[1:]), time.monotonic() + seconds)
        left = os.listdir(folder)
    if left:
        print(f"start_ranks.py: the ranks have left {left}", file=sys.stderr)
        return 1
    own = [code for code in failures if code != RANK_LOST]
    return (own or failures or [0])[0]


if __name__ == "__main__":
    sys.exit(main())
