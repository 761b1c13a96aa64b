"""What tools in Python make of the settings of a run: splits, recipes, names of results. Needs the
standard library only; tests/app/eval_checkpoint_test.py has what needs torch."""
import json
import math
import re
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run
import run_folder
import splits
import training_recipe
from training_recipe import Recipe, RecipeError

SUMMARY = {"method": "sculpt", "seed": 3, "prunable": 1000, "kept": 100, "sparsity": 0.9,
           "test_accuracy": 0.5, "train_loss": 1.25, "epochs": 6, "train_flops_vs_dense": 0.75,
           "seconds": 12.5}


class Splits(unittest.TestCase):
    def test_philox(self):
        # These are the known answers of Random123 (tests/kernels/philox_test.cpp).
        self.assertEqual(splits.philox4x32(0, 0, 0),
                         (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8))
        ones = (1 << 64) - 1
        self.assertEqual(splits.philox4x32(ones, ones, ones),
                         (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD))

    def test_golden_file(self):
        cases = json.loads((ROOT / "tests" / "golden" / "splits.json").read_text())
        self.assertGreaterEqual(len(cases), 6)
        for case in cases:
            with self.subTest(case=case):
                found = splits.split(case["train_size"], case["test_size"], case["seed"],
                                     case["val_split"], case["train_limit"], case["test_limit"])
                self.assertEqual(found["val"], case["val"])
                for part in ("train", "test"):
                    self.assertEqual(len(found[part]), case[part + "_count"])
                    self.assertEqual(found[part][:len(case[part])], case[part])

    def test_nothing_left(self):
        with self.assertRaisesRegex(splits.SplitError, "val_split = 0.9 holds out all 3"):
            splits.split(3, 3, 1, 0.9)


def keys_of_the_engine():
    """Returns {key: default} from docs/config.md, which a test keeps equal to the engine's options."""
    section, found = "", {}
    for line in (ROOT / "docs" / "config.md").read_text(encoding="utf-8").splitlines():
        heading = re.match(r"## (?:\[(\w+)\]|Top of the file)", line)
        if heading:
            section = f"{heading.group(1)}." if heading.group(1) else ""
        row = re.match(r"\| `(\w+)` \| [^|]+ \| `(.*?)` \|", line)
        if row:
            found[section + row.group(1)] = json.loads(row.group(2))
    return found


class Recipes(unittest.TestCase):
    def recipe(self, **settings):
        config = {}
        for key, value in settings.items():
            run_folder.set_value(config, f"{key.replace('__', '.')}={json.dumps(value)}")
        return Recipe(config)

    def test_every_setting_of_the_engine_is_known(self):
        # A new setting of a training cycle must be honoured by train_pytorch, or refused, or listed as
        # one without effect (tools/training_recipe.py).
        config = {}
        for key, value in keys_of_the_engine().items():
            run_folder.set_value(config, f"{key}={json.dumps(value)}")
        self.assertGreater(len(list(run_folder.keys(config))), 60)
        from_defaults, of_nothing = vars(Recipe(config)), vars(Recipe({}))
        self.assertEqual(from_defaults, of_nothing)  # defaults are the engine's

    def test_refused(self):
        for settings, text in (({"execution__precision": "bf16"}, "execution.precision"),
                               ({"model__init_from": "x.safetensors"}, "model.init_from"),
                               ({"data__crop_fill": "mean"}, "data.crop_fill"),
                               ({"data__label_noise": 0.1}, "data.label_noise"),
                               ({"train__accumulate": 2}, "train.accumulate = 2"),
                               ({"optim__rule": "lion"}, "optim.rule = 'lion'"),
                               ({"optim__ham": True}, "--set optim.ham=false"),
                               ({"optim__sign_in": 3}, "--set optim.sign_in=0"),
                               ({"optim__ema": 0.9}, "--set optim.ema=0.0"),
                               ({"optim__schedule": "polynomial"}, "optim.schedule = 'polynomial'"),
                               ({"train__optimizer": "adamw"}, "train.optimizer is not known"),
                               ({"datas__name": "mnist"}, "datas.name is not known")):
            with self.assertRaisesRegex(RecipeError, re.escape(text)):
                self.recipe(**settings)

    def test_digits_are_not_mirrored(self):
        self.assertFalse(self.recipe(data__name="mnist").flip)
        self.assertTrue(self.recipe(data__name="fashion_mnist").flip)
        self.assertFalse(self.recipe(data__name="cifar10", data__flip=False).flip)

    def test_schedules(self):
        # Each row is (schedule, step of 100, factor of lr), computed by hand from the documentation.
        for schedule, step, factor in (
                ("constant", 57, 1), ("linear", 0, 1), ("linear", 25, 0.75),
                ("triangular", 0, 0.2), ("triangular", 10, 0.6), ("triangular", 20, 1),
                ("triangular", 60, 0.5), ("cosine", 0, 0.1), ("cosine", 10, 1), ("cosine", 55, 0.5),
                ("one_cycle", 0, 0.04), ("one_cycle", 30, 1), ("one_cycle", 65, 0.500002),
                ("trapezoidal", 5, 0.55), ("trapezoidal", 50, 1), ("trapezoidal", 90, 0.5),
                ("step_warmup", 5, 0.55), ("step_warmup", 39, 1), ("step_warmup", 40, 0.1),
                ("step_warmup", 80, 0.01)):
            recipe = self.recipe(optim__schedule=schedule, optim__lr=2.0, optim__warmup=0.1)
            self.assertTrue(math.isclose(recipe.learning_rate(step, 100), 2 * factor, rel_tol=1e-9),
                            (schedule, step, recipe.learning_rate(step, 100)))
        self.assertEqual(set(training_recipe.SCHEDULES), set(re.findall(
            r"\w+", re.search(r"`schedule` \|[^|]*\|[^|]*\| one of ([^|]*)\|",
                              (ROOT / "docs" / "config.md").read_text()).group(1))))


