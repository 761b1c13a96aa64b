"""tools/run_folder.py reads configs also where Python has no TOML reader."""
import re
import tempfile
import unittest
from pathlib import Path

import common  # noqa: F401  (finds tools/)
import run_folder

TEXT = """
method = "sculpt"   # a comment with = and "
seed = 7
[data]
root = "a # b"
limit = 20_000
[train]
lr = 1e-1
nesterov = false
milestones = [0.4,
              0.8,]
[prune]
plan = ["train 3", "prune magnitude global 0.2"]
deep.key = -2.5
[[steps]]
kind = 'train'
[[steps]]
kind = 'prune'
"""
EXPECTED = {
    "method": "sculpt", "seed": 7, "data": {"root": "a # b", "limit": 20000},
    "train": {"lr": 0.1, "nesterov": False, "milestones": [0.4, 0.8]},
    "prune": {"plan": ["train 3", "prune magnitude global 0.2"], "deep": {"key": -2.5}},
    "steps": [{"kind": "train"}, {"kind": "prune"}],
}


class Config(unittest.TestCase):
    def test_subset_reader(self):
        self.assertEqual(run_folder.parse_toml_subset(TEXT), EXPECTED)

    def test_agrees_with_the_standard_reader(self):
        if run_folder.tomllib is not None:
            self.assertEqual(run_folder.tomllib.loads(TEXT), EXPECTED)
        # Studies are no configs.
        for path in sorted(path for path in (common.ROOT / "configs").rglob("*.toml")
                           if path.parent.name != "studies" or path.name == "common.toml"):
            with self.subTest(path.name):
                text = path.read_text(encoding="utf-8")
                self.assertEqual(run_folder.parse_toml_subset(text), run_folder._read_one(path))

    def test_a_base_gives_what_a_config_does_not_have(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "sub").mkdir()
            (folder / "all.toml").write_text("method = 'imp'\n[train]\nepochs = 9\nbatch = 2\n")
            (folder / "sub" / "a.toml").write_text("base = '../all.toml'\n[train]\nepochs = 8\n")
            (folder / "sub" / "b.toml").write_text("base = 'a.toml'\n[data]\nflip = false\n")
            self.assertEqual(run_folder.read_config(folder / "sub" / "b.toml"),
                             {"method": "imp", "train": {"epochs": 8, "batch": 2},
                              "data": {"flip": False}})
            (folder / "all.toml").write_text("base = 'sub/b.toml'\n")
            with self.assertRaisesRegex(run_folder.ConfigError, "is its own base"):
                run_folder.read_config(folder / "sub" / "b.toml")
            (folder / "all.toml").write_text("base = 'gone.toml'\n")
            with self.assertRaisesRegex(run_folder.ConfigError, "there is no file .*gone.toml"):
                run_folder.read_config(folder / "sub" / "b.toml")

    def test_old_names_are_those_of_the_engine(self):
        table = (common.ROOT / "apps" / "sculpt_run" / "key_names.cpp").read_text(encoding="utf-8")
        rows = re.search(r"kRenamed\[\] = \{(.*?)\};", table, re.DOTALL).group(1)
        engine = dict(re.findall(r'\{"([^"]+)",\s*"([^"]+)"\}', rows))
        self.assertGreater(len(engine), 20)
        self.assertEqual(run_folder.RENAMED_KEYS, engine)
        header = (common.ROOT / "engine" / "config" / "config_document.h").read_text(encoding="utf-8")
        self.assertIn(f'{{"sculpt-config", {run_folder.CONFIG_VERSION}}}', header)

    def test_old_names_and_formats(self):
        with tempfile.TemporaryDirectory() as folder:
            path, base = Path(folder) / "a.toml", Path(folder) / "base.toml"
            base.write_text("[train]\nlr = 3\n[wr]\nrewind_epoch = 2\n")
            path.write_text("base = 'base.toml'\nformat = 'sculpt-config-2'\n[optim]\nlr = 2\n")
            config = run_folder.read_config(path)
            self.assertEqual(config, {"optim": {"lr": 2}, "cycles": {"rewind_epoch": 2}})
            run_folder.set_value(config, "train.lr=1")
            self.assertEqual(config["optim"], {"lr": 1})
            path.write_text("[train]\nlr = 1\n[optim]\nlr = 2\n")
            with self.assertRaisesRegex(run_folder.ConfigError, "train.lr is the old name of optim.lr"):
                run_folder.read_config(path)
            path.write_text("format = 'sculpt-config-3'\n")
            with self.assertRaisesRegex(run_folder.ConfigError, "sculpt-config-3 is newer"):
                run_folder.read_config(path)

    def test_errors_name_the_line(self):
        with self.assertRaisesRegex(run_folder.ConfigError, "x:2: cannot read the value oops"):
            run_folder.parse_toml_subset("a = 1\nb = oops", "x")

    def test_set(self):
        config = {"optim": {"lr": 0.1}}
        for text in ("optim.lr=0.2", "data.name=cifar10", "data.flip=false", "a.b.c=3"):
            run_folder.set_value(config, text)
        self.assertEqual(config, {"optim": {"lr": 0.2}, "data": {"name": "cifar10", "flip": False},
                                  "a": {"b": {"c": 3}}})
        self.assertEqual(run_folder.get(config, "a.b.c"), 3)
        self.assertEqual(run_folder.get(config, "a.x.c", 5), 5)

    def test_exempt_layers(self):
        for weight, pattern, fits in (("fc.weight", "fc", True), ("fc.weight", "fc.weight", True),
                                      ("fc.weight", "f*", True), ("fc1.weight", "fc", False),
                                      ("layer1.0.conv1.weight", "layer1.*", True),
                                      ("layer1x0.conv1.weight", "layer1.0.conv1", False),
                                      ("layer1.0.conv1.weight", "*conv1", True)):
            self.assertEqual(run_folder.is_layer(weight, pattern), fits, (weight, pattern))

    def test_summary(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(run_folder.read_summary(folder))
            path = Path(folder) / "summary.json"
            path.write_text('{"test_accuracy": 0.5}')
            self.assertEqual(run_folder.read_summary(folder), {"test_accuracy": 0.5})
            path.write_text('{"format": "sculpt-summary-1", "test_accuracy": 0.5}')
            self.assertEqual(run_folder.read_summary(folder)["test_accuracy"], 0.5)
            for text in ('{"format": "sculpt-summary-2", "test_accuracy": 0.5}', '{"format": "sculpt-summary-2"}'):
                path.write_text(text)
                with self.assertRaisesRegex(run_folder.ConfigError, "sculpt-summary-2 is newer"):
                    run_folder.read_summary(folder)
            for text in ("", "{", "3", "{}"):
                path.write_text(text)
                with self.assertRaisesRegex(run_folder.ConfigError, "summary.json is damaged"):
                    run_folder.read_summary(folder)


if __name__ == "__main__":
    unittest.main()
