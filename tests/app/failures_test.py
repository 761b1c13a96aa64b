"""Interruptions, damaged files, full disks and diverging runs of the program."""
import json
import os
import resource
import signal

from common import TIMEOUT, ProgramTest, final, main, records, sculpt_run, start, states, wait_for


class Interruption(ProgramTest):
    def interrupt(self, signal_number, *words):
        """Sends the signal once the first epoch is recorded. Returns (folder, exit code)."""
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
            self.assertIn("continues on cpu-portable", done.stderr)

    def test_other_libraries_are_allowed_with_a_warning(self):
        out, code, text = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 75, text)
        path = out / "environment.json"
        environment = json.loads(path.read_text())
        environment["libraries"] = "cuDNN 9.1.0"
        path.write_text(json.dumps(environment))
        done = sculpt_run(self.config, "--out", out, "--resume", "--conv", "auto")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("warning: the run was started with cuDNN 9.1.0 and continues with Sculpt's "
                      "kernels alone: ", done.stderr)

    def test_another_config_is_refused(self):
        out, code, text = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 75, text)
        self.assert_fails(2, [out, "prune.sparsity: 0.8 in the folder, 0.7 now", "--out"],
                          self.config, "--out", out, "--resume", "--set", "prune.sparsity=0.7")
        # Settings that do not change the result may differ.
        self.finish(self.config, "--out", out, "--resume", "--set", "train.checkpoint_every=3",
                    "--set", "data.root=elsewhere")


class Damage(ProgramTest):
    def unfinished(self, setting="train.checkpoint_steps=1", condition=None):
        out = self.folder / "run"
        process = start(self.config, "--out", out, "--set", setting)
        condition = condition or (lambda out: len(states(out)) == 2)
        wait_for(lambda: condition(out) if (out / "checkpoints").exists() else False, process)
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
        before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
        self.assert_fails(2, ["no checkpoint in", out / "checkpoints", "damaged"], self.config,
                          "--out", out, "--resume")
        self.assertEqual({p: p.read_bytes() for p in out.rglob("*") if p.is_file()}, before)
        # The advice in the message helps, and the old files are kept.
        before = [path.read_bytes() for path in states(out)]
        self.finish("--restart", out)
        self.assertTrue((out / "summary.json").exists())
        self.assertEqual([path.read_bytes() for path in states(out / "earlier-1")], before)

    def test_damaged_records(self):
        whole = self.folder / "whole"
        self.finish(self.config, "--out", whole)
        out = self.unfinished("train.checkpoint_steps=0", lambda out: len(
            (out / "layers.jsonl").read_text().splitlines()) > 2
            if (out / "layers.jsonl").exists() else False)
        text = (out / "layers.jsonl").read_text()
        (out / "layers.jsonl").write_text(text.replace("\n", "", 1))
        done = sculpt_run("--resume", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"warning: {out / 'layers.jsonl'}: some records shared a line",
                      done.stderr)
        self.assertEqual(final(out), final(whole))
        for name in ("metrics.jsonl", "layers.jsonl"):
            self.assertEqual(records(out / name), records(whole / name))


class FullDisk(ProgramTest):
    def test_file_size_limit(self):
        """Writing a checkpoint fails half-way. The run can be resumed when the disk has room again."""
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
        self.assertEqual([p for p in out.rglob("*.sculpt-tmp")], [])
        self.assertEqual([p for p in out.rglob("run.lock*")], [])
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
        self.assert_fails(2, ["cannot make the folder", self.folder / "file", "--out"],
                          self.config, "--out", self.folder / "file" / "run")


class Divergence(ProgramTest):
    # |1 - lr * decay| is about 1000: weights grow by that factor in each step.
    WORDS = ["--set", "optim.lr=1000", "--set", "optim.weight_decay=1", "--set",
             "optim.schedule=constant", "--set", "train.epochs=40"]

    def diverge(self, out, parts, *words):
        done = self.assert_fails(1, ["training diverged in epoch", "lower optim.lr", *parts],
                                 self.config, "--out", out, *self.WORDS, *words)
        last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
        self.assertTrue(last["diverged"])
        self.assertFalse((out / "summary.json").exists())
        return done.stderr

    def test_with_and_without_a_checkpoint(self):
        for number, settings in enumerate((["train.eval_every=1000"], ["train.eval_every=1"])):
            none = self.folder / f"none-{number}"
            words = [word for s in settings for word in ("--set", s)]
            # The start and the prune at the beginning leave states.
            self.diverge(none, ["written before the first step"], *words, "--set",
                         "train.checkpoint_every=0")
            self.assertEqual(len(states(none)), 2)
            self.diverge(self.folder / f"dense-{number}", ["written before the first step"],
                         *words, "--set", "train.checkpoint_every=0", "--set", "method=dense")
            self.assertEqual(len(states(self.folder / f"dense-{number}")), 1)

    def test_the_checkpoint_is_good_and_a_resume_diverges_again(self):
        out = self.folder / "run"
        errors = self.diverge(out, ["after step"], "--set", "train.checkpoint_steps=1")
        self.assertEqual(len(states(out)), 2)
        self.assertIn(str(states(out)[-1]), errors)
        lines = len((out / "metrics.jsonl").read_text().splitlines())
        again = self.diverge(out, [], "--set", "train.checkpoint_steps=1", "--resume")
        self.assertEqual(again, errors)
        self.assertEqual(len((out / "metrics.jsonl").read_text().splitlines()), lines)
        self.assertIsInstance(json.loads((out / "environment.json").read_text()), dict)


if __name__ == "__main__":
    main()
