"""Processes that run training steps on request, for benchmarks that alternate them: the protocol on
both sides, and what a report says about the machine.

A worker prints {"ready": true, ...}; `run K` is answered by {"seconds": s, "images": n,
"peak_memory_bytes": b}; `quit` or the end of input ends it. One line of JSON per answer.
`sculpt_bench serve` is such a worker, too.
"""
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


# --- the worker's side --------------------------------------------------------------------------

def peak_memory_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def answer(value):
    print(json.dumps(value), flush=True)


def serve(step, images, hello):
    """Answers the driver until it quits; a step trains on so many `images`."""
    answer({"ready": True, "memory_before_bytes": peak_memory_bytes(), **hello})
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        started = time.perf_counter()
        for _ in range(int(words[1])):
            step()
        answer({"seconds": time.perf_counter() - started, "images": images * int(words[1]),
                "peak_memory_bytes": peak_memory_bytes()})


# --- the driver's side --------------------------------------------------------------------------

class Child:
    """A worker process and its protocol."""

    def __init__(self, name, command, environment=None):
        self.name, self.command = name, command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, **(environment or {})})
        self.hello = self._read()
        if not self.hello.get("ready"):
            raise RuntimeError(f"{name}: expected ready, got {self.hello}")
        self.peak = 0

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended (status {self.process.wait()}): "
                               f"{' '.join(self.command)}")
        return json.loads(line)

    def run(self, steps):
        """Seconds per step over a block of steps."""
        self.process.stdin.write(f"run {steps}\n")
        self.process.stdin.flush()
        reply = self._read()
        self.peak = max(self.peak, reply["peak_memory_bytes"])
        return reply["seconds"] / steps

    def quit(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in
                Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
               platform.processor())
    git = lambda *words: subprocess.run(  # noqa: E731
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "processors": os.cpu_count(), "system": platform.platform(),
            "load_average_before": os.getloadavg()[0], "commit": git("rev-parse", "HEAD"),
            "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def warn_if_busy(about):
    load = about["load_average_before"]
    if load > 0.5:
        print(f"warning: the machine is busy (load {load:.1f}); ratios measured now mean little",
              file=sys.stderr)


def about_line(report):
    """Command, date, commit and machine, for the head of a table."""
    about = report["machine"]
    return (f"`{report['command']}`, {about['date']}, commit {about['commit'][:12]}"
            f"{' with local changes' if about['modified'] else ''}; {about['cpu']}, "
            f"{about['processors']} processors, {about['system']}; load before the start "
            f"{about['load_average_before']:.2f}.")
