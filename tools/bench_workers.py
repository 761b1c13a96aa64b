"""Worker processes that run training steps on request, for benchmarks that alternate them. This module
has both sides of the protocol, and describes the machine for reports.

A worker prints {"ready": true, ...} when it is ready. It answers `run K` by {"seconds": s, "images": n,
"peak_memory_bytes": b}, and ends after `quit` or at the end of its input. Each answer is one line of JSON.
`sculpt_bench serve` is such a worker, too.
"""
import json
import os
import platform
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_NOISE_BYTES = 1 << 20  # limit of other output between two answers
QUIT_SECONDS = 20


# --- the worker's side --------------------------------------------------------------------------

def peak_memory_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def answer(value):
    print(json.dumps(value), flush=True)


def serve(step, images, hello):
    """Answers the driver until it quits. A call of `step` trains on `images` images."""
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
    """A worker process and its protocol. If the worker ends, does not answer in time, or answers
    something else, a RuntimeError names the worker."""

    def __init__(self, name, command, environment=None, ready_seconds=3600, answer_seconds=3600):
        self.name, self.command, self.answer_seconds = name, command, answer_seconds
        self.buffer = b""
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            env={**os.environ, **(environment or {})})
        except OSError as problem:
            raise RuntimeError(f"{name} cannot be started: {problem}") from None
        self.hello = self._read(ready_seconds)
        if not self.hello.get("ready"):
            self._fail(f"expected ready, got {self.hello}")
        self.peak = 0

    def _fail(self, text):
        self.kill()
        raise RuntimeError(f"{self.name}: {text}")

    def _line(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self._fail("no answer in time")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                self.process.stdout.close()
                raise RuntimeError(f"{self.name} ended (status {self._status()}): "
                                   f"{' '.join(self.command)}")
            self.buffer += part
            if len(self.buffer) > MAX_NOISE_BYTES:
                self._fail(f"{len(self.buffer)} bytes of output and no line")
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def _read(self, seconds):
        """Returns the next answer. Skips lines that are not JSON objects, which libraries print."""
        deadline, noise = time.monotonic() + seconds, 0
        while noise <= MAX_NOISE_BYTES:
            line = self._line(deadline)
            try:
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
            except ValueError:  # also raised for wrong UTF-8
                pass
            noise += len(line) + 1
        return self._fail(f"{noise} bytes of output and no answer in it")

    def _status(self):
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            return "unknown"

    def run(self, steps):
        """Runs a block of steps and returns the seconds per step."""
        try:
            self.process.stdin.write(f"run {steps}\n".encode())
            self.process.stdin.flush()
        except OSError:
            pass  # the worker has ended, and reading its answer reports that
        reply = self._read(self.answer_seconds)
        seconds, peak = reply.get("seconds"), reply.get("peak_memory_bytes", 0)
        if not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
            self._fail(f"it says that {steps} steps took {seconds!r} seconds")
        self.peak = max(self.peak, peak) if isinstance(peak, (int, float)) else self.peak
        return seconds / steps

    def quit(self):
        try:
            self.process.stdin.write(b"quit\n")
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(timeout=QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass  # a hung driver holds the process, and waiting longer would hang, too
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass


def models_and_batches(text):
    """Returns [(model, batch)] for "resnet20:128,resnet18:64". A ValueError names a part that is wrong."""
    found = []
    for item in text.split(","):
        model, colon, batch = item.partition(":")
        if not model or not colon or not batch.isdigit() or int(batch) == 0:
            raise ValueError(f"--models {item}: expected MODEL:BATCH")
        found.append((model, int(batch)))
    return found


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
    """Returns a line with command, date, commit and machine for the head of a table."""
    about = report["machine"]
    return (f"`{report['command']}`, {about['date']}, commit {about['commit'][:12]}"
            f"{' with local changes' if about['modified'] else ''}; {about['cpu']}, "
            f"{about['processors']} processors, {about['system']}; load before the start "
            f"{about['load_average_before']:.2f}.")