class NamesOfResults(unittest.TestCase):
    def show(self, config, **more):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "summary.json").write_text(json.dumps({**SUMMARY, **more}))
            (Path(folder) / "config.toml").write_text(config)
            done = run(TOOLS / "show_summary.py", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_validation_is_called_so(self):
        self.assertIn("validation accuracy 50.00 %", self.show("[data]\nval_split = 0.1\n"))
        self.assertIn("test accuracy       50.00 %", self.show("[data]\nval_split = 0.0\n"))

    def test_the_best_of_what(self):
        self.assertIn("62.50 % in the best epoch of all epochs", self.show("", best_test_accuracy=0.625))
        self.assertIn("62.50 % in the best epoch at the final density",
                      self.show("", best_test_accuracy_at_final_density=0.625))


class RunMethods(unittest.TestCase):
    PROGRAM = """#!/usr/bin/env python3
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
table = {}
for i, word in enumerate(sys.argv):
    if word == "--set":
        key, value = sys.argv[i + 1].split("=", 1)
        section, _, name = key.rpartition(".")
        table.setdefault(section, {})[name] = value
text = ""
for section in sorted(table):
    text += (f"[{section}]\\n" if section else "")
    for name, value in table[section].items():
        text += name + " = " + (value if value[0].isdigit() else json.dumps(value)) + "\\n"
(out / "config.toml").write_text(text)
(out / "summary.json").write_text(json.dumps(%r))
""" % {**SUMMARY, "best_test_accuracy_at_final_density": 0.625}

    def run_methods(self, folder, *more):
        return run(TOOLS / "run_methods", "--data", folder, "--out", f"{folder}/out", "--table",
                   f"{folder}/table.md", "--program", f"{folder}/program", "--only", "dense", *more)

    def finished_table(self, folder):
        """Finishes the runs with a program that stands in for sculpt_run, and returns the table."""
        program = Path(folder) / "program"
        program.write_text(self.PROGRAM)
        program.chmod(0o755)
        self.assertEqual(self.run_methods(folder).returncode, 0)
        return (Path(folder) / "table.md").read_text()

    def test_settings_of_finished_runs_and_of_the_table(self):
        with tempfile.TemporaryDirectory() as folder:
            table = self.finished_table(folder)
            self.assertIn("| dense | 90.00 % | 50.00 | 62.50 |", table)
            self.assertIn("resnet20 of width 0.5", table)
            self.assertIn("on the 10,000 test images", table)
            again = self.run_methods(folder)
            self.assertIn("finished before, skipped", again.stdout)
            other = self.run_methods(folder, "--set", "data.val_split=0.1")
            self.assertEqual(other.returncode, 1)
            self.assertRegex(other.stderr, r"^error: .*other settings.*data.val_split is None there, "
                                           r"0.1 here.*--out")
            (Path(folder) / "out" / "dense" / "summary.json").unlink()
            fresh = self.run_methods(folder, "--set", "data.val_split=0.1", "--set", "model.width=1")
            self.assertEqual(fresh.returncode, 0, fresh.stderr)
            table = (Path(folder) / "table.md").read_text()
            self.assertIn("a share of 0.1 of the training set, held out", table)
            self.assertIn("resnet20 of width 1", table)

    def test_each_key_is_given_once(self):
        """sculpt_run refuses two values for one key."""
        line = self.run_methods("some", "--dry-run", "--set", "train.lr=0.2", "--set", "model.width=1",
                                "--set", "data.root=there").stdout
        for key, text in (("optim.lr", "0.2"), ("model.width", "1"), ("data.root", "there")):
            self.assertIn(f" {key}={text} ", line.replace("\n", " "))
            self.assertEqual(line.count(key + "="), 1, line)
        self.assertNotIn("train.lr", line)

    def test_the_summary_of_a_newer_program_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            table = self.finished_table(folder)
            path = Path(folder) / "out" / "dense" / "summary.json"
            summary = json.loads(path.read_text())
            path.write_text(json.dumps({**summary, "format": "sculpt-summary-2"}))
            done = self.run_methods(folder)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"^error: {path}: the format sculpt-summary-2 is newer than these tools")
            self.assertEqual((Path(folder) / "table.md").read_text(), table)


class Models(unittest.TestCase):
    def test_models_of_benchmarks(self):
        for tool in ("bench_pytorch.py", "bench_sparse.py"):
            for text in ("resnet20", "resnet20:", "resnet20:x", "resnet20:0", ":3", ""):
                done = run(TOOLS / tool, "--models", text)
                self.assertEqual(done.returncode, 2, (tool, text))
                self.assertIn("expected MODEL:BATCH", done.stderr)
        for text in ("1", "-0.1", "nan", "x"):
            self.assertEqual(run(TOOLS / "bench_sparse.py", f"--sparsities={text}").returncode, 2)


if __name__ == "__main__":
    unittest.main()
