"""What the steps share: the paths of programs, and how a sub-step is run and reported."""
import os
import shutil
import traceback
from pathlib import Path

from .processes import SHARE, Command, Stopped
from .report import one_line

LAST_SECONDS = 1  # no further step begins with less time left
ROOT = Path(__file__).resolve().parents[2]
TOOL_FOLDERS = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute", "/usr/local/cuda/compute-sanitizer")


class Skipped(Exception):
    """This machine does not allow a step or sub-step; the text says why."""


def find_tool(name):
    """Returns the path of a tool of the toolkit, from the PATH or the toolkit's folder; None if missing."""
    found = shutil.which(name)
    for folder in TOOL_FOLDERS if found is None else ():
        candidates = [Path(folder) / name, *sorted(Path(folder).glob(f"*/{name}"), reverse=True)]
        found = next((str(path) for path in candidates if os.access(path, os.X_OK)), None)
        if found:
            break
    return found


class Check:
    def __init__(self, options, report, runner, logs):
        self.options, self.report, self.runner, self.logs = options, report, runner, Path(logs)
        self.architecture = "90"     # versions.py reads it from the GPU
        self.binaries = None         # folder of the programs; binaries.py finds or makes it
        self.environment = {}        # variables for every program of Sculpt
        self.torch = True            # False if Python cannot import it; versions.py finds out
        self.steps, self._step = [], None

    # --- steps ---

    def run_step(self, name, title, body, share=1.0):
        """Runs a step in a share of the time that is left. No exception of the step but Stopped reaches the
        caller, so that the next step runs."""
        self._step = {"name": name, "problems": [], "skipped": "", "results": 0}
        self.steps.append(self._step)
        self.report.line(f"\n## {title}\n")
        if self.runner.seconds_left() <= LAST_SECONDS:
            self.problem("not run: no time was left")
            return
        overall = self.runner.deadline
        self.runner.deadline -= (1 - share) * self.runner.seconds_left()
        try:
            body(self)
        except Stopped:
            self.problem("stopped by a signal")
            raise
        except Skipped as reason:
            self._step["skipped"] = str(reason)
            self.report.item(f"skipped: {reason}")
        except Exception as error:  # noqa: BLE001 (a fault of this tool must not end the check)
            (self.logs / f"{name}_traceback.log").write_text(traceback.format_exc())
            self.problem(f"gpu_check itself failed here: {type(error).__name__}: {error}")
        finally:
            self.runner.deadline = overall
            self.report.save_logs(self.logs)

    def problem(self, text):
        self._step["problems"].append(one_line(text))
        self.report.item(f"**{one_line(text)}**")

    # --- sub-steps ---

    def program(self, name):
        path = self.binaries / name if self.binaries else None
        if path is None or not path.exists():
            raise Skipped(f"there is no {name}")
        return path

    def has(self, name):
        return self.binaries is not None and (self.binaries / name).exists()

    def command(self, name, words, limit, environment=None, stdin="", lines=None, ours=True,
                share=SHARE):
        """Returns a command. With `ours`, its environment has what the packed programs need to start."""
        wanted = {**(self.environment if ours else {}), **(environment or {})}
        return Command(name, words, limit, wanted, stdin, lines, share)

    def run(self, *arguments, **options):
        """Runs one command and reports its outcome; returns the result."""
        result = self.runner.run(self.command(*arguments, **options))
        self.outcome(result)
        return result

    def outcome(self, result, note=""):
        """Reports a result in one line. A failure counts against the step."""
        text = f"{result.command.name}: {result.outcome}, {result.seconds:.1f} s"
        text += f"; {note}" if note else ""
        self._step["results"] += 1
        if result.ok:
            self.report.item(text)
            return
        self.problem(text)
        tail = (result.tail or result.head).strip()
        if tail:
            self.report.block(tail, lines=12)

    def pass_rows(self, most=100):
        """Returns a function that receives lines and copies the rows of a program's table into the report."""
        rows = []

        def receive(line):
            if line.startswith("|") and line.endswith("|") and len(line) <= 240 and len(rows) < most:
                if not rows:
                    self.report.line()
                rows.append(line)
                self.report.line(line)

        receive.rows = rows
        return receive

    # --- the end ---

    def failed(self):
        return any(step["problems"] for step in self.steps)

    def summary(self):
        self.report.line("\n## Summary")
        self.report.table("step", "outcome")
        for step in self.steps:
            outcome = step["skipped"] and f"skipped: {step['skipped']}"
            if step["problems"]:
                more = len(step["problems"]) - 1
                outcome = f"FAILED: {step['problems'][0]}" + (f" (and {more} more)" if more else "")
            self.report.row(step["name"], outcome or "ok")
