"""Interruptions, damaged files, full disks and diverging runs of the program."""
import json
import os
import resource
import signal
import time

from common import TIMEOUT, ProgramTest, final, main, records, sculpt_run, start, states


def wait_for(condition, process):
    """Until condition() is true, or the process has ended."""
    end = time.monotonic() + TIMEOUT
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


class Interruption(ProgramTest):
    def interrupt(self, signal_number, *words):
        """Sends the signal once the first epoch is recorded; returns (folder, exit code)."""
        out = self.folder / f"run-{signal_number}"
        process = start(self.config, "--out", out, *words)
        metrics = out / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0, process)
        process.send_signal(signal_number)
        text, errors = process.communicate(timeout=TIMEOUT)
        return out, process.returncode, text + errors

    def test_ctrl_c_and_sigterm_save_and_exit_75(self):
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole)
        for number in (signal.SIGINT, signal.SIGTERM):
            out, code, text = self.interrupt(number)
            self.assertEqual(code, 75, text)
            self.assertIn("--resume", text)
            self.assertNotEqual(states(out), [])
            self.assertFalse((out / "summary.json").exists())
            self.assertIn("going on", self.finish(self.config, "--out", out, "--resume"))
            self.assertEqual(final(out), final(whole))
            self.assertEqual(records(out / "metrics.jsonl"), records(whole / "metrics.jsonl"))

    def test_second_ctrl_c_kills_at_once(self):
        # A step of a second or so: the second signal comes while the first waits for its end.
        words = ["--set", "data.synthetic_train=1024", "--set", "train.batch=1024", "--set",
                 "model.width=1.0", "--threads", "1"]
        for attempt in range(5):
            out = self.folder / f"run-{attempt}"
            process = start(self.config, "--out", out, *words)
            wait_for((out / "layers.jsonl").exists, process)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=TIMEOUT)
            if process.returncode == -signal.SIGINT:
                return
            self.assertEqual(process.returncode, 75)  # the step was just over
        self.fail("never killed by the second signal")

    def test_other_threads_are_allowed_with_a_warning(self):
        out, code, text = self.interrupt(signal.SIGINT, "--threads", "2")
        self.assertEqual(code, 75, text)
        done = sculpt_run(self.config, "--out", out, "--resume", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: ", done.stderr)
        self.assertIn("2 threads", done.stderr)

    def test_another_backend_is_allowed_with_a_warning(self):
        out, code, text = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 75, text)
        done = sculpt_run(self.config, "--out", out, "--resume",
                          env={**os.environ, "SCULPT_CPU_ISA": "portable"})
        self.assertEqual(done.returncode, 0, done.stderr)
        if "device cpu (cpu-portable)" not in text:
            self.assertIn("goes on on cpu-portable", done.stderr)

    def test_other_libraries_are_allowed_with_a_warning(self):
        out, code, text = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 75, text)
        path = out / "environment.json"
        environment = json.loads(path.read_text())
        environment["libraries"] = "cuDNN 9.1.0"
        path.write_text(json.dumps(environment))
        done = sculpt_run(self.config, "--out", out, "--resume", "--conv", "auto")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: the run was started with cuDNN 9.1.0 and goes on with our kernels "
                      "alone: ", done.stderr)

    def test_another_config_is_refused(self):
        out, code, text = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 75, text)
        self.assert_fails(2, [out, "prune.sparsity: 0.8 in the folder, 0.7 now", "--out"],
                          self.config, "--out", out, "--resume", "--set", "prune.sparsity=0.7")
        # What changes no result may differ.
        self.finish(self.config, "--out", out, "--resume", "--set", "train.checkpoint_every=3",
                    "--set", "data.root=elsewhere")


class Damage(ProgramTest):
    def unfinished(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, "--set", "train.checkpoint_steps=1")
        wait_for(lambda: len(states(out)) == 2 if (out / "checkpoints").exists() else False,
                 process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 75)
        self.assertEqual(len(states(out)), 2)
        return out

    def test_truncated_newest_checkpoint(self):
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole)
        out = self.unfinished()
        newest = states(out)[-1]
        os.truncate(newest, newest.stat().st_size - 1000)
        done = sculpt_run(self.config, "--out", out, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"warning: {newest} is damaged", done.stderr)
        self.assertEqual(final(out), final(whole))
        self.assertEqual(records(out / "metrics.jsonl"), records(whole / "metrics.jsonl"))

    def test_no_good_checkpoint(self):
        out = self.unfinished()
        for path in states(out):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        self.assert_fails(1, ["no checkpoint in", out / "checkpoints", "damaged"], self.config,
                          "--out", out, "--resume")
        self.assertEqual(len(states(out)), 2)


class FullDisk(ProgramTest):
    def test_file_size_limit(self):
        """Writing a checkpoint fails half-way; the run resumes when there is room again."""
        whole, out = self.folder / "whole", self.folder / "run"
        self.finish(self.config, "--out", whole)
        process = start(self.config, "--out", out, "--set", "train.checkpoint_steps=1")
        wait_for(lambda: len(states(out)) == 2 if (out / "checkpoints").exists() else False,
                 process)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1, text + errors)
        self.assertEqual(errors.count("error: "), 1, errors)
        self.assertIn("cannot write", errors)
        self.assertIn("checkpoints/state-", errors)
        self.assertIn("free some space", errors)
        self.assertEqual([p for p in out.rglob("*.tmp")], [])
        self.assertEqual(len(states(out)), 2)
        self.finish(self.config, "--out", out, "--resume")
        self.assertEqual(final(out), final(whole))

    def test_metrics_on_a_full_device(self):
        out = self.folder / "run"
        process = start(self.config, "--out", out, "--set", "train.checkpoint_steps=1")
        wait_for(lambda: len(states(out)) > 0 if (out / "checkpoints").exists() else False, process)
        (out / "metrics.jsonl").unlink(missing_ok=True)
        (out / "metrics.jsonl").symlink_to("/dev/full")
        text, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1, text + errors)
        self.assertIn(f"cannot write {out / 'metrics.jsonl'}: No space left on device", errors)

    def test_folder_that_cannot_be_made(self):
        self.write("file", "")
        self.assert_fails(2, [self.folder / "file"], self.config, "--out", self.folder / "file")
        self.assert_fails(1, [self.folder / "file"], self.config, "--out",
                          self.folder / "file" / "run")


class Divergence(ProgramTest):
    def test_nan_loss(self):
        out = self.folder / "run"
        words = [self.config, "--out", out, "--set", "train.lr=1000", "--set",
                 "train.weight_decay=1", "--set", "train.schedule=constant", "--set",
                 "train.epochs=40", "--set", "train.checkpoint_steps=1"]
        self.assert_fails(1, ["epoch", "lower train.lr", out / "checkpoints"], *words)
        self.assertEqual(len(states(out)), 2)
        # The states are good ones: the run goes on from them, and fails in the same way.
        self.assert_fails(1, ["lower train.lr"], *words, "--resume")
        self.assertFalse((out / "summary.json").exists())
        self.assertIsInstance(json.loads((out / "environment.json").read_text()), dict)


if __name__ == "__main__":
    main()
