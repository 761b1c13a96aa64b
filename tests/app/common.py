"""Runs the program that is tested. The environment variable SCULPT_RUN names it."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SCULPT_RUN", str(ROOT / "build" / "cpu" / "bin" / "sculpt_run"))
# The limit is generous, because sanitizers and busy machines are slow.
TIMEOUT = 600

TINY = """
method = "sculpt"
seed = 7

[model]
name = "resnet20"
width = 0.25

[data]
synthetic_train = 96
synthetic_test = 40

[train]
epochs = 2
batch = 32

[optim]
schedule = "triangular"

[prune]
criterion = "random"
allocation = "erk"
sparsity = 0.8

[cycles]
count = 2
"""
# The plans have a rewind to an epoch, a rewind to the first weights, a gradient criterion and dropout.
VARIANTS = {
    "sculpt": TINY,
    "wr": TINY.replace('"sculpt"', '"wr"').replace("sparsity = 0.8", "sparsity = 0.3")
              .replace("[cycles]", "[cycles]\nrewind_epoch = 1"),
    "imp": TINY.replace('"sculpt"', '"imp"').replace("sparsity = 0.8", "sparsity = 0.3"),
    "pai": TINY.replace('"sculpt"', '"pai"')
               .replace('"random"', '"snip"\nscore_images_per_class = 3')
               .replace('"resnet20"', '"lenet"\ndropout = 0.3').replace("batch = 32", "batch = 20")
               .replace("epochs = 2", "epochs = 12\ncheckpoint_every = 2"),
}


def sets(*settings):
    """Returns the words of a command that change settings: --set KEY=VALUE for each setting."""
    return [word for setting in settings for word in ("--set", setting)]


def sculpt_run(*words, **options):
    """Runs the program and returns the finished process with its output as text."""
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL, **options)


def start(*words, **options):
    """Starts the program and returns the running process."""
    return subprocess.Popen([PROGRAM, *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **options)


def wait_for(condition, process):
    """Waits until condition() is true, or the process has ended."""
    end = time.monotonic() + TIMEOUT
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


class ProgramTest(unittest.TestCase):
    """A test that has a temporary folder with a tiny config in it."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sculpt-app-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.config = self.write("tiny.toml", TINY)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def finish(self, *words):
        """Runs the program to its end and returns its standard output."""
        done = sculpt_run(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def interrupt(self, out, *words):
        """Starts or resumes a run in the folder, and stops it once the folder has two states, one of them
        new."""
        before = states(out)[-1:]
        process = start(*words, "--out", out, "--set", "train.checkpoint_steps=1")
        wait_for(lambda: len(states(out)) >= 2 and states(out)[-1:] > before, process)
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75, text + errors)

    def assert_fails(self, code, parts, *words, **options):
        """Checks the exit code, that one line starts with "error: ", and that the message has all parts."""
        done = sculpt_run(*words, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        for part in parts:
            self.assertIn(str(part), done.stderr)
        return done


def content_of(folder):
    """Returns the bytes of all files of a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def final(folder):
    return (folder / "checkpoints" / "final.safetensors").read_bytes()


def states(folder):
    return sorted((folder / "checkpoints").glob("state-*.safetensors"))


def json_lines(text):
    """Returns the objects of a text that has one JSON object in each line."""
    return [json.loads(line) for line in text.splitlines()]


def records(path):
    """Returns the records of a .jsonl file without the keys that depend on the clock."""
    lines = json_lines(path.read_text())
    for line in lines:
        line.pop("seconds", None)
        line.pop("images_per_second", None)
    return lines


def close_its_output(process):
    """Reads one line, closes the pipe, and waits for the end. Returns what went to standard error."""
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=TIMEOUT)
    errors = process.stderr.read()
    process.stderr.close()
    return errors


def main():
    if not Path(PROGRAM).exists():
        sys.exit(f"error: {PROGRAM} is not built; set SCULPT_RUN")
    unittest.main(verbosity=2)
