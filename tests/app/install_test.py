#!/usr/bin/env python3
"""cmake --install makes a folder that can be moved, and in which everything finds everything."""
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from common import PROGRAM, ROOT, TIMEOUT, ProgramTest, final

BUILD = Path(PROGRAM).resolve().parent.parent


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=TIMEOUT, check=False,
                          stdin=subprocess.DEVNULL)


class Install(ProgramTest):
    def setUp(self):
        super().setUp()
        made = self.folder / "made"
        done = run("cmake", "--install", BUILD, "--prefix", made)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.prefix = made.rename(self.folder / "moved")
        self.share = self.prefix / "share" / "sculpt"

    def test_programs_and_modules(self):
        built = {path.name for path in (BUILD / "bin").iterdir() if path.name.startswith(("sculpt_", "libsculpt_"))}
        self.assertGreaterEqual(built, {"sculpt_run", "sculpt_bench", "sculpt_study"})
        self.assertEqual({path.name for path in (self.prefix / "bin").iterdir()}, built)
        for name in ("sculpt_run", "sculpt_bench", "sculpt_study"):
            done = run(self.prefix / "bin" / name, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_run_is_that_of_the_build(self):
        self.finish(self.config, "--out", self.folder / "built")
        done = run(self.prefix / "bin" / "sculpt_run", self.config, "--out", self.folder / "installed")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(final(self.folder / "installed"), final(self.folder / "built"))
        done = run("python3", "-B", self.share / "tools" / "show_summary.py", self.folder / "installed")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_module_of_mpi_is_found(self):
        if not (BUILD / "bin" / "libsculpt_mpi.so").exists() or shutil.which("mpirun") is None:
            self.skipTest("this build has no MPI")
        done = run(self.prefix / "bin" / "sculpt_run", self.config, "--ranks", "2", "--ranks-by", "mpi",
                   "--out", self.folder / "ranks")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("2 ranks", done.stdout)

    def test_files(self):
        """Configs can be planned where they are, and the job scripts name files that are installed."""
        for config in ("quickstart.toml", "cifar10/sculpt.toml"):
            done = run(self.prefix / "bin" / "sculpt_run", self.share / "configs" / config, "--plan")
            self.assertEqual(done.returncode, 0, done.stderr)
        scripts = sorted((self.share / "tools" / "slurm").glob("*.sbatch"))
        self.assertEqual(len(scripts), 5)
        for script in scripts:
            self.assertTrue(os.access(script, os.X_OK))
            names = re.findall(r'"\$sculpt/([^"]+)"', script.read_text())
            self.assertGreaterEqual(len(names), 2)
            for name in names:
                self.assertTrue((self.prefix / name).exists(), name)
        for name in ("LICENSE", "README.md", "docs/cluster.md", "tools/containers/build_inside.sh"):
            self.assertEqual((self.share / name).read_bytes(), (ROOT / name).read_bytes())
        # Every module of the tools that are installed is there.
        for tool in (self.share / "tools").glob("*.py"):
            for module in re.findall(r"^(?:import|from) (\w+)", tool.read_text(), re.MULTILINE):
                if (ROOT / "tools" / f"{module}.py").exists():
                    self.assertTrue((self.share / "tools" / f"{module}.py").exists(), f"{tool.name} needs {module}")


if __name__ == "__main__":
    unittest.main()
