"""A run that is killed (kill -9) at random moments and resumed ends with the bytes of a whole run."""
import os
import random
import re
import shutil
import signal
import time

from common import TIMEOUT, TINY, VARIANTS, ProgramTest, final, main, records, sculpt_run, start

SEED = 20240607
MOMENTS = 20


def killed_after(seconds, words):
    """Returns true if the run was still at work when it was killed."""
    process = start(*words)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=TIMEOUT)
    return process.returncode == -signal.SIGKILL


class Kill(ProgramTest):
    def test_killed_runs_end_with_the_same_bytes(self):
        print(f"seed {SEED}")
        draw = random.Random(SEED)
        expected, duration = {}, {}
        for name, text in VARIANTS.items():
            config = self.write(f"{name}.toml", text)
            whole = self.folder / f"{name}-whole"
            begin = time.monotonic()
            self.finish(config, "--out", whole)
            duration[name] = time.monotonic() - begin
            expected[name] = (final(whole), records(whole / "metrics.jsonl"),
                              records(whole / "layers.jsonl"))

        killed = 0
        for moment in range(MOMENTS):
            name = list(VARIANTS)[moment % len(VARIANTS)]
            out = self.folder / f"run-{moment}"
            words = [self.folder / f"{name}.toml", "--out", out, "--resume"]
            if moment % 3 == 0:
                words += ["--set", "train.checkpoint_steps=1"]
            # Each run is killed twice, and the second kill hits a resumed run.
            wait = draw.uniform(0.05, 1) * duration[name]
            while not killed_after(wait, words):
                wait /= 2  # the machine is less busy than it was for `duration`
                shutil.rmtree(out)
            killed += 1 + killed_after(draw.uniform(0.05, 1) * duration[name], words)
            done = sculpt_run(*words)
            with self.subTest(moment=moment, variant=name):
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotIn("damaged", done.stderr)
                checkpoint, metrics, layers = expected[name]
                self.assertEqual(records(out / "metrics.jsonl"), metrics)
                self.assertEqual(records(out / "layers.jsonl"), layers)
                self.assertTrue(final(out) == checkpoint, "final.safetensors differs")
            shutil.rmtree(out)
        print(f"{killed} of {2 * MOMENTS} kills hit a running process")

    def test_a_killed_extension_ends_with_the_same_bytes(self):
        draw = random.Random(SEED)
        text = VARIANTS["wr"].replace('"wr"', '"cyclic"')
        config = self.write("cyclic.toml", text)
        longer = ["--set", "cycles.count=4"]
        whole, short = self.folder / "whole", self.folder / "short"
        begin = time.monotonic()
        self.finish(config, "--out", whole, *longer)
        duration = time.monotonic() - begin
        self.finish(config, "--out", short)
        for moment in range(8):
            out = self.folder / f"run-{moment}"
            shutil.copytree(short, out)
            words = ["--resume", out, *longer]
            killed = killed_after(draw.uniform(0, 0.6) * duration, words)
            with self.subTest(moment=moment, killed=killed):
                self.finish(*words)
                self.assertTrue(final(out) == final(whole), "final.safetensors differs")
                self.assertEqual(records(out / "metrics.jsonl"), records(whole / "metrics.jsonl"))
                self.assertEqual(final(out / "earlier-1"), final(short))

    def test_a_killed_restart_loses_nothing(self):
        draw = random.Random(SEED)
        old, new = self.folder / "old", self.folder / "new"
        self.finish(self.config, "--out", old)
        begin = time.monotonic()
        self.finish(self.config, "--out", new, "--set", "optim.lr=0.05")
        duration = time.monotonic() - begin
        for moment in range(8):
            out = self.folder / f"run-{moment}"
            shutil.copytree(old, out)
            killed = killed_after(draw.uniform(0, 0.6) * duration,
                                  ["--restart", out, "--set", "optim.lr=0.05"])
            with self.subTest(moment=moment, killed=killed):
                # The old run is whole, either in its place or put aside.
                kept = out / "earlier-1" if (out / "earlier-1").exists() else out
                if kept == out:
                    self.assertIn("finished", self.finish("--resume", out))
                else:
                    self.finish("--resume", out)
                    self.assertEqual(final(out), final(new))
                self.assertEqual(final(kept), final(old))
                for name in ("metrics.jsonl", "summary.json", "config.toml"):
                    self.assertEqual((kept / name).read_bytes(), (old / name).read_bytes())

    def test_a_resumed_run_keeps_the_kernels_that_were_timed_for_it(self):
        cache = self.folder / "cache"
        choices = cache / "sculpt" / "choices.txt"
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        config = self.write("sculpt.toml", TINY.replace("epochs = 2", 'epochs = 8\nsparse = "tuned"'))

        def train(out):
            done = sculpt_run(config, "--out", out, "--resume", env=environment)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return final(out)

        def in_the_last_cycle():
            metrics = resumed / "metrics.jsonl"
            return metrics.exists() and any(line["cycle"] == 3 for line in records(metrics))

        whole = train(self.folder / "whole")
        resumed = self.folder / "resumed"
        for _ in range(5):  # a kill may come too late
            process = start(config, "--out", resumed, env=environment)
            while process.poll() is None and not in_the_last_cycle():
                time.sleep(0.01)
            process.kill()
            process.communicate(timeout=TIMEOUT)
            if process.returncode == -signal.SIGKILL:
                break
            shutil.rmtree(resumed)
        self.assertEqual(process.returncode, -signal.SIGKILL)

        # Runs that start from now on get the opposite of every choice that was measured.
        text = choices.read_text()
        flipped = {"\tsparse\t": "\tnative\t", "\tnative\t": "\tsparse\t"}
        choices.write_text(re.sub("\t(sparse|native)\t", lambda word: flipped[word[0]], text))
        self.assertNotEqual(train(self.folder / "other"), whole)
        self.assertTrue(train(resumed) == whole, "final.safetensors differs")


if __name__ == "__main__":
    main()
