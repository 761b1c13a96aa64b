"""The decisions of tools/slurm/requeue.sh, with a stand-in for scontrol: what is put back, how often, under which name."""
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from common import TOOLS, run

REQUEUE = TOOLS / "slurm" / "requeue.sh"
TEMPLATES = sorted((TOOLS / "slurm").glob("*.sbatch"))


class JobScripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sculpt-job-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.write("summary.json", "")
        self.write("scontrol", 'echo "$@" >>"$0.called"\n')

    def write(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)
        return path

    def environment(self, **variables):
        plain = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        return {**plain, "PATH": f"{self.folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "12", **variables}

    def script(self, command):
        return ["bash", "-c", f"set -euo pipefail; source '{REQUEUE}'; {command}"]

    def requeued(self):
        called = self.folder / "scontrol.called"
        return called.read_text().split("\n")[:-1] if called.exists() else []

    def step(self, code, **variables):
        """Runs a step with this exit code. Returns what the script said and what was put back."""
        (self.folder / "scontrol.called").unlink(missing_ok=True)
        done = run(*self.script(f"run_step '{self.folder}' bash -c 'exit {code}'"), env=self.environment(**variables))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout, self.requeued()

    def test_exit_codes(self):
        for code, ranks, back in ((0, 1, False), (1, 1, False), (2, 1, False), (75, 1, True), (75, 4, True),
                                  (76, 4, True), (137, 1, False), (137, 4, True), (143, 4, False)):
            with self.subTest(code=code, ranks=ranks):
                text, requeued = self.step(code, SLURM_NTASKS=str(ranks))
                self.assertEqual(requeued, ["requeue 12"] if back else [], text)

    def test_srun_that_starts_nothing(self):
        """srun may end with 0 without having started the tasks."""
        (self.folder / "summary.json").unlink()
        done = run(*self.script(f"run_step '{self.folder}' true"), env=self.environment())
        self.assertEqual(done.returncode, 76, done.stdout + done.stderr)
        self.assertIn("the step was not started", done.stdout)
        self.assertEqual(self.requeued(), ["requeue 12"])

    def test_an_element_is_put_back_alone(self):
        _, requeued = self.step(75, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
        self.assertEqual(requeued, ["requeue 7_3"])

    def test_limits(self):
        for code, restarts, back in ((75, 99, True), (75, 100, False), (76, 9, True), (76, 10, False)):
            text, requeued = self.step(code, SLURM_RESTART_COUNT=str(restarts))
            self.assertEqual(bool(requeued), back, text)
        text, requeued = self.step(75, SLURM_RESTART_COUNT="2", SCULPT_MOST_RESTARTS="2")
        self.assertEqual(requeued, [])
        self.assertIn("not put back after 2 restarts", text)

    def signalled(self, number):
        """Signals the shell only, while its step runs. The step ends with 75 after SIGUSR2, or by itself."""
        step = self.write("step", "trap 'echo asked; exit 75' USR2\necho ready\n"
                                  "for ((i = 0; i < 20; ++i)); do sleep 0.1; done\nexit 75\n")
        process = subprocess.Popen(self.script(f"run_step '{self.folder}' '{step}'"), env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.kill)
        while process.stdout.readline() != "ready\n":
            self.assertIsNone(process.poll())
        process.send_signal(number)
        text, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, text)
        return text

    def test_a_signal_of_the_shell_reaches_the_step(self):
        self.assertIn("asked", self.signalled(signal.SIGUSR2))
        self.assertEqual(self.requeued(), ["requeue 12"])

    def test_a_cancelled_job_is_not_put_back(self):
        self.assertIn("Slurm ends the job", self.signalled(signal.SIGTERM))
        self.assertEqual(self.requeued(), [])

    def wait_for_lock(self, host, age):
        lock = self.folder / "run.lock"
        lock.write_text('{\n  "sculpt_lock": 1,\n  "host": "%s"\n}\n' % host)
        touched = time.time() - age
        os.utime(lock, (touched, touched))
        done = run(*self.script(f"wait_for_lock '{self.folder}'; echo went on"), env=self.environment())
        self.assertIn("went on", done.stdout + done.stderr)
        return done.stdout

    def test_locks(self):
        self.assertNotIn("waiting", self.wait_for_lock(os.uname().nodename, 0))
        self.assertNotIn("waiting", self.wait_for_lock("elsewhere", 400))
        self.assertIn("waiting until the lock of another host", self.wait_for_lock("elsewhere", 198))

    def test_outside_of_slurm(self):
        environment = self.environment()
        del environment["SLURM_JOB_ID"]
        done = run(*self.script("echo went on"), env=environment)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("this script is for sbatch", done.stderr)

    def test_templates(self):
        """What every template needs for a requeue: the signal, appended logs, and --resume."""
        self.assertEqual(len(TEMPLATES), 5)
        for template in TEMPLATES:
            text = template.read_text()
            with self.subTest(template.name):
                for line in ("#SBATCH --signal=USR2@300", "#SBATCH --requeue", "#SBATCH --open-mode=append"):
                    self.assertIn(line + "\n", text)
                of_study = template.name == "array_over_study.sbatch"
                # sculpt_study goes on by itself.
                self.assertIn("--index" if of_study else "--resume", text)
                self.assertIn(f"{template.name} {'STUDY' if of_study else 'CONFIG'}", text)
                # A job without words says what is missing.
                done = run("bash", template, env=self.environment())
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, f"usage: sbatch (--array=1-N )?{template.name}")


if __name__ == "__main__":
    unittest.main()
