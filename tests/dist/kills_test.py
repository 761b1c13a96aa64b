#!/usr/bin/env python3
"""Ranks of whole runs are killed at random moments, and the resumed runs end as if nothing had happened.

SCULPT_RUN names the program, SCULPT_KILLS the number of kills with equal bits on any number of ranks (default
3), SCULPT_FAST_KILLS that with sums in the order of the library (default 1), and SCULPT_SEED chooses the
moments. `tools/long_tests kills` runs the whole set.

A moment is a place in the run, which the files of the run folder show, and not a time: a busy machine has the
same moments. A kill counts if it ends a run that has a checkpoint and no result. A kill before the first
checkpoint or after the result was written must do no harm, either, but is not counted.
"""
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

import on_ranks
from on_ranks import state_of, wait_until
from ranked_runs import EXACT, PROGRAM, RankedRuns

from common import VARIANTS, content_of, final, records, sets, states
from tensors import metadata_of, with_right_checksum

KILLS = int(os.environ.get("SCULPT_KILLS", "3"))
FAST_KILLS = int(os.environ.get("SCULPT_FAST_KILLS", "1"))
SEED = int(os.environ.get("SCULPT_SEED", "106"))
FAST = sets("dist.reduction=fast")
EVERY_STEP = sets("train.checkpoint_steps=1")
INTERRUPTED, RANK_LOST, KILLED = 75, 76, 128 + signal.SIGKILL
# A lost rank ends the job within so many seconds.
LIMIT = 30
# A run that has not come to its moment within so many seconds hangs.
HANGS = 240
# If this many runs per wanted kill are not enough, kills come too early or too late.
MOST_TRIALS = 5
PARTIAL = ".safetensors.sculpt-tmp"


class Progress:
    """How far the run in a folder has come."""

    def __init__(self, out):
        self.out = out

    def saved(self):
        """Returns the number of the newest state."""
        return max((int(path.stem.split("-")[1]) for path in states(self.out)), default=0)

    def partial(self):
        """Returns the names of the checkpoints that are being written, without their endings."""
        return [path.name.removesuffix(PARTIAL) for path in (self.out / "checkpoints").glob("*" + PARTIAL)]

    def lines(self, name):
        try:
            return (self.out / name).read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def has(self, name):
        return (self.out / name).exists()


def end_of(out):
    return {"final.safetensors": final(out),
            **{name: records(out / name) for name in ("metrics.jsonl", "layers.jsonl", "prunes.jsonl")},
            "files": sorted(path.relative_to(out) for path in content_of(out))}


class Whole:
    """An uninterrupted run: what it ends with, and how long it is, counted in what it writes."""

    def __init__(self, out, warnings):
        self.end, self.warnings = end_of(out), set(warnings.splitlines())
        self.states = int(metadata_of(out / "checkpoints" / "end.safetensors")["saves"])
        self.epochs = Progress(out).lines("metrics.jsonl")
        self.prunes = Progress(out).lines("prunes.jsonl")
        self.layers_of_prune = Progress(out).lines("layers.jsonl") // self.prunes


class Moment:
    """A place in a run. `reached(progress)` is true from there on."""

    KINDS = ("start", "step", "writing", "prune", "epoch", "end")
    OF_RESUMED = ("step", "writing", "end")

    def __init__(self, kind, whole, draw, saved=0):
        """Draws a moment of a run that has `saved` states already."""
        # A resumed run loads the newest state, and the next state may have been written in part.
        state = draw.randint(min(saved + 2, whole.states) if saved else 1, whole.states)
        prune, epoch = draw.randint(1, whole.prunes), draw.randint(1, whole.epochs)
        self.kind = kind
        self.steps_later = draw.random() if kind == "step" else 0
        self.name, self.reached = {
            "start": ("before the first checkpoint", lambda run: run.has("run.lock")),
            "step": (f"in the step after checkpoint {state}", lambda run: run.saved() >= state),
            "writing": (f"while checkpoint {state} is written",
                        lambda run: f"state-{state:06}" in run.partial() or run.saved() >= state),
            "prune": (f"in prune {prune} of {whole.prunes}",
                      lambda run: run.lines("layers.jsonl") >= prune * whole.layers_of_prune),
            "epoch": (f"after the record of epoch {epoch}", lambda run: run.lines("metrics.jsonl") >= epoch),
            "end": ("while the result is written",
                    lambda run: run.has("checkpoints/final.safetensors") or "final" in run.partial()),
        }[kind]

    def wait(self, out, job):
        """Waits for the moment, or for the end of the job. Returns false if neither comes."""
        run, saved, times = Progress(out), 0, [time.monotonic()] * 2
        end = time.monotonic() + HANGS
        while not self.reached(run) and job.poll() is None:
            if run.saved() > saved:
                saved, times = run.saved(), [times[1], time.monotonic()]
            if time.monotonic() > end:
                return False
            time.sleep(0.0002)
        # The last step says how long a step is.
        time.sleep(self.steps_later * (times[1] - times[0]))
        return True


