"""Tests the command lines of quickstart, test, run_methods and show_summary without a build."""
import json
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run

SUMMARY = {"method": "sculpt", "seed": 3, "prunable": 1000, "kept": 100, "sparsity": 0.9,
           "test_accuracy": 0.5, "best_test_accuracy_at_final_density": 0.625,
           "train_loss": 1.25, "epochs": 6,
           "train_flops": 1e9, "train_flops_vs_dense": 0.75, "seconds": 12.5,
           "images_per_second": 1234.5, "peak_memory_bytes": 1 << 20, "device": "cpu"}
# This program replaces sculpt_run. It writes summary.json, or fails the first time.
FAKE_PROGRAM = """#!/usr/bin/env python3
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
assert "--resume" in sys.argv
if "lrr" in out.name and not (out / "tried").exists():
    (out / "tried").write_text("")
    sys.exit(9)
(out / "summary.json").write_text(json.dumps(%r))
""" % SUMMARY


class Usage(unittest.TestCase):
    def test_help_and_unknown_arguments(self):
        for tool in ("quickstart", "test"):
            result = run(TOOLS / tool, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn("--no-install", result.stdout)
        self.assertNotEqual(run(TOOLS / "quickstart", "--dtaa", "x").returncode, 0)
        self.assertIn("no-such-folder",
                      run(TOOLS / "quickstart", "--data", "no-such-folder").stderr)
        self.assertIn("cpu, debug, asan, tsan", run(TOOLS / "test", "--preset", "gpu").stderr)

    def test_missing_packages_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            # This PATH has the tools of a shell but no compiler.
            for name in ("bash", "dirname", "sort", "head", "sed", "cat", "id", "env"):
                target = run("bash", "-c", f"command -v {name}").stdout.strip()
                (Path(folder) / name).symlink_to(target)
            result = run(TOOLS / "test", "--no-install", env={"PATH": folder})
        self.assertEqual(result.returncode, 1)
        for package in ("g++", "cmake", "ninja-build", "libfmt-dev", "libtomlplusplus-dev"):
            self.assertIn(package, result.stderr)


class Summary(unittest.TestCase):
    def test_table(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(run(TOOLS / "show_summary.py", folder).returncode, 1)
            (Path(folder) / "summary.json").write_text(json.dumps(SUMMARY))
            result = run(TOOLS / "show_summary.py", folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        for text in ("50.00 % in the last epoch", "62.50 % in the best epoch at the final density", "90.00 %",
                     "100 of 1,000", "0.750 x", "1e+09", "12.5 s"):
            self.assertIn(text, result.stdout)
        self.assertNotIn("dense kernels", result.stdout)
        self.assertNotIn("ranks", result.stdout)

    def test_several_folders_and_ranks(self):
        with tempfile.TemporaryDirectory() as folder:
            folders = [Path(folder) / name for name in ("one", "four")]
            for path, ranks in zip(folders, (1, 4)):
                path.mkdir()
                (path / "summary.json").write_text(json.dumps({**SUMMARY, "ranks": ranks}))
            result = run(TOOLS / "show_summary.py", *folders)
        self.assertEqual(result.returncode, 0, result.stderr)
        of_one, of_four = result.stdout.split("\n\n")
        self.assertEqual([text.splitlines()[0] for text in (of_one, of_four)], [str(path) for path in folders])
        self.assertNotIn("ranks", of_one)
        self.assertIn("1,234 images/s, on 4 ranks", of_four)

    def test_damage(self):
        for text in ("", "{", "3", "{}", '{"epochs": 6}'):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "summary.json").write_text(text)
                result = run(TOOLS / "show_summary.py", folder)
            self.assertEqual(result.returncode, 1, text)
            self.assertIn("summary.json is damaged", result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertEqual(result.stdout, "")

    def test_newer_format(self):
        with tempfile.TemporaryDirectory() as folder:
            summary = {**SUMMARY, "format": "sculpt-summary-99"}
            (Path(folder) / "summary.json").write_text(json.dumps(summary))
            result = run(TOOLS / "show_summary.py", folder)
        self.assertEqual(result.returncode, 1)
        self.assertIn("sculpt-summary-99", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_time_on_dense_kernels(self):
        for dense, expected in ((31.25, "31.2 s, 2.50 x as long"), (None, None)):
            with tempfile.TemporaryDirectory() as folder:
                summary = {**SUMMARY, "seconds_dense": dense}
                (Path(folder) / "summary.json").write_text(json.dumps(summary))
                result = run(TOOLS / "show_summary.py", folder)
            self.assertEqual(result.returncode, 0, result.stderr)
            if expected:
                self.assertIn(expected, result.stdout)
            else:
                self.assertNotIn("with dense kernels", result.stdout)


class RunMethods(unittest.TestCase):
    def test_dry_run_names_existing_configs(self):
        result = run(TOOLS / "run_methods", "--data", "some", "--dry-run")
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 12)
        for line in lines:
            self.assertIn("--set data.root=", line)
            config = next(word for word in line.split() if word.endswith(".toml"))
            self.assertTrue(Path(config).is_relative_to(ROOT / "configs"))
            self.assertTrue(Path(config).exists(), config)

    def test_stops_at_a_failure_and_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "fake"
            program.write_text(FAKE_PROGRAM)
            program.chmod(0o755)
            words = [TOOLS / "run_methods", "--data", folder, "--out", f"{folder}/out", "--table",
                     f"{folder}/table.md", "--program", program, "--only", "dense,lrr"]
            first = run(*words)
            self.assertEqual(first.returncode, 9, first.stderr)
            self.assertIn("Not finished yet", (Path(folder) / "table.md").read_text())
            self.assertEqual(run(*words).returncode, 9)  # lrr-95 fails once, too
            last = run(*words)
            self.assertEqual(last.returncode, 0, last.stderr)
            self.assertIn("dense: finished before, skipped", last.stdout)
            records = json.loads((Path(folder) / "table.json").read_text())
        self.assertEqual([r["run"] for r in records], ["dense", "lrr-90", "lrr-95"])
        self.assertIn("| lrr-95 | 90.00 % | 50.00 | 62.50 | 1.2500 | 6 | 0.750 | 12 |", last.stdout)


if __name__ == "__main__":
    unittest.main()
