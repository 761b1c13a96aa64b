"""Runs commands in such a way that a command that hangs or floods does not harm its caller.

A command has a session of its own, a time limit, a limit on its output, and a mark in its environment.
By the mark, every process that the command has started is found again, even if the process has left the
session. No function here waits without a limit: a process that even SIGKILL does not end (because of a
hung driver) is reported and left behind.
"""
import os
import signal
import subprocess
import time
from pathlib import Path

MARK = "SCULPT_GPU_CHECK_COMMAND"
GRACE_SECONDS = 1.0  # time between SIGTERM, on which a test program names its case, and SIGKILL
KILL_SECONDS = 3.0   # a killed process that still exists after this time is left behind
POLL_SECONDS = 0.03
MAX_OUTPUT_BYTES = 64 << 20
KEPT_BYTES = 256 << 10  # bytes kept of the beginning and of the end of an output
SHARE = 0.3             # largest share of the time left that one command may take
LEAST_SECONDS = 2.0     # a command may take this time in any case


class Stopped(Exception):
    """A signal asked the whole check to end."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopper:
    """Remembers the first SIGTERM, SIGINT or SIGHUP; `check` raises it in the main loop."""

    def __init__(self):
        self.number = None

    def install(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._heard)
        return self

    def _heard(self, number, _frame):
        self.number = self.number or number

    def check(self):
        if self.number is not None:
            raise Stopped(self.number)


def readable(data):
    """Turns any bytes into text. Wrong UTF-8 and control characters become question marks."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)


def read_ends(path):
    """Returns (beginning, end) of a file as text. The end is empty if the beginning has everything."""
    try:
        with open(path, "rb") as file:
            head = file.read(KEPT_BYTES)
            size = os.fstat(file.fileno()).st_size
            if size <= KEPT_BYTES:
                return readable(head), ""
            file.seek(max(KEPT_BYTES, size - KEPT_BYTES))
            return readable(head), readable(file.read(KEPT_BYTES))
    except OSError:
        return "", ""


def _is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def marked(value):
    """Returns the live processes with this mark, except for this process."""
    wanted = f"{MARK}={value}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue  # the process belongs to another user, or has ended
            if wanted in environment.split(b"\0") and _is_alive(entry):
                found.append(int(entry))
    return found


def _send(processes, number):
    for process in processes:
        try:
            os.kill(process, number)
        except OSError:
            pass


class Command:
    """A command to run. It may take `limit` seconds or the `share` of the time that is left, whichever is
    less. `lines` is called with every complete line of output while the command runs."""

    def __init__(self, name, words, limit, environment=None, stdin="", lines=None, share=SHARE):
        self.name, self.words, self.limit = name, [str(word) for word in words], limit
        self.share = share
        self.environment, self.stdin, self.lines = environment or {}, stdin, lines


class Result:
    """How a command ended. `outcome` is "ok" or says what went wrong, in a few words."""

    def __init__(self, command, outcome, seconds, log, cut_short=False):
        self.command, self.outcome, self.seconds, self.log = command, outcome, seconds, log
        self.cut_short = cut_short  # True if a time limit ended the command
        self.head, self.tail = read_ends(log) if log else ("", "")

    @property
    def ok(self):
        return self.outcome == "ok"

    @property
    def text(self):
        return self.head + self.tail


