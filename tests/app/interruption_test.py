"""A signal in any phase of a run acts soon, leaves nothing half-done, and prints a line."""
import fcntl
import os
import random
import signal
import subprocess
import time

from common import (PROGRAM, TIMEOUT, ProgramTest, close_its_output, final, main, sculpt_run, start,
                    states)

SEED = 20261128
# The promise is two seconds. Tests share machines, and sanitizers are ten times slower.
BOUND = 60 if os.environ.get("SCULPT_SANITIZE") else 20
SLOW = bool(os.environ.get("SCULPT_SANITIZE"))
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# Each entry has settings that make a phase take a minute or more, and output that comes before it.
LONG = ["model.name=resnet18", "train.batch=16", "data.synthetic_train=160",
        "data.synthetic_test=20", "method=pai"]
PHASES = {
    "making images": (["data.synthetic_train=200000"], "device "),
    "synflow": (LONG + ["prune.criterion=synflow", "prune.synflow_iterations=1000"], "synflow"),
    "snip": (LONG + ["prune.criterion=snip", "prune.score_batches=1000"], "snip"),
    "grasp": (LONG + ["prune.criterion=grasp", "prune.score_batches=1000"], "grasp"),
    "training": (LONG + ["prune.criterion=random", "train.epochs=100"], "pruned:"),
    "evaluation": (["model.name=resnet18", "data.synthetic_train=16", "train.batch=16",
                    "data.synthetic_test=3000", "method=dense"], "device "),
}


class Phases(ProgramTest):
    def settings(self, names):
        return [word for name in names for word in ("--set", name)]

    def begin(self, names, text):
        """Starts a process and waits for `text` in its output. Returns the process and its output."""
        out = self.folder / "run"
        process = start(self.config, "--out", out, *self.settings(names))
        said = ""
        while text not in said:
            line = process.stdout.readline()
            if not line:
                self.fail(said + process.stderr.read())
            said += line
        return process, said

    def test_every_signal_in_every_phase(self):
        print(f"seed {SEED}")
        draw = random.Random(SEED)
        for name, (settings, text) in PHASES.items():
            for number in SIGNALS[:1] if SLOW else SIGNALS:
                with self.subTest(phase=name, signal=number.name):
                    process, said = self.begin(settings, text)
                    time.sleep(draw.uniform(0, 1.5))
                    sent = time.monotonic()
                    process.send_signal(number)
                    rest, errors = process.communicate(timeout=TIMEOUT)
                    seconds = time.monotonic() - sent
                    print(f"{name:<14} {number.name:<8} {seconds:6.2f} s")
                    self.assertEqual(process.returncode, 75, said + rest + errors)
                    self.assertLess(seconds, BOUND)
                    self.assertEqual(errors.count("stopping after this step"), 1, errors)
                    self.assertIn("interrupted", rest)
                    self.follow_the_advice(rest, settings)

    def follow_the_advice(self, said, settings):
        """Follows the message: the run starts again, or continues."""
        out = self.folder / "run"
        words = [self.config, "--out", out, *self.settings(settings)]
        if "the same command starts again" in said:
            self.assertFalse(out.exists())
        else:
            self.assertIn("--resume", said)
            words.append("--resume")
        process = start(*words)
        line = process.stdout.readline()
        process.kill()
        errors = process.communicate(timeout=TIMEOUT)[1]
        self.assertIn("device ", line, errors)
        if out.exists():
            subprocess.run(["rm", "-r", str(out)], check=True)

    def test_before_anything_is_computed_nothing_is_left(self):
        process, _ = self.begin(["data.synthetic_train=200000"], "device ")
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75, text + errors)
        self.assertIn("before anything was computed; the same command starts again", text)
        self.assertFalse((self.folder / "run").exists())

    def test_a_plan_ends_by_the_signal(self):
        """There is nothing to save, so the signal ends the process as usual."""
        words = ["--set", "model.name=resnet18", "--set", "train.batch=256", "--plan"]
        for number in SIGNALS:
            process = start(self.config, *words)
            time.sleep(0.3)
            sent = time.monotonic()
            process.send_signal(number)
            process.communicate(timeout=TIMEOUT)
            self.assertLess(time.monotonic() - sent, BOUND)
            self.assertEqual(process.returncode, -number)


