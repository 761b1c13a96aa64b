#!/usr/bin/env python3
"""Evaluates a checkpoint of Sculpt with PyTorch and compares the accuracy with that of the run.

usage: tools/eval_checkpoint.py RUN_FOLDER|CHECKPOINT [--data DIR] [--batch N] [--config FILE]

Loads checkpoints/final.safetensors into the same model in plain PyTorch, checks that weights are
exactly zero where their mask is zero, and counts correct images among those that the run was measured on:
the test set, the random part of it that data.test_limit chose, or the validation images that
data.val_split held out of the training set. The exit status is 0 if the accuracy agrees with summary.json,
and 1 if not. Accuracies agree if they differ by one image in 10,000, or by one image (a float tie in the
logits), or, for a run in tf32 or bf16, by five images in 1,000, because PyTorch evaluates in float32. A
checkpoint other than the final one is evaluated but not compared, because summary.json does not describe it.
"""
import argparse
import json
import sys
from pathlib import Path

import python_packages

python_packages.require(__doc__, "numpy", "torch")

import numpy as np
import torch

import image_data
import pytorch_models
import run_folder
import safetensors_io
import splits


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder, or a .safetensors file in one")
    parser.add_argument("--data", help="folder of the data set (default: the config's data.root)")
    parser.add_argument("--config", type=Path, help="config.toml (default: the run folder's)")
    parser.add_argument("--batch", type=int, default=500, help="images at a time (default 500)")
    return parser.parse_args()


def model_from(config, image_shape, classes):
    return pytorch_models.build(
        run_folder.get(config, "model.name", "resnet20"), classes=classes,
        width=run_folder.get(config, "model.width", 1.0), in_channels=image_shape[0],
        image_size=image_shape[1], stem=run_folder.get(config, "model.stem", "cifar"))


def load_weights(model, tensors):
    """Loads every entry of the model, which must exist with the right shape. Returns the loaded names."""
    state = model.state_dict()
    missing = [name for name in state
               if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing:
        sys.exit(f"error: the checkpoint lacks {', '.join(missing)}")
    for name, value in state.items():
        if name not in tensors:
            continue
        array = tensors[name]
        if name.endswith("num_batches_tracked"):
            array = np.asarray(array).reshape(())
        if tuple(array.shape) != tuple(value.shape):
            sys.exit(f"error: {name} is {list(array.shape)}, PyTorch's {list(value.shape)}")
        value.copy_(torch.from_numpy(np.array(array)))


def check_masks(model, config, tensors):
    """Checks that masked weights are exactly +0, and that all prunable weights and no others have masks.
    Returns (kept, total), or None for a checkpoint without masks (a rewind checkpoint)."""
    kept = total = 0
    prunable = pytorch_models.prunable_names(
        model, run_folder.get(config, "prune.first_conv", True),
        run_folder.get(config, "prune.classifier", True), run_folder.get(config, "prune.exempt", []))
    others = [name for name in tensors if name.endswith(".mask") and name[:-5] not in prunable]
    if others:
        sys.exit(f"error: {', '.join(others)}: mask of a weight that is exempt from pruning")
    if not any(name.endswith(".mask") for name in tensors):
        return None
    for name in prunable:
        weight = tensors[name]
        mask = tensors.get(name + ".mask")
        if mask is None:
            sys.exit(f"error: the checkpoint has no {name}.mask")
        if mask.shape != weight.shape or not np.isin(mask, (0, 1)).all():
            sys.exit(f"error: {name}.mask is not zeros and ones in the shape of {name}")
        arrays = [other for other in tensors
                  if other.startswith("optimizer.") and other.split(".", 2)[2] == name]
        for entry in (name, *arrays):
            bits = np.ascontiguousarray(tensors[entry], dtype="<f4").view("<u4")
            bad = int(np.count_nonzero(bits[mask == 0]))
            if bad:
                sys.exit(f"error: {bad} masked values of {entry} are not +0")
        kept += int(mask.sum(dtype=np.int64))
        total += mask.size
    return kept, total


def count_correct(model, images, labels, normalization, batch):
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in normalization)
    correct, loss = 0, 0.0
    model.eval()
    with torch.no_grad():
        for begin in range(0, len(images), batch):
            x = (torch.from_numpy(images[begin:begin + batch]).float() / 255 - mean) / std
            y = torch.from_numpy(labels[begin:begin + batch])
            logits = model(x)
            correct += int((logits.argmax(1) == y).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, y, reduction="sum"))
    return correct, loss / len(images)