class _Running:
    counter = 0

    def __init__(self, command, folder, cwd, deadline):
        _Running.counter += 1
        self.command, self.result = command, None
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in command.name)[:80]
        self.log = Path(folder) / f"{_Running.counter:03}_{safe}.log"
        self.mark = f"{os.getpid()}-{_Running.counter}"
        self.started = time.monotonic()
        left = deadline - self.started
        self.deadline = self.started + min(command.limit, left,
                                           max(LEAST_SECONDS, command.share * left))
        self.given = self.deadline - self.started
        self.written, self.partial, self.process = 0, b"", None
        with self.log.open("wb") as log:
            shown = [f"{key}={value}" for key, value in command.environment.items()]
            line = " ".join([*shown, *command.words]).strip().replace("\n", "; ")
            log.write(f"$ {line}\n".encode())
            log.flush()
            self.shown = log.tell()
            stdin = Path(folder) / f".stdin-{_Running.counter}"
            stdin.write_text(command.stdin)
            try:
                with stdin.open("rb") as source:
                    self.process = subprocess.Popen(
                        command.words, cwd=cwd, stdin=source, stdout=log, stderr=subprocess.STDOUT,
                        env={**os.environ, **command.environment, MARK: self.mark},
                        start_new_session=True)
            except (OSError, ValueError) as problem:
                log.write(f"{problem}\n".encode())
                self._finish(f"cannot be started ({problem})")

    def _finish(self, outcome, cut_short=False):
        self.result = Result(self.command, outcome, time.monotonic() - self.started, self.log,
                             cut_short)

    def poll(self):
        """Returns True if the command has ended. Ends the command if a limit is reached."""
        if self.result:
            return True
        status = self.process.poll()
        self._pass_lines()
        if status is not None:
            left = self.end_all(grace=0)  # processes that outlive the command
            self._finish(describe(status) + left)
        elif time.monotonic() >= self.deadline:
            left = self.end_all()
            self._pass_lines()
            self._finish(f"cut short after {self.given:.0f} s{left}", cut_short=True)
        elif self.written > MAX_OUTPUT_BYTES:
            left = self.end_all(grace=0)
            self._finish(f"ended: it wrote more than {MAX_OUTPUT_BYTES >> 20} MiB{left}")
        return self.result is not None

    def _pass_lines(self):
        try:
            with self.log.open("rb") as file:
                self.written = os.fstat(file.fileno()).st_size
                if self.command.lines is None:
                    return
                file.seek(self.shown)
                data = file.read(4 << 20)
        except OSError:
            return
        self.shown += len(data)
        *lines, self.partial = (self.partial + data).split(b"\n")
        self.partial = self.partial[-65536:]
        for line in lines:
            self.command.lines(readable(line[:2000]))

    def end_all(self, grace=GRACE_SECONDS):
        """Ends the command and all processes that it started. Returns a text that counts the processes that
        cannot be ended, or ""."""
        self._signal_group(signal.SIGTERM if grace else signal.SIGKILL)
        end = time.monotonic() + grace
        while grace and self.process.poll() is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        end = time.monotonic() + KILL_SECONDS
        while True:
            self._signal_group(signal.SIGKILL)
            left = marked(self.mark)
            _send(left, signal.SIGKILL)
            if not left and self.process.poll() is not None:
                return ""
            if time.monotonic() >= end:
                return f"; {len(left) or 1} of its processes cannot be ended"
            time.sleep(POLL_SECONDS)

    def _signal_group(self, number):
        try:
            os.killpg(self.process.pid, number)
        except OSError:
            pass


def describe(status):
    if status == 0:
        return "ok"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"


class Runner:
    """Runs commands from `cwd` until `deadline` (of time.monotonic), with their logs in `folder`."""

    def __init__(self, folder, cwd, deadline, stopper):
        self.folder, self.cwd, self.deadline, self.stopper = folder, cwd, deadline, stopper

    def seconds_left(self):
        return self.deadline - time.monotonic()

    def run(self, command):
        return self.run_all([command], 1)[0]

    def run_all(self, commands, parallel, done=lambda result: None):
        """Returns the results in the order of `commands`. Calls `done` with each result as soon as it is
        known."""
        waiting, running, results = list(commands), [], {}
        try:
            while waiting or running:
                self.stopper.check()
                while waiting and len(running) < parallel:
                    command = waiting.pop(0)
                    if self.seconds_left() <= 0:
                        results[command] = Result(command, "not run: no time was left", 0, None,
                                                  cut_short=True)
                        done(results[command])
                    else:
                        running.append(_Running(command, self.folder, self.cwd, self.deadline))
                for one in [one for one in running if one.poll()]:
                    running.remove(one)
                    results[one.command] = one.result
                    done(one.result)
                time.sleep(POLL_SECONDS if running else 0)
        finally:
            for one in running:
                one.end_all(grace=0)
        return [results[command] for command in commands]
