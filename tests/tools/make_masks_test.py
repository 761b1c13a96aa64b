"""tools/make_masks finds the masks of the study's runs, whose networks a stand-in for sculpt_study makes."""
import json
import os
import shlex
import tempfile
import unittest
from pathlib import Path

from common import ROOT, TOOLS, run
import run_folder

STUDY = run_folder.parse_toml_subset((ROOT / "configs" / "studies" / "masks.toml").read_text())
# This program replaces sculpt_study. It writes the folders of runs with a checkpoint of each cycle, or fails.
FAKE_STUDY = """#!/usr/bin/env python3
import json, pathlib, sys
(pathlib.Path(sys.argv[0]).parent / "arguments").write_text(json.dumps(sys.argv[1:]))
if "data.root=\\"/fails\\"" in sys.argv:
    sys.exit(9)
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
for name, model, plan in json.loads((pathlib.Path(sys.argv[0]).parent / "runs").read_text()):
    folder = out / name / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "config.toml").write_text(
        "method = \\"custom\\"\\nplan = " + json.dumps(plan) + "\\n[model]\\nname = \\"" + model + "\\"\\n")
    cycles = sum(step.startswith("train") for step in plan)
    for cycle in range(1, cycles + 1):
        (folder / f"cycle-{cycle}.safetensors").write_text("")
    (folder / "final.safetensors").write_text("")
"""


def densities(plan):
    """Returns the density of every cycle of a plan."""
    found, density = [], 1.0
    for step in plan:
        if step.startswith("prune"):
            density = float(step.split()[-1])
        elif step.startswith("train"):
            found.append(density)
    return found


class MakeMasks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "masks"
        program = self.folder / "sculpt_study"
        program.write_text(FAKE_STUDY)
        program.chmod(0o755)
        self.runs([(f"00{i}-{variant}", "resnet20", STUDY["variant"][variant]["plan"])
                   for i, variant in enumerate(STUDY["variant"], 1)])

    def runs(self, runs):
        (self.folder / "runs").write_text(json.dumps(runs))

    def make(self, *words, data="data"):
        return run(TOOLS / "make_masks", "--data", data, "--out", self.out, "--programs", self.folder, *words)

    def test_masks_and_commands(self):
        done = self.make("--models", "resnet20", "--jobs", "2", "--set", "seed=3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("resnet20: 9 of 9 masks", done.stdout)
        links = {path.name: os.readlink(path) for path in self.out.glob("*.safetensors")}
        for method in ("lrr", "imp"):
            cycles = densities(STUDY["variant"][method]["plan"])
            for sparsity, density in ((90, 0.1), (95, 0.05), (98, 0.02)):
                number = cycles.index(density) + 1
                name = "final" if number == len(cycles) else f"cycle-{number}"
                target = links.pop(f"resnet20-{method}-{sparsity}.safetensors")
                self.assertTrue(target.endswith(f"-{method}/checkpoints/{name}.safetensors"), target)
        for sparsity in (90, 95, 98):
            target = links.pop(f"resnet20-sculpt-{sparsity}.safetensors")
            self.assertTrue(target.endswith(f"-sculpt-{sparsity}/checkpoints/final.safetensors"), target)
        self.assertEqual(links, {})
        words = json.loads((self.folder / "arguments").read_text())
        for part in ('vary.model.name=["resnet20"]', "seed=3", f'data.root="{ROOT / "data"}"'):
            self.assertIn(part, words)
        self.assertEqual(words[words.index("--jobs") + 1], "2")
        bench, analyze = (shlex.split(line) for line in done.stdout.splitlines() if line.startswith("    "))
        masks = bench[bench.index("--masks") + 1].split(",")
        self.assertEqual(len(masks), 9)
        self.assertEqual(analyze[-9:], masks)
        for path in (*masks, analyze[analyze.index("--config") + 1]):
            self.assertTrue(Path(path).is_file(), path)

    def test_kept_checkpoints_have_the_masks(self):
        """The study keeps the checkpoints of enough cycles, and passes exactly through the sparsities."""
        for method in ("lrr", "imp"):
            variant = STUDY["variant"][method]
            cycles = densities(variant["plan"])
            self.assertEqual(cycles, sorted(cycles, reverse=True))
            kept = cycles[-variant["train"]["keep"]:]
            self.assertLessEqual({0.1, 0.05, 0.02}, set(kept))

    def test_a_study_that_stops(self):
        stopped = self.make(data="/fails")
        self.assertEqual(stopped.returncode, 9)
        self.assertFalse(list(self.out.glob("*.safetensors")))
        nothing = self.make("--no-training")
        self.assertEqual(nothing.returncode, 1)
        self.assertIn("no run", nothing.stderr)

    def test_some_masks(self):
        plan = STUDY["variant"]["lrr"]["plan"]
        self.runs([("002-lrr-resnet18", "resnet18", plan)])
        self.make("--models", "resnet18")
        for path in (self.out / "runs").rglob("*.safetensors"):
            if path.name not in ("cycle-9.safetensors", "cycle-10.safetensors"):
                path.unlink()
        (self.out / "resnet18-lrr-98.safetensors").unlink()
        done = self.make("--no-training")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("resnet18: 1 of 9 masks, without lrr-95, lrr-98, imp-90", done.stdout)
        self.assertIn("resnet20: 0 of 9 masks", done.stdout)
        self.assertEqual(done.stdout.count("sculpt_bench"), 1)


if __name__ == "__main__":
    unittest.main()
