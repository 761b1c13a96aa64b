#!/usr/bin/env python3
"""The job scripts of tools/slurm with a real Slurm: signals, kills, requeues, several ranks.

Starts Slurm in a temporary folder. SCULPT_RUN names sculpt_run. Words of the command line select cases.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "app"), str(HERE.parent / "dist")]
import on_ranks  # noqa: E402
from common import TINY, final, sets, states  # noqa: E402

PROGRAM = Path(os.environ.get("SCULPT_RUN", ROOT / "build" / "cpu" / "bin" / "sculpt_run")).resolve()
NEEDED = {"slurm-wlm": ("slurmctld", "slurmd", "sbatch", "srun", "scontrol"), "munge": ("munged",)}
# A run takes seconds, so that a signal arrives in the middle of it.
SHORT = sets("train.epochs=12", "train.checkpoint_steps=1")
LIMIT = 100  # seconds until all cases give up, so that Slurm is ended before CTest kills the test
DEADLINE = time.monotonic() + LIMIT


def why_skipped():
    missing = [package for package, programs in NEEDED.items() if not all(map(shutil.which, programs))]
    if missing:
        return f"missing packages: {' '.join(missing)}"
    return None if os.geteuid() == 0 else "starting Slurm's daemons needs root"


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, what, pause=0.3):
    while not condition():
        if time.monotonic() > DEADLINE:
            raise AssertionError(f"did not happen within {LIMIT} s of the start: {what() if callable(what) else what}")
        time.sleep(pause)


def processes_of(program, folder, out):
    """Returns the processes that run the program in a working folder with the word `out` in their command line.
    Cases run at the same time, and two of them may use the same name for the folder of a run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "exe")) == program:
                if Path(os.readlink(entry / "cwd")) == folder and out in (entry / "cmdline").read_text().split("\0"):
                    found.append(int(entry.name))
        except OSError:
            pass  # the process has ended
    return sorted(found)