def images_of(config, root):
    """Returns the images and labels that the run was measured on, and a name for them."""
    name = run_folder.get(config, "data.name", "synthetic")
    train, test = (image_data.load(name, root, part) for part in ("train", "test"))
    chosen = splits.of_config(lambda key, default: run_folder.get(config, key, default),
                              len(train[1]), len(test[1]))
    if chosen["val"]:
        return train[0][chosen["val"]], train[1][chosen["val"]], "validation images"
    return test[0][chosen["test"]], test[1][chosen["test"]], "test images"


def tolerance(summary, images):
    low = any(word in str(summary.get("backend", "")) for word in ("bf16", "tf32"))
    return max(5e-3 if low else 1e-4, 1 / images) + 1e-9


def compare(folder, accuracy, images, masks):
    """Compares the counts with summary.json. Returns a text for each difference."""
    summary = run_folder.read_summary(folder)
    if summary is None:
        return [f"{folder / 'summary.json'} is not there to compare with"]
    for key in ("test_accuracy", "kept", "prunable"):
        if not isinstance(summary.get(key), (int, float)):
            return [f"{folder / 'summary.json'} has no {key}"]
    print(f"summary.json    {100 * summary['test_accuracy']:.2f} %, kept {summary['kept']:,}")
    failures = []
    if abs(accuracy - summary["test_accuracy"]) > tolerance(summary, images):
        failures.append(f"the accuracies differ by more than {tolerance(summary, images):.4f}")
    if masks != (summary["kept"], summary["prunable"]):
        failures.append(f"summary.json says {summary['kept']} of {summary['prunable']} kept")
    return failures


def main():
    arguments = parse_arguments()
    is_file = arguments.run.is_file()
    folder = arguments.run.parent.parent if is_file else arguments.run
    checkpoint = arguments.run if is_file else folder / "checkpoints" / "final.safetensors"
    config = run_folder.read_config(arguments.config or folder / "config.toml")
    root = arguments.data or run_folder.get(config, "data.root", "")
    images, labels, measured_on = images_of(config, root)
    data_name = run_folder.get(config, "data.name", "synthetic")

    tensors, metadata = safetensors_io.read(checkpoint)
    for kind, version in (("sculpt-checkpoint", 2), ("sculpt-state", 3)):
        if metadata.get("format", "").startswith(kind):
            run_folder.require_known_format(metadata["format"], kind, version, checkpoint)
    model = model_from(config, images.shape[1:], image_data.CLASSES[data_name])
    load_weights(model, tensors)
    masks = check_masks(model, config, tensors)
    correct, loss = count_correct(model, images, labels, image_data.NORMALIZATION[data_name],
                                  arguments.batch)
    accuracy = correct / len(images)
    print(f"checkpoint      {checkpoint}")
    print(f"masks           {masks[0]:,} of {masks[1]:,} kept, masked weights exactly +0" if masks else
          "masks           none in this checkpoint")
    print(f"PyTorch         {100 * accuracy:.2f} % ({correct} of {len(images)} {measured_on}), loss "
          f"{loss:.5f}")
    if checkpoint.name != "final.safetensors":
        print("not compared: summary.json is the result of final.safetensors")
        return 0
    failures = compare(folder, accuracy, len(images), masks)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if not failures:
        print("agree")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, run_folder.ConfigError, image_data.DataError, safetensors_io.FormatError,
            splits.SplitError, json.JSONDecodeError) as problem:
        sys.exit(f"error: {problem}")
