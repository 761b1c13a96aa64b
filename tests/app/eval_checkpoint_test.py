#!/usr/bin/env python3
"""tools/eval_checkpoint.py and tools/train_pytorch.py against every setting that changes what they
read: each setting is honoured, or refused with one clear message. Needs numpy and torch."""
import contextlib
import importlib.util
import io
import json
import random
import struct
import sys
from pathlib import Path

from common import ROOT, ProgramTest, json_lines, main

sys.path.insert(0, str(ROOT / "tools"))
missing = [name for name in ("numpy", "torch") if importlib.util.find_spec(name) is None]
if missing:
    print(f"skipped: there is no {' and no '.join(missing)}")
    sys.exit(77)
eval_checkpoint = importlib.import_module("eval_checkpoint")
train_pytorch = importlib.import_module("train_pytorch")

TRAIN, TEST = 300, 101
CONFIG = """
method = "oneshot"
seed = 3

[model]
name = "lenet"
width = 0.5

[data]
name = "mnist"
root = "{root}"

[train]
epochs = 2
batch = 50

[optim]
schedule = "constant"
lr = 0.05

[prune]
criterion = "magnitude"
sparsity = 0.5
"""

# Each entry has settings of a run, and what eval_checkpoint says about the images that it uses.
HONOURED = [
    ([], "101 test images"),
    (["data.val_split=0.2"], "60 validation images"),
    (["data.val_split=0.2", "data.train_limit=100", "data.test_limit=10"], "60 validation images"),
    (["data.val_split=0.2", "seed=4"], "60 validation images"),
    (["data.test_limit=37"], "37 test images"),
    (["data.train_limit=100"], "101 test images"),
    (["data.name=fashion_mnist"], "101 test images"),
    (["prune.first_conv=false"], "101 test images"),
    (["prune.classifier=false"], "101 test images"),
    (["prune.first_conv=false", "prune.classifier=false"], "101 test images"),
    (["prune.exempt=['conv1', 'fc*.weight']"], "101 test images"),
    (["model.name=mlp", "prune.classifier=false", "model.dropout=0.3"], "101 test images"),
    (["model.name=mlp", "method=dense"], "101 test images"),
    (["model.name=resnet18", "model.width=0.05", "model.stem=imagenet", "train.epochs=1",
      "optim.lr=0.001"], "101 test images"),
    (["model.init_fan=fan_in", "model.init_distribution=uniform"], "101 test images"),
    (["train.label_smoothing=0.2", "data.crop_padding=0", "data.cutout=4"], "101 test images"),
    (["optim.schedule=cosine", "train.eval_every=2", "optim.clip_norm=1"], "101 test images"),
]