def slurmstepd_of(number):
    """Returns the processes by which Slurm runs the steps of a job. They name job and step in their titles."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_text().startswith(f"slurmstepd: [{number}."):
                found.append(int(entry.name))
        except OSError:
            pass  # the process has ended
    return found


class Job:
    """A job of Slurm, or an element of an array."""

    def __init__(self, name, work, log, out):
        self.name, self.work, self.log_file = name, work, work / log
        self.out, self.folder = out, work / out

    def field(self, key):
        found = re.search(rf"\b{key}=(\S+)", command("scontrol", "show", "job", self.name, "-o"))
        return found.group(1)

    def log(self):
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait_for(self, *wanted):
        wait_until(lambda: self.field("JobState") in wanted,
                   lambda: f"{wanted} of job {self.name}, which is {self.field('JobState')}\n{self.log()}")

    def find_processes(self, count):
        """Finds the processes of the run, as soon as there are so many. To look takes long."""
        def found():
            self.processes = processes_of(PROGRAM, self.work, self.out)
            return len(self.processes) == count
        wait_until(found, lambda: f"{count} processes of job {self.name}\n{self.log()}", pause=0.02)

    def signal(self, number):
        for process in self.processes:
            os.kill(process, number)

    def wait_for_requeue(self, restarts):
        wait_until(lambda: self.field("JobState") == "PENDING" and self.field("Restarts") == str(restarts),
                   lambda: f"requeue of {self.name}\n{self.log()}")

    def start_again(self):
        """Starts a job that was put back, which would wait for two minutes. Slurm 22.05 may refuse the
        credentials of a job that starts in the second in which it was put back, and cannot start a step of PMIx
        while the step of the same name has not ended."""
        number = self.field("JobId")
        wait_until(lambda: not slurmstepd_of(number), f"end of slurmstepd of job {number}")
        time.sleep(2)
        command("scontrol", "update", f"JobId={self.name}", "StartTime=now")


def saves_of(folder):
    """Returns how many states a run has saved. It keeps the last two of them."""
    return max((int(file.stem.split("-")[1]) for file in states(folder)), default=0)


def in_the_middle(jobs, act, ranks=1):
    """Calls act(job) for each job when its run has trained a few steps. It has saved two states before."""
    waiting = list(jobs)
    for job in jobs:
        job.find_processes(ranks)

    def all_reached():
        for job in list(waiting):
            if saves_of(job.folder) >= 5:
                act(job)
                waiting.remove(job)
            elif (job.folder / "summary.json").exists():
                raise AssertionError(f"job {job.name} has finished before the test looked; give it more epochs")
        return not waiting

    wait_until(all_reached, lambda: "\n".join(job.log() for job in waiting), pause=0.005)


class SlurmTest(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="sculpt-slurm-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        (self.work / "tiny.toml").write_text(TINY)
        # The folders and links stand for what cmake --install makes.
        (self.work / "sculpt" / "share" / "sculpt").mkdir(parents=True)
        (self.work / "sculpt" / "bin").symlink_to(PROGRAM.parent)
        (self.work / "sculpt" / "share" / "sculpt" / "tools").symlink_to(ROOT / "tools")

    def submit(self, script, options, out, *words, config="tiny.toml", **more):
        variables = dict(os.environ, SCULPT_PREFIX=str(self.work / "sculpt"), **more)
        # More ranks than processors must not wait busily.
        variables.update(on_ranks.ENVIRONMENT)
        done = subprocess.run(["sbatch", "--parsable", "--cpus-per-task=1", *map(str, options),
                               str(ROOT / "tools" / "slurm" / script), config, out, *map(str, words)],
                              cwd=self.work, env=variables, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def alone(self, name, *words):
        """Starts a run of the config without Slurm. In a session of its own it gets its share of a busy
        machine. Returns a function that waits for the end and returns the bytes of the result."""
        process = subprocess.Popen([str(PROGRAM), "tiny.toml", "--out", name, "--threads", "1", *map(str, words)],
                                   cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(process.kill)

        def result():
            _, errors = process.communicate(timeout=max(1, DEADLINE - time.monotonic()))
            self.assertEqual(process.returncode, 0, errors)
            return final(self.work / name)

        return result

    def finish(self, job, expected):
        # Slurm may fail to start a step of PMIx so soon after another one. The script puts the job back.
        restarts = int(job.field("Restarts"))
        for attempt in range(restarts + 1, restarts + 4):
            job.wait_for("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PENDING")
            if job.field("JobState") != "PENDING" or job.field("Restarts") != str(attempt):
                break
            self.assertIn("the step was not started", job.log())
            job.start_again()
        job.wait_for("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        self.assertEqual(job.field("JobState"), "COMPLETED", job.log())
        self.assertTrue((job.folder / "summary.json").exists(), job.log())
        self.assertEqual(final(job.folder), expected, job.log())

    def elements(self, array, numbers):
        return [Job(f"{array}_{n}", self.work, f"sculpt-seeds-{array}_{n}.log", f"runs/seed-{n}")
                for n in numbers]


class Array(SlurmTest):
    def test_signal_kill_and_cancel(self):
        array = self.submit("array_over_seeds.sbatch", ["--array=1-4"], "runs", *SHORT)
        free, asked, killed, cancelled = self.elements(array, range(1, 5))
        # A stopped run waits for what the test does to it.
        in_the_middle([asked, killed, cancelled], lambda job: job.signal(signal.SIGSTOP))
        command("scancel", "--signal=USR2", asked.name)
        asked.signal(signal.SIGCONT)
        command("scancel", cancelled.name)
        killed.signal(signal.SIGKILL)

        # The signal that comes before the time limit: the element alone is put back.
        asked.wait_for_requeue(1)
        self.assertIn("the step has ended with exit code 75; the job goes back into the queue", asked.log())
        # A killed task: the element fails, and a person puts it back.
        killed.wait_for("FAILED")
        self.assertIn("failed: the step has ended with exit code 137", killed.log())
        command("scontrol", "requeue", killed.name)
        killed.wait_for_requeue(1)
        # A cancelled element has saved, and stays cancelled.
        cancelled.wait_for("CANCELLED")
        wait_until(lambda: "it is not put back here" in cancelled.log(), cancelled.log)
        self.assertIn("interrupted; the run is saved", cancelled.log())
        for job in (asked, killed):
            self.assertFalse((job.folder / "summary.json").exists())
            job.start_again()
        again = self.submit("array_over_seeds.sbatch", ["--array=4"], "runs", *SHORT)

        results = {n: self.alone(f"alone-{n}", *SHORT, "--set", f"seed={n}") for n in range(1, 5)}
        expected = {n: result() for n, result in results.items()}
        self.finish(free, expected[1])
        self.finish(asked, expected[2])
        self.finish(killed, expected[3])
        self.finish(self.elements(again, [4])[0], expected[4])
        self.assertEqual(len(set(expected.values())), 4, "the seeds differ")
        # Requeues of elements restarted no other one, and the logs of both attempts are there.
        self.assertEqual(free.field("Restarts"), "0")
        self.assertEqual(free.log().count("== "), 2, free.log())
        for job in (asked, killed):
            self.assertIn(f"job {job.name}: restart 0 on", job.log())
            self.assertIn(f"job {job.name}: restart 1 on", job.log())
            self.assertIn("going on after epoch", job.log())

    def test_time_limit(self):
        """--signal of the script reaches the program, and the job goes back into the queue before its limit."""
        options = ["--array=5", "--time=1", "--signal=USR2@60"]
        array = self.submit("array_over_seeds.sbatch", options, "runs", *sets("train.epochs=2000"))
        job = self.elements(array, [5])[0]
        # Slurm looks at limits twice a minute. Meanwhile the other cases need the processors.
        job.find_processes(1)
        os.setpriority(os.PRIO_PROCESS, job.processes[0], 19)
        job.wait_for_requeue(1)
        self.assertIn("interrupted; the run is saved", job.log())
        self.assertNotIn("DUE TO TIME LIMIT", job.log())
        self.assertTrue(states(job.folder))
        command("scancel", job.name)


class Study(SlurmTest):
    def test_elements_run_the_runs_of_a_study(self):
        text = 'base = "tiny.toml"\n[set]\ntrain.epochs = 12\ntrain.checkpoint_steps = 1\n[vary]\nseed = [1, 2]\n'
        (self.work / "study.toml").write_text(text)
        array = self.submit("array_over_study.sbatch", ["--array=1-2"], "runs", config="study.toml")
        free, asked = [Job(f"{array}_{n}", self.work, f"sculpt-study-{array}_{n}.log", f"runs/00{n}-s{n}")
                       for n in (1, 2)]
        in_the_middle([asked], lambda job: job.signal(signal.SIGSTOP))
        command("scancel", "--signal=USR2", asked.name)
        asked.signal(signal.SIGCONT)
        asked.wait_for_requeue(1)
        self.assertIn("the step has ended with exit code 75; the job goes back into the queue", asked.log())
        self.assertFalse((asked.folder / "summary.json").exists())
        asked.start_again()
        for number, job in ((1, free), (2, asked)):
            self.finish(job, self.alone(f"alone-{number}", *SHORT, "--set", f"seed={number}")())


class Ranks(SlurmTest):
    def test_without_mpi(self):
        """Ranks find each other by a file that is named after the job."""
        words = sets("train.epochs=2", "dist.reduction=exact", "dist.logical_ranks=2")
        number = self.submit("one_node.sbatch", ["--ntasks=2"], "run", *words, SCULPT_RENDEZVOUS=f"file:{self.work}")
        job = Job(number, self.work, f"sculpt-{number}.log", "run")
        self.finish(job, self.alone("alone", *words)())
        self.assertIn("sockets, 2 ranks on 1 host", job.log())
        self.assertEqual(list(self.work.glob("*.rendezvous*")), [])

    def test_lost_rank(self):
        """A killed rank ends the step, the script puts the job back, and the end is that of one rank."""
        why = on_ranks.why_skipped(PROGRAM)
        if why:
            self.skipTest(why)
        words = sets("train.epochs=12", "train.checkpoint_steps=1", "dist.reduction=exact", "dist.logical_ranks=2",
                     "dist.liveness_seconds=5")
        number = self.submit("one_node.sbatch", ["--ntasks=2"], "run", *words)
        job = Job(number, self.work, f"sculpt-{number}.log", "run")

        def lose_a_rank(_):
            os.kill(job.processes[-1], signal.SIGKILL)

        in_the_middle([job], lose_a_rank, ranks=2)
        job.wait_for_requeue(1)
        self.assertRegex(job.log(), "exit code (76|137); the job goes back")
        job.start_again()
        self.finish(job, self.alone("alone", *words)())
        self.assertIn("going on after epoch", job.log())


def main():
    reason = why_skipped()
    if reason:
        print(f"skipped: {reason}")
        return on_ranks.SKIPPED
    folder = Path(tempfile.mkdtemp(prefix="sculpt-slurmd-"))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        command(HERE / "start_slurm.sh", folder, 16)
        return on_ranks.run_in_parallel([Array, Study, Ranks])
    finally:
        subprocess.run([str(HERE / "stop_slurm.sh"), str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