class Bursts(ProgramTest):
    def begin(self, images):
        """Starts a run and returns in the middle of a step. Sixteen images take half a second or more."""
        process = start(self.config, "--out", self.folder / "run", "--threads", "1", "--set",
                        f"data.synthetic_train={images}", "--set", f"train.batch={images}", "--set",
                        "model.width=1.0", "--set", "model.name=resnet18", "--set",
                        "execution.sparse=off")
        # The prune and its evaluation are over once their state is there, the second one.
        while len(states(self.folder / "run")) < 2:
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        time.sleep(0.5)
        return process

    def test_a_burst_is_one_signal(self):
        process = self.begin(48)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
            time.sleep(0.1)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75, text + errors)
        self.assertEqual(errors.count("stopping after this step"), 1, errors)

    def test_a_later_signal_ends_it_at_once(self):
        process = self.begin(768)
        process.send_signal(signal.SIGINT)
        time.sleep(2.2)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, -signal.SIGTERM, text + errors)


class Outputs(ProgramTest):
    LONG_RUN = ["--set", "train.epochs=2000"]

    def test_a_closed_pipe_ends_it_like_sigterm(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, *self.LONG_RUN)
        errors = close_its_output(process)
        self.assertEqual(process.returncode, 75, errors)
        self.assertIn("standard output was closed", errors)
        again = start(self.config, "--out", out, *self.LONG_RUN, "--resume")
        self.assertIn("device ", again.stdout.readline())
        again.kill()
        again.communicate(timeout=TIMEOUT)

    def test_a_reader_that_stops_reading_keeps_no_signal_away(self):
        """Epoch lines fill a pipe that nobody reads. The signal still acts."""
        process = start(self.config, "--out", self.folder / "run", *self.LONG_RUN, "--set",
                        "data.synthetic_train=10", "--set", "data.synthetic_test=10", "--set",
                        "train.batch=10", "--set", "model.name=mlp", "--set",
                        "train.checkpoint_every=0")
        metrics, size = self.folder / "run" / "metrics.jsonl", -1
        end = time.monotonic() + (90 if SLOW else 30)
        while time.monotonic() < end:  # until the run stands still
            time.sleep(1)
            now = metrics.stat().st_size if metrics.exists() else -1
            if now == size > 0:
                break
            size = now
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=TIMEOUT)
        self.assertLess(time.monotonic() - sent, BOUND)
        process.communicate()
        self.assertEqual(process.returncode, 75)

    def test_a_full_disk_behind_the_output(self):
        out = self.folder / "run"
        with open("/dev/full", "w") as full:
            process = subprocess.run([PROGRAM, str(self.config), "--out", str(out)], stdout=full,
                                     stderr=subprocess.PIPE, text=True, timeout=TIMEOUT,
                                     check=False)
        # The records of the run are in its folder, so the run goes on without an output.
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(process.stderr.count("warning: cannot write to standard output: No "
                                              "space left on device"), 1, process.stderr)
        self.assertTrue(final(out))
        for words in ([str(self.config), "--plan"], [str(self.config), "--describe"], ["--help"],
                      ["--help-config"], ["--version"]):
            with open("/dev/full", "w") as full:
                process = subprocess.run([PROGRAM, *words], stdout=full, stderr=subprocess.PIPE,
                                         text=True, timeout=TIMEOUT, check=False)
            self.assertEqual(process.returncode, 1, words)
            self.assertIn("error: cannot write to standard output", process.stderr)

    def test_nohup_stays_ignored(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out,
                        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0, text + errors)
        self.assertNotIn("stopping", errors)


class HeldLock(ProgramTest):
    def test_a_process_that_holds_the_choices_does_not_hold_the_run(self):
        """A stopped process may hold the lock of the file of measured kernels for a long time."""
        cache = self.folder / "cache" / "sculpt"
        cache.mkdir(parents=True)
        with open(cache / "choices.txt.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = sculpt_run(self.config, "--out", self.folder / "run", "--set", "train.epochs=1",
                              "--sparse", "tuned",
                              env={**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sparse", (cache / "choices.txt").read_text())


if __name__ == "__main__":
    main()
