"""The settings and files that decide the kernels of a run, and so the bits of its result."""
import json
import os
import re
import shutil

from common import ProgramTest, final, main, sculpt_run

FLIPPED = {"\tsparse\t": "\tnative\t", "\tnative\t": "\tsparse\t"}


class Kernels(ProgramTest):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"

    def train(self, config, out, *words, cache=None):
        """Returns the bytes of the finished network."""
        done = sculpt_run(config, "--out", self.folder / out, *words,
                          env={**os.environ, "XDG_CACHE_HOME": str(cache or self.cache)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return final(self.folder / out)

    def choices_of(self, cache):
        return cache / "sculpt" / "choices.txt"

    def turn_round(self, cache):
        """Changes the user's file so that it has the opposite of every choice that was timed."""
        path = self.choices_of(cache)
        text = re.sub("\t(sparse|native)\t", lambda word: FLIPPED[word[0]], path.read_text())
        path.write_text(text)
        return text

    def test_by_the_rule_no_cache_changes_a_bit(self):
        # This cache changes the bits of a run that is tuned.
        tuned = self.train(self.config, "tuned", "--sparse", "tuned")
        poison = self.turn_round(self.cache)
        self.assertNotEqual(self.train(self.config, "otherwise", "--sparse", "tuned"), tuned)
        poison = self.choices_of(self.cache).read_text()

        empty = self.folder / "empty"
        empty.mkdir()
        first = self.train(self.config, "first", cache=empty)
        second = self.train(self.config, "second")
        self.assertTrue(first == second, "final.safetensors differs")
        self.assertEqual(list(empty.iterdir()), [])
        self.assertEqual(self.choices_of(self.cache).read_text(), poison)
        self.assertFalse((self.folder / "first" / "kernel_choices.json").exists())

    def test_a_tuned_run_is_repeated_from_its_folder(self):
        first = self.train(self.config, "first", "--sparse", "tuned")
        recorded = (self.folder / "first" / "kernel_choices.json").read_text()
        self.assertGreater(len(json.loads(recorded)["choices"]), 10)
        self.turn_round(self.cache)
        self.assertNotEqual(self.train(self.config, "otherwise", "--sparse", "tuned"), first)
        again = self.train(self.folder / "first" / "config.toml", "again")
        self.assertTrue(again == first, "final.safetensors differs")
        self.assertEqual((self.folder / "again" / "kernel_choices.json").read_text(), recorded)
        # A repetition gives the same bits and must have the choices of the first cycle, too.
        third = self.train(self.folder / "again" / "config.toml", "third")
        self.assertTrue(third == first, "final.safetensors differs")

    def test_damaged_choices_are_an_error_before_the_run(self):
        self.train(self.config, "first", "--sparse", "tuned")
        path = self.folder / "first" / "kernel_choices.json"
        path.write_text('{"a pass": "quick"}')
        config = self.folder / "first" / "config.toml"
        self.assert_fails(2, [path, "'a pass'", "quick", "delete it"], config, "--out",
                          self.folder / "second")
        self.assertFalse((self.folder / "second").exists())
        # The rule does not read the file.
        self.finish(config, "--out", self.folder / "third", "--sparse", "auto")

    def test_the_environment_says_what_decides_the_bits(self):
        self.train(self.config, "run")
        environment = json.loads((self.folder / "run" / "environment.json").read_text())
        for key in ("commit", "compiler", "build", "c_library", "device", "backend", "threads",
                    "caches"):
            self.assertIn(key, environment)
        self.assertTrue(environment["build"])
        self.assertGreaterEqual(environment["caches"]["l2"], 0)

    def test_a_resume_warns_of_each_change(self):
        out = self.folder / "run"
        stopped = self.stop_early(out)
        path = out / "environment.json"
        recorded = json.loads(path.read_text())
        changes = {
            "build": ("0123", "another build of the program"),
            "c_library": ("glibc 1.0", "the C library glibc 1.0"),
            "backend": ("cpu-vax", "on the backend cpu-vax"),
            "threads": (99, "with 99 threads"),
            "caches": ({"l2": 64 << 20 if recorded["caches"]["l2"] < 1 << 20 else 1},
                       "an L2 cache of"),
        }
        path.write_text(json.dumps({**recorded, **{key: now for key, (now, _) in changes.items()}}))
        done = sculpt_run(self.config, "--out", out, "--resume", *stopped)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
        self.assertEqual(len(warnings), len(changes), done.stderr)
        for _, text in changes.values():
            self.assertEqual(sum(text in line for line in warnings), 1, (text, done.stderr))

    def warnings(self, *words):
        """Runs the program to its end and returns its warnings."""
        done = sculpt_run(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]

    def test_the_start_of_a_run_stays_known(self):
        out = self.folder / "run"
        self.interrupt(out, self.config, "--threads", "2")
        path = out / "environment.json"
        self.interrupt(out, self.config, "--resume", "--threads", "1")
        environment = json.loads(path.read_text())
        self.assertEqual(environment["threads"], 2)
        self.assertEqual([other["threads"] for other in environment["resumed"]], [1])
        warnings = [line for line in self.warnings("--resume", out, "--threads", "3")
                    if "the run was" in line]  # the machine may have fewer processors than three
        self.assertEqual(len(warnings), 2, warnings)
        self.assertIn("was started with 2 threads and was resumed with 1", warnings[0])
        self.assertIn("was started with 2 threads and continues with 3", warnings[1])
        environment = json.loads(path.read_text())
        self.assertEqual(environment["threads"], 2)
        self.assertEqual([other["threads"] for other in environment["resumed"]], [1, 3])
        self.assertTrue(environment["data_fingerprint"])

    def test_a_lost_environment_is_said(self):
        out = self.folder / "run"
        path = out / "environment.json"
        self.interrupt(out, self.config)
        for number, (bad, problem) in enumerate(((None, "environment.json is missing"), ("", "is missing or empty"),
                                                 ('{"threads": ', "is damaged"), ("[]", "is damaged"))):
            with self.subTest(bad):
                copy = self.folder / f"copy-{number}"
                shutil.copytree(out, copy)
                path = copy / "environment.json"
                path.unlink() if bad is None else path.write_text(bad)
                warnings = self.warnings("--resume", copy)
                self.assertEqual(len(warnings), 1, warnings)
                self.assertIn(problem, warnings[0])
                self.assertIn("not known whether program or machine have changed", warnings[0])
                self.assertTrue(json.loads(path.read_text())["start_unknown"])
                # The finished run does not depend on the file.
                path.write_text(bad or "")
                warnings = self.warnings("--resume", copy)
                self.assertEqual(len(warnings), 1, warnings)
                self.assertIn(str(path), warnings[0])

    def test_lost_choices_are_said(self):
        out = self.folder / "run"
        self.interrupt(out, self.config, "--sparse", "tuned")
        path = out / "kernel_choices.json"
        self.assertTrue(path.exists())
        path.unlink()
        warnings = self.warnings("--resume", out)
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn(f"{path} is missing: kernels are timed again", warnings[0])
        self.assertTrue(path.exists())

    def test_a_resume_on_the_same_machine_does_not_warn(self):
        out = self.folder / "run"
        stopped = self.stop_early(out)
        done = sculpt_run(self.config, "--out", out, "--resume", *stopped)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("warning", done.stderr)

    def stop_early(self, out):
        """Makes a folder whose run has not finished. Returns the options of the run."""
        self.finish(self.config, "--out", out)
        # The folder is in the state after a kill before the first checkpoint.
        for path in [*(out / "checkpoints").iterdir(), *out.glob("*.jsonl"), out / "summary.json"]:
            path.unlink()
        return []


if __name__ == "__main__":
    main()
