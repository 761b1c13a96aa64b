#!/usr/bin/env python3
"""How sculpt_run starts ranks: --ranks, wrong launchers, missing libraries, signals, exit codes.

SCULPT_RUN names sculpt_run, and LAUNCHED_RANKS a program that starts itself as sculpt_run --ranks does
(launched/main.cpp).
"""
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import on_ranks
from on_ranks import parent_of, state_of, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app"))
from common import sets  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SCULPT_RUN", "")
LAUNCHED = os.environ.get("LAUNCHED_RANKS", "")
CONFIG = ROOT / "configs" / "quickstart.toml"
BY = on_ranks.ranks_by()
BUILT_WITH_MPI = (Path(PROGRAM).parent / "libsculpt_mpi.so").exists()
# The shortest run, and one of a single epoch.
SMALL = sets("method=dense", "cycles.count=1", "model.name=mlp", "train.checkpoint_every=0", "data.synthetic_train=10",
             "data.synthetic_test=10", "train.batch=10")
SHORT = SMALL + sets("train.epochs=1")
LAUNCHER = "the process that starts the ranks" if on_ranks.BY_SOCKETS else "mpirun"


def run(*words, **variables):
    environment = dict(on_ranks.environment(), **variables)
    return subprocess.run([str(word) for word in words], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def has_child(process):
    return bool(on_ranks.descendants(process))


class SculptRunTest(unittest.TestCase):
    """A test of the program itself. Its messages come once, from rank 0."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sculpt-ranks-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "run"

    def check(self, done, code, *parts):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(len(errors(done)), 1, done.stderr)
        for part in parts:
            self.assertIn(part, errors(done)[0])
        self.assertFalse(self.out.exists())


class SculptRun(SculptRunTest):
    def test_another_number_of_ranks(self):
        done = run(*on_ranks.command(4, PROGRAM, CONFIG, "--out", self.out, "--ranks", 2))
        launcher = "the launcher that has set SCULPT_RANKS" if on_ranks.BY_SOCKETS else "Open MPI's mpirun"
        self.check(done, 2, f"error: --ranks 2 contradicts {launcher}, which has started 4 ranks")

    def test_mistakes_are_told_once(self):
        done = run(PROGRAM, "--ranks", 2, "--ranks-by", BY, self.folder / "missing.toml", "--out", self.out)
        self.check(done, 2, "there is no config")
        done = run(*on_ranks.command(2, PROGRAM, CONFIG, "--out", self.out, "--set", "train.epoch=3"))
        self.check(done, 2, "train.epoch")

    def test_what_only_prints_is_printed_once(self):
        done = run(*on_ranks.command(2, PROGRAM, "--version"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("sculpt_run"), run(PROGRAM, "--version").stdout.count("sculpt_run"))

    def test_plans_are_checked_for_their_ranks(self):
        exact = ("--set", "dist.reduction=exact")
        for words, message in ((("--ranks", 3, *exact), "8 logical ranks cannot be spread over 3 ranks"),
                               (("--ranks", 4000), "is fewer than the 4000 ranks"),
                               ((*exact, "--set", "dist.logical_ranks=6"), "must be a power of two")):
            for only_prints in (("--plan",), ("--describe",)):
                self.check(run(PROGRAM, CONFIG, *words, *only_prints), 2, message)
        done = run(PROGRAM, CONFIG, "--ranks", 2, "--plan")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("are those of one process, not of a rank of 2", done.stdout)

    def test_steps_of_slurm(self):
        # These variables are those of srun's tasks without PMIx, and then those of an interactive shell of a job.
        step = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
        self.check(run(PROGRAM, CONFIG, "--out", self.out, SLURM_PROCID="0", **step), 2, "--mpi=pmix",
                   "srun has started 2 ranks without PMIx")
        other = run(PROGRAM, CONFIG, "--out", self.out, SLURM_PROCID="1", **step)
        self.assertEqual((other.returncode, other.stderr), (2, ""))
        done = run(PROGRAM, "--ranks", 2, self.folder / "missing.toml", SLURM_STEP_ID="0", SLURM_NTASKS="1",
                   SLURM_PROCID="0")
        self.check(done, 2, "there is no config")

    def test_output_that_is_read_late(self):
        # The reader of a pager may look at the first page for long. mpirun holds the rest, and the ranks end. Without
        # mpirun, the ranks wait for the reader.
        words = [PROGRAM, "--ranks", 2, "--ranks-by", BY, CONFIG, "--out", self.out]
        words += SMALL + sets("train.epochs=120", "dist.liveness_seconds=4")
        with subprocess.Popen([str(word) for word in words], env=on_ranks.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
            if on_ranks.BY_SOCKETS:
                time.sleep(10)  # longer than a rank may be silent or idle
                self.assertFalse((self.out / "summary.json").exists(), "the pipe held all of the output")
            else:
                self.assertTrue(wait_until(lambda: (self.out / "summary.json").exists(), 60), "the run does not end")
                time.sleep(18)  # an mpirun that hangs is ended after 15 s
            self.assertIsNone(process.poll(), "the pipe held all of the output")
            out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn("run folder", out)


class WithMpi(SculptRunTest):
    """The program and MPI."""

    def test_the_launcher_of_another_mpi(self):
        # This is what a rank sees that MPICH's mpiexec has started.
        done = run(PROGRAM, CONFIG, "--out", self.out, PMI_RANK="0", PMI_SIZE="2")
        self.check(done, 2, "says that this is rank 0 of 2, but ", "says that it is rank 0 of 1",
                   "the launcher belongs to another MPI")

    def test_programs_do_not_link_mpi(self):
        for name in ("sculpt_run", "sculpt_bench"):
            needed = run("readelf", "-d", Path(PROGRAM).parent / name).stdout
            self.assertIn("NEEDED", needed)
            self.assertNotIn("mpi", needed)
        self.assertIn("libmpi", run("readelf", "-d", Path(PROGRAM).parent / "libsculpt_mpi.so").stdout)


class WithoutMpi(SculptRunTest):
    """The program where MPI is missing."""

    def program_alone(self):
        """Returns the program in a folder without the library that links MPI."""
        # Another process copies it: a file that this process writes could still be open in a child of another case.
        run("cp", PROGRAM, self.folder)
        return self.folder / Path(PROGRAM).name

    def check_sockets(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("sockets, 2 ranks on 1 host\n", done.stdout)

    def test_one_rank(self):
        self.assertEqual(run(self.program_alone(), "--ranks", 1, CONFIG, "--plan").returncode, 0)

    def test_no_library(self):
        program = self.program_alone()
        done = run(program, "--ranks", 2, "--ranks-by", "mpi", CONFIG, "--out", self.out)
        why = ("cannot load", "libsculpt_mpi.so") if BUILT_WITH_MPI else ("this program was built without MPI",)
        self.check(done, 2, *why, "install the packages openmpi-bin and libopenmpi-dev", "--ranks-by sockets")
        self.check_sockets(run(program, "--ranks", 2, CONFIG, "--out", self.out, *SHORT))

    def test_no_mpirun(self):
        nothing = {"PATH": str(self.folder)}
        done = run(PROGRAM, "--ranks", 2, "--ranks-by", "mpi", CONFIG, "--out", self.out, **nothing)
        self.check(done, 2, "PATH has none" if BUILT_WITH_MPI else "built without MPI", "openmpi-bin",
                   "--ranks-by sockets")
        self.check_sockets(run(PROGRAM, "--ranks", 2, CONFIG, "--out", self.out, *SHORT, **nothing))

    def test_ranks_without_a_rendezvous(self):
        step = {"SCULPT_RANKS": "2", "SCULPT_RANK": "0"}
        self.check(run(PROGRAM, CONFIG, "--out", self.out, **step), 2, "set SCULPT_RENDEZVOUS to tcp:HOST:PORT")
        self.check(run(PROGRAM, CONFIG, "--out", self.out, SCULPT_RENDEZVOUS="udp:1", **step), 2,
                   "SCULPT_RENDEZVOUS is 'udp:1'")

    def test_sockets_are_chosen(self):
        self.check_sockets(run(PROGRAM, "--ranks", 2, "--ranks-by", "sockets", CONFIG, "--out", self.out, *SHORT))


class Launched:
    """A program that has started itself on ranks."""

    def __init__(self, count, mode, wait=True):
        self.process = subprocess.Popen([LAUNCHED, str(count), mode, BY], env=on_ranks.environment(),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.ranks = []
        if wait:
            self.ranks = [int(self.process.stdout.readline().split()[1]) for _ in range(count)]
            self.process.stdout.readline()  # "working"

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, out, err


class LaunchedTest(unittest.TestCase):
    def launch(self, *words, **options):
        job = Launched(*words, **options)
        self.addCleanup(job.process.kill)
        return job


class Signals(LaunchedTest):
    def test_one_signal_saves_the_same_step_everywhere(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            with self.subTest(signal=number):
                job = self.launch(2, "stop")
                job.send(number)
                code, out, err = job.end()
                self.assertEqual(code, 75, err)
                self.assertRegex(out, r"saved step \d+ of 2 ranks")
                self.assertEqual(err.count("stopping after this step"), 1, err)

    def test_repeated_signals_count_as_one(self):
        job = self.launch(4, "stop")
        for _ in range(5):
            job.send(signal.SIGINT)
            time.sleep(0.01)
        code, out, err = job.end()
        self.assertEqual(code, 75, err)
        self.assertIn("saved step", out)

    def test_a_batch_system_signals_all_processes(self):
        job = self.launch(2, "stop")
        for process in [parent_of(job.ranks[0]), *job.ranks, job.process.pid]:
            os.kill(process, signal.SIGTERM)
        code, out, err = job.end()
        self.assertEqual(code, 75, err)
        self.assertIn("saved step", out)

    def test_a_later_signal_ends_the_ranks_at_once(self):
        job = self.launch(2, "stubborn")
        job.send(signal.SIGINT)
        time.sleep(0.5)
        job.send(signal.SIGINT)
        time.sleep(6)
        self.assertIsNone(job.process.poll())
        job.send(signal.SIGINT)
        code, _, err = job.end()
        self.assertEqual(code, -signal.SIGINT, err)
        self.assertTrue(wait_until(lambda: not any(map(state_of, job.ranks))))

    def test_a_signal_before_the_ranks_are_ready(self):
        for mode, wait in (("late", 1.5), ("stop", 0)):
            with self.subTest(mode=mode):
                job = self.launch(2, mode, wait=False)
                self.assertTrue(wait_until(lambda: has_child(job.process.pid)))
                time.sleep(wait)
                job.send(signal.SIGTERM)
                code, out, err = job.end()
                self.assertEqual(code, 75, out + err)

    def test_a_closed_pipe_saves(self):
        job = self.launch(2, "stop")
        job.process.stdout.close()
        job.process.wait(60)
        err = job.process.stderr.read()
        job.process.stderr.close()
        self.assertEqual(job.process.returncode, 75, err)
        self.assertIn("standard output was closed", err)

    def test_stopped_and_continued(self):
        job = self.launch(2, "stop")
        job.send(signal.SIGTSTP)
        self.assertTrue(wait_until(lambda: all(state_of(p) == "T" for p in [*job.ranks, job.process.pid])))
        time.sleep(3)  # longer than the limit for signs of life
        job.send(signal.SIGCONT)
        self.assertTrue(wait_until(lambda: not any(state_of(p) == "T" for p in job.ranks)))
        time.sleep(0.5)
        job.send(signal.SIGINT)
        code, out, err = job.end()
        self.assertEqual(code, 75, err)
        self.assertIn("saved step", out)

    def test_the_ranks_do_not_outlive_the_program(self):
        job = self.launch(4, "stop")
        job.process.kill()
        job.process.wait()
        self.assertTrue(wait_until(lambda: not any(map(state_of, job.ranks)), 8), "ranks live on")
        job.process.communicate()


    def test_the_program_does_not_end_before_the_ranks(self):
        job = self.launch(4, "stop")
        launcher = parent_of(job.ranks[0])
        os.kill(launcher, signal.SIGKILL)
        code, _, err = job.end()
        self.assertEqual(code, 76, err)
        self.assertIn(f"{LAUNCHER} was ended by signal 9", err)
        self.assertFalse(any(map(state_of, job.ranks)), "ranks live on")

    def test_an_mpirun_that_goes_on_without_ranks_is_ended(self):
        job = self.launch(2, "stop")
        launcher = parent_of(job.ranks[0])
        time.sleep(0.5)  # the program knows its ranks by then
        os.kill(launcher, signal.SIGSTOP)
        for rank in job.ranks:
            os.kill(rank, signal.SIGKILL)
        code, _, err = job.end()
        self.assertEqual(code, 76, err)
        self.assertIn(f"{LAUNCHER} went on although all ranks had ended", err)


class ExitCodes(LaunchedTest):
    def test_own_codes_are_passed_on_and_others_are_1(self):
        for code, expected in ((0, 0), (1, 1), (2, 2), (75, 75), (76, 76), (9, 1)):
            with self.subTest(code=code):
                done = run(LAUNCHED, 2, code, BY)
                self.assertEqual(done.returncode, expected, done.stderr)
                self.assertEqual(f"{LAUNCHER} has ended with exit code 9" in done.stderr, code == 9)

    def test_killed_rank(self):
        job = self.launch(4, "stop")
        os.kill(job.ranks[2], signal.SIGKILL)
        code, _, err = job.end()
        self.assertEqual(code, 76, err)
        self.assertIn("error: a rank was ended by signal 9 (Killed)", err)
        # mpirun names the rank, and so does the process that starts the ranks itself.
        self.assertIn(f"rank 2 (process {job.ranks[2]})" if on_ranks.BY_SOCKETS else "process rank 2", err)

    def test_stopped_rank(self):
        job = self.launch(4, "stop")
        os.kill(job.ranks[2], signal.SIGSTOP)
        begin = time.monotonic()
        code, _, err = job.end()
        self.assertLess(time.monotonic() - begin, 12)
        self.assertEqual(code, 76, err)
        self.assertIn(f"(process {job.ranks[2]}) has given no sign of life", err)


if __name__ == "__main__":
    OWN = [WithoutMpi] if on_ranks.BY_SOCKETS else [WithMpi]
    sys.exit(on_ranks.run_cases(PROGRAM, [SculptRun, *OWN, Signals, ExitCodes]))