class Tools(ProgramTest):
    def setUp(self):
        super().setUp()
        rng = random.Random(1)
        for prefix, count in (("train", TRAIN), ("t10k", TEST)):
            # The brightness of an image depends on its label, so that a network learns and accuracies differ.
            labels = bytes(rng.randrange(10) for _ in range(count))
            images = b"".join(bytes(min(255, 20 * label + rng.randrange(60)) for _ in range(784))
                              for label in labels)
            (self.folder / f"{prefix}-images-idx3-ubyte").write_bytes(
                struct.pack(">IIII", 0x803, count, 28, 28) + images)
            (self.folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
                struct.pack(">II", 0x801, count) + labels)
        self.config = self.write("mnist.toml", CONFIG.format(root=self.folder))

    def trained(self, settings, name):
        words = [word for setting in settings for word in ("--set", setting)]
        self.finish(self.config, "--out", self.folder / name, *words)
        return self.folder / name

    def call(self, module, *words):
        """Runs a tool's main in this process; returns (status, output)."""
        output, old = io.StringIO(), sys.argv
        sys.argv = ["tool", *map(str, words)]
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                status = module.main() or 0
        except SystemExit as end:
            status = end.code
            if not isinstance(status, int):
                output.write(f"{status}\n")
                status = 1
        except module.run_folder.ConfigError as problem:  # the program prints it
            output.write(f"error: {problem}\n")
            status = 1
        finally:
            sys.argv = old
        return status, output.getvalue()

    def test_eval_checkpoint_honours(self):
        for number, (settings, images) in enumerate(HONOURED):
            with self.subTest(settings=settings):
                folder = self.trained(settings, f"run{number}")
                status, output = self.call(eval_checkpoint, folder)
                self.assertEqual(status, 0, output)
                self.assertTrue(output.endswith("agree\n"), output)
                self.assertIn(images, output)

    def test_eval_checkpoint_notices_other_images_and_other_weights(self):
        folder = self.trained(["data.val_split=0.2", "model.name=mlp", "train.epochs=6"], "run")
        config = (folder / "config.toml").read_text()
        other = self.write("other.toml", config.replace("seed = 3", "seed = 4"))
        status, output = self.call(eval_checkpoint, folder, "--config", other)
        self.assertEqual(status, 1, output)
        self.assertIn("the accuracies differ", output)
        summary = json.loads((folder / "summary.json").read_text())
        for key, text in (("test_accuracy", "the accuracies differ"), ("kept", "kept")):
            changed = {**summary, key: summary[key] / 2 + 1}
            (folder / "summary.json").write_text(json.dumps(changed))
            status, output = self.call(eval_checkpoint, folder)
            self.assertEqual(status, 1)
            self.assertIn(text, output)
        (folder / "summary.json").write_text("{}")
        self.assertIn("has no test_accuracy", self.call(eval_checkpoint, folder)[1])

    def test_a_rewind_point_is_evaluated_and_not_compared(self):
        folder = self.trained(["method=wr", "cycles.rewind_epoch=1", "prune.rate=0.5"], "run")
        point = folder / "checkpoints" / "rewind-epoch-1.safetensors"
        status, output = self.call(eval_checkpoint, point)
        self.assertEqual(status, 0, output)
        self.assertIn("none in this checkpoint", output)
        self.assertIn("not compared", output)

    def test_eval_checkpoint_refuses(self):
        folder = self.folder / "run"
        self.finish(self.config, "--out", folder, "--set", "data.name=synthetic", "--set",
                    "data.synthetic_train=100", "--set", "data.synthetic_test=20", "--set",
                    "model.name=mlp")
        try:
            status, output = self.call(eval_checkpoint, folder)
        except Exception as problem:  # noqa: BLE001 (the tool prints these as "error: ...")
            status, output = 1, str(problem)
        self.assertEqual(status, 1)
        self.assertRegex(output, "'synthetic' is made by sculpt_run and has no files")

    def trained_by_pytorch(self, *settings):
        words = [word for setting in settings for word in ("--set", setting)]
        out = self.folder / "lines.jsonl"
        status, output = self.call(train_pytorch, self.config, "--threads", "1", "--out", out,
                                   "--set", "train.epochs=1", *words)
        self.assertEqual(status, 0, output)
        return json_lines(out.read_text())

    def test_train_pytorch_honours(self):
        for settings, expected in (
                ([], "test"), (["data.val_split=0.2"], "validation"),
                (["data.train_limit=60", "data.test_limit=20", "data.cutout=6"], "test"),
                (["optim.clip_norm=0.5", "model.dropout=0.4", "train.label_smoothing=0.1"], "test"),
                (["model.init_fan=fan_in", "model.init_distribution=uniform",
                  "model.init_nonlinearity=linear"], "test"),
                *[([f"optim.schedule={name}"], "test") for name in
                  ("step_warmup", "triangular", "cosine", "one_cycle", "trapezoidal", "linear")]):
            with self.subTest(settings=settings):
                *_, result = self.trained_by_pytorch(*settings)
                self.assertEqual(result["measured_on"], expected)

    def test_train_pytorch_uses_the_images_of_the_run(self):
        self.trained_by_pytorch()  # so that what is counted below is not the first import
        recipe = train_pytorch.Recipe({"data": {"name": "mnist", "root": str(self.folder),
                                                "val_split": 0.2, "train_limit": 50}})
        (train_x, train_y), (held_x, held_y) = train_pytorch.load(recipe)
        self.assertEqual((len(train_x), len(train_y), len(held_x), len(held_y)), (50, 50, 60, 60))
        images = train_pytorch.image_data.load("mnist", self.folder, "train")[0]
        chosen = train_pytorch.splits.split(TRAIN, TEST, 1, 0.2, 50)
        self.assertTrue((held_x.numpy() == images[chosen["val"]]).all())
        self.assertTrue((train_x.numpy() == images[chosen["train"]]).all())

    def test_advice_is_followed(self):
        with self.assertRaisesRegex(train_pytorch.RecipeError, "lower train.batch$"):
            self.trained_by_pytorch("train.drop_last=true", f"train.batch={TRAIN + 1}")
        self.trained_by_pytorch("train.drop_last=true", f"train.batch={TRAIN}")
        folder = self.trained([], "moved")
        (self.folder / "elsewhere").mkdir()
        for file in self.folder.glob("*-ubyte"):
            file.rename(self.folder / "elsewhere" / file.name)
        with self.assertRaisesRegex(eval_checkpoint.image_data.DataError,
                                    "images-idx3-ubyte.*--data names its folder"):
            self.call(eval_checkpoint, folder)
        status, output = self.call(eval_checkpoint, folder, "--data", self.folder / "elsewhere")
        self.assertEqual(status, 0, output)

    def test_cutout_and_mirroring(self):
        torch = train_pytorch.torch
        images = torch.full((200, 1, 28, 28), 200, dtype=torch.uint8)
        images[:, :, :, :14] = 100
        recipe = train_pytorch.Recipe({"data": {"name": "mnist", "crop_padding": 0, "cutout": 6}})
        out = train_pytorch.augment(images, recipe, torch.Generator().manual_seed(1))
        erased = (out == round(255 * 0.1307)).sum(dim=(1, 2, 3))
        self.assertEqual(int(erased.max()), 36)
        self.assertGreaterEqual(int(erased.min()), 9)  # at a corner
        kept = out != round(255 * 0.1307)
        self.assertTrue((out[kept] == images[kept]).all())  # digits are not mirrored


if __name__ == "__main__":
    main()
