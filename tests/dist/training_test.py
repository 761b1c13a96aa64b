#!/usr/bin/env python3
"""Whole runs of sculpt_run on several ranks: the same experiment, the same bits, interruptions, messages.

SCULPT_RUN names the program.
"""
import json
import signal
import sys
import time

import on_ranks
from ranked_runs import EXACT, PROGRAM, RankedRuns

from common import final, json_lines, records, sets, states


class Training(RankedRuns):
    def wait_for_states(self, out, process, count):
        """Waits until the run has written so many states."""
        end = time.monotonic() + 120
        def number():
            return int(states(out)[-1].stem.split("-")[1]) if states(out) else 0
        while number() < count and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    def test_exact(self):
        """The bits depend neither on the number of ranks nor on that of threads."""
        alone = self.finish(1, "alone", *EXACT, "--threads", 1)
        for ranks, threads in ((1, 2), (2, 1), (4, 2), (8, 1)):
            out = self.folder / f"{ranks}-{threads}"
            done = self.run_program(ranks, self.config, "--out", out, *EXACT, "--threads", threads)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertEqual(final(out), final(alone), (ranks, threads))
            self.assertEqual(records(out / "metrics.jsonl"), records(alone / "metrics.jsonl"))
            self.assertEqual(records(out / "prunes.jsonl"), records(alone / "prunes.jsonl"))

    def test_exact_resume_on_other_ranks(self):
        alone = self.finish(1, "alone", *EXACT)
        every = sets("train.checkpoint_steps=1")
        for before, after in ((1, 4), (4, 2), (2, 1)):
            out = self.folder / f"{before}-{after}"
            process = self.start(before, out, *EXACT, *every)
            self.wait_for_states(out, process, 4)
            process.send_signal(signal.SIGTERM)
            text, errors = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 75, text + errors)
            done = self.resume(after, out, *EXACT, *every)
            self.assertNotIn("can differ in the last bits", done.stderr)
            self.assertEqual(final(out), final(alone), (before, after))

    def test_fast(self):
        """The first epochs are those of one rank, and every image counts once."""
        alone = json_lines((self.finish(1, "alone") / "metrics.jsonl").read_text())
        for ranks in (2, 3):
            out = self.finish(ranks, f"{ranks}")
            lines = json_lines((out / "metrics.jsonl").read_text())
            self.assertEqual(len(lines), len(alone))
            self.assertAlmostEqual(lines[0]["train_loss"], alone[0]["train_loss"], delta=1e-4)
            self.assertEqual([line["density"] for line in lines], [line["density"] for line in alone])
            self.assertEqual(json.loads((out / "environment.json").read_text())["ranks"], ranks)

    def test_mistakes(self):
        """One message, and nothing is changed."""
        out = self.folder / "run"
        for ranks, words, part in (
                (3, EXACT, "8 logical ranks cannot be spread over 3 ranks"),
                (2, [*EXACT, *sets("dist.logical_ranks=3")], "must be a power of two"),
                (2, sets("train.batch=1"), "train.batch = 1 is fewer than the 2 ranks")):
            done = self.run_program(ranks, self.config, "--out", out, *words)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            self.assertEqual(len(errors), 1, done.stderr)
            self.assertIn(part, errors[0])
            self.assertFalse((out / "config.toml").exists())

    def test_another_config_on_a_rank_is_named(self):
        """The message has the rank and the setting. Settings without effect on the result may differ."""
        out = self.folder / "run"
        for exact, rank in ((EXACT, "logical rank 4"), ([], "rank 1")):
            words = [PROGRAM, self.config, "--out", out, *exact]
            line = [*on_ranks.command(1, *words, *sets("optim.lr=0.25"), "--threads", 1), ":", "-n", 1,
                    *words, *sets("optim.lr=0.125"), "--threads", 2]
            done = self.run_command(line)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            self.assertEqual(len(errors), 1, done.stderr)
            self.assertIn(f"error: the config of {rank} on ", errors[0])
            self.assertIn(" is not that of rank 0 (optim.lr = 0.125 instead of optim.lr = 0.25); ", errors[0])


if __name__ == "__main__":
    sys.exit(on_ranks.run_cases(PROGRAM, [Training]))