@dataclass
class Kill:
    """What a kill met. It counts if it ended a run that has a checkpoint and no result."""
    moment: str
    rank: int
    launcher: str
    text: str = ""
    counts: bool = False
    resumed: bool = False  # the run had been killed before
    moved: bool = False    # the run went on on another number of ranks


class Job:
    """A job on several ranks. `processes` maps a rank to its process."""

    def __init__(self, command, ranks):
        self.process = subprocess.Popen(command, env=on_ranks.environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes = {}
        wait_until(lambda: self.all_have_started(ranks), HANGS)

    def all_have_started(self, ranks):
        self.processes.update(on_ranks.ranks_of(self.process.pid))
        return len(self.processes) == ranks or self.process.poll() is not None

    def end(self):
        """Waits for the end. Returns exit code, output, seconds, and the processes that live on."""
        begin = time.monotonic()
        everything = on_ranks.descendants(self.process.pid) | set(self.processes.values())
        said = "".join(self.process.communicate(timeout=LIMIT))
        seconds = time.monotonic() - begin
        wait_until(lambda: not any(map(state_of, everything)), LIMIT)
        return self.process.returncode, said, seconds, list(filter(state_of, everything))

    def clean_up(self):
        """Ends what a failed test has left."""
        self.process.kill()
        for process in self.processes.values():
            if on_ranks.rank_of(process) is not None:
                os.kill(process, signal.SIGKILL)
        self.process.communicate()


class Kills(RankedRuns):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "run"
        self.wholes = {}

    def uninterrupted(self, variant, reduction, ranks=1):
        """Chooses the config of a variant, and returns its uninterrupted run on a number of ranks."""
        self.config.write_text(VARIANTS[variant])
        if (variant, ranks) not in self.wholes:
            out = self.folder / f"whole-{variant}-{ranks}"
            done = self.run_program(ranks, self.config, "--out", out, *reduction, *EVERY_STEP)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.wholes[variant, ranks] = Whole(out, done.stderr)
        return self.wholes[variant, ranks]

    def place(self):
        """Returns what a resume says of the place from which it goes on: that of the newest state."""
        if not states(self.out) or (self.out / "checkpoints" / "end.safetensors").exists():
            return ""
        newest = metadata_of(states(self.out)[-1])
        if newest["steps"] == "0":
            return ""
        return f"going on after epoch {newest['epochs']}, step {newest['epoch_step']}\n"

    def strike(self, number, victim, ranks, moment, *settings, by_mpirun=False):
        """Starts or resumes a run, and sends a signal to a rank at the moment. Returns the job's exit code,
        its output, and the seconds until it had ended."""
        words = (self.config, "--out", self.out, "--resume", *EVERY_STEP, *settings)
        place, saved = self.place(), Progress(self.out).saved()
        job = Job(on_ranks.command(ranks, PROGRAM, *words) if by_mpirun else self.words(ranks, *words), ranks)
        self.addCleanup(job.clean_up)
        self.assertTrue(moment.wait(self.out, job.process), f"the run has not come there: {moment.name}")
        if state_of(job.processes.get(victim, 0)):
            os.kill(job.processes[victim], number)
        code, said, seconds, left = job.end()
        self.assertEqual(left, [], said)
        if Progress(self.out).saved() > saved:
            self.assertIn(place, said)
        return code, said, seconds

    def kill(self, draw, whole, ranks, moment, *settings):
        """Kills a rank and checks what is left. Returns what happened."""
        by_mpirun = draw.random() < 0.5
        # Rank 0 alone writes. Half of the kills that meet a file being written are those of rank 0.
        writer = moment.kind in ("writing", "end") and draw.random() < 0.5
        victim = 0 if writer else draw.randrange(ranks)
        code, said, seconds = self.strike(signal.SIGKILL, victim, ranks, moment, *settings,
                                          by_mpirun=by_mpirun)
        run = Progress(self.out)
        kill = Kill(moment.kind, victim, "mpirun" if by_mpirun else "--ranks")
        kill.text = (f"rank {victim} of {ranks} ({kill.launcher}) {moment.name}: exit code {code} after "
                     f"{seconds:.1f} s, ")
        if run.has("summary.json"):
            self.assertIn(code, (0, RANK_LOST, KILLED), said)
            kill.text += "the run had ended"
            return kill
        self.assertIn(code, (RANK_LOST, KILLED) if by_mpirun else (RANK_LOST,), said)
        host = re.escape(os.uname().nodename)
        self.assertRegex(said, rf"rank {victim} (on {host}|with PID \d+ on node {host})")
        if not by_mpirun:
            self.assertIn("the last good checkpoint is intact; go on with --resume", said)
        if not states(self.out):
            kill.text += "no checkpoint yet"
            return kill
        for path in states(self.out):
            content = path.read_bytes()
            self.assertTrue(with_right_checksum(content) == content, f"{path.name} is damaged")
        part = "".join(f", a part of {name}" for name in run.partial())
        kill.text += f"checkpoint {run.saved()} of {whole.states}{part}"
        kill.counts = True
        return kill

    def check_resumed(self, whole, ranks, *settings):
        """Resumes the run and compares its end. The resume must go on from the newest state, and not warn."""
        place = self.place()
        done = self.resume(ranks, self.out, *settings, *EVERY_STEP)
        self.assertIn(place, done.stdout)
        self.assertEqual(set(done.stderr.splitlines()) - whole.warnings, set())
        found = end_of(self.out)
        for name, expected in whole.end.items():
            if isinstance(expected, list):  # shows the lines that differ
                self.assertEqual(found[name], expected, name)
            self.assertTrue(found[name] == expected, f"{name} differs from that of an uninterrupted run")
        shutil.rmtree(self.out)

    def trial(self, draw, variant, kind, number, kills):
        """Makes a run with one or two kills, and adds them to `kills`. The next kill that counts has this
        number."""
        whole = self.uninterrupted(variant, EXACT)
        ranks, made = draw.choice((2, 4)), []
        for again in (False, True):
            moment = Moment(kind, whole, draw, Progress(self.out).saved())
            kill = self.kill(draw, whole, ranks, moment, *EXACT)
            made.append(kill)
            kill.resumed = again
            kill.text = (f"{number if kill.counts else '-':>3} {variant}, {'resumed, ' if again else ''}"
                         f"{kill.text}")
            if kill.counts and number % 2 == 0:
                ranks = draw.choice([count for count in (1, 2, 4, 8) if count != ranks])
                kill.moved = True
            number += kill.counts
            kill.text += f"; on with {ranks}"
            if (again or ranks == 1 or number > KILLS or draw.random() < 0.5
                    or Progress(self.out).has("summary.json")):
                break
            kind = draw.choice(Moment.OF_RESUMED)
        print(*(kill.text for kill in made), sep="\n", flush=True)
        self.check_resumed(whole, ranks, *EXACT)
        kills += made

    def test_kills(self):
        """Every second kill that counts is resumed on another number of ranks."""
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        draw, kills = random.Random(SEED), []
        kinds = [*itertools.product(VARIANTS, Moment.KINDS)]
        draw.shuffle(kinds)
        for variant, kind in itertools.islice(itertools.cycle(kinds), MOST_TRIALS * KILLS):
            number = 1 + sum(kill.counts for kill in kills)
            if number > KILLS:
                break
            self.trial(draw, variant, kind, number, kills)
        counted = [kill for kill in kills if kill.counts]
        self.assertEqual(len(counted), KILLS, "the other kills came before the first checkpoint or after the end")
        print(f"{len(counted)} kills resumed to the right end, {sum(kill.moved for kill in counted)} of them on "
              f"another number of ranks; {sum(kill.resumed for kill in counted)} had met a resumed run; "
              f"{len(kills) - len(counted)} not counted")
        for name in ("moment", "rank", "launcher"):
            numbers = Counter(getattr(kill, name) for kill in counted)
            print(f"by {name}: " + ", ".join(f"{key} {numbers[key]}" for key in sorted(numbers)), flush=True)

    def test_kills_with_fast_sums(self):
        """On the same number of ranks, Open MPI adds in the same order, so that the bits are equal here, too."""
        draw, counted = random.Random(SEED), 0
        for variant in itertools.islice(itertools.cycle(VARIANTS), MOST_TRIALS * FAST_KILLS):
            if counted == FAST_KILLS:
                break
            ranks = draw.choice((2, 4))
            whole = self.uninterrupted(variant, FAST, ranks)
            moment = Moment(draw.choice(("step", "writing", "prune", "epoch")), whole, draw)
            kill = self.kill(draw, whole, ranks, moment, *FAST)
            print(f"fast sums: {variant}, {kill.text}", flush=True)
            self.check_resumed(whole, ranks, *FAST)
            counted += kill.counts
        self.assertEqual(counted, FAST_KILLS)

    def test_other_signals(self):
        """SIGTERM to one rank makes all save the same step. A rank that is stopped is lost."""
        draw = random.Random(SEED)
        whole = self.uninterrupted("pai", EXACT)
        host = os.uname().nodename
        for number, code, part in ((signal.SIGTERM, INTERRUPTED, "interrupted"),
                                   (signal.SIGSTOP, RANK_LOST, "rank {} on {} (process ")):
            ranks, after = draw.choice(((2, 4), (4, 2), (4, 1)))
            victim = draw.randrange(ranks)
            liveness = sets("dist.liveness_seconds=2")
            # A short run may end before the signal reaches it. Then another moment is drawn.
            for _ in range(MOST_TRIALS):
                returned, said, _ = self.strike(number, victim, ranks, Moment("step", whole, draw), *EXACT, *liveness)
                if returned != 0:
                    break
                shutil.rmtree(self.out)
            print(f"{number.name} to rank {victim} of {ranks}: exit code {returned}, on with {after}", flush=True)
            self.assertEqual(returned, code, said)
            self.assertIn(part.format(victim, host), said)
            self.check_resumed(whole, after, *EXACT)


if __name__ == "__main__":
    sys.exit(on_ranks.run_cases(PROGRAM, [Kills]))
