#!/usr/bin/env python3
"""Evaluates a checkpoint of Sculpt with PyTorch and compares with what the run reported.

usage: tools/eval_checkpoint.py RUN_FOLDER|CHECKPOINT [--data DIR] [--batch N] [--config FILE]

Loads checkpoints/final.safetensors into the same model in plain PyTorch, checks that weights are
exactly zero where their mask is, and counts correct test images. Exit status: 0 when the accuracy
agrees with summary.json to one image in 10,000 (a float tie in the logits), 1 when not.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

import image_data
import pytorch_models
import run_folder
import safetensors_io


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder, or a .safetensors file in one")
    parser.add_argument("--data", help="folder of the data set (default: the config's data.root)")
    parser.add_argument("--config", type=Path, help="config.toml (default: the run folder's)")
    parser.add_argument("--batch", type=int, default=500, help="images at a time (default 500)")
    return parser.parse_args()


def model_from(config, image_shape, classes):
    return pytorch_models.build(
        run_folder.get(config, "model.name"), classes=classes,
        width=run_folder.get(config, "model.width", 1.0), in_channels=image_shape[0],
        image_size=image_shape[1], stem=run_folder.get(config, "model.stem", "cifar"))


def load_weights(model, tensors):
    """Every entry of the model must be there with its shape; returns the loaded names."""
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


def check_masks(model, tensors):
    """Masked weights are exactly +0, every prunable weight has a mask; returns (kept, total)."""
    kept = total = 0
    for name in pytorch_models.prunable_names(model):
        weight = tensors[name]
        mask = tensors.get(name + ".mask")
        if mask is None:
            sys.exit(f"error: the checkpoint has no {name}.mask")
        if mask.shape != weight.shape or not np.isin(mask, (0, 1)).all():
            sys.exit(f"error: {name}.mask is not zeros and ones in the shape of {name}")
        for entry in (name, "optimizer.momentum." + name):
            if entry in tensors:
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


def main():
    arguments = parse_arguments()
    is_file = arguments.run.is_file()
    folder = arguments.run.parent.parent if is_file else arguments.run
    checkpoint = arguments.run if is_file else folder / "checkpoints" / "final.safetensors"
    config = run_folder.read_config(arguments.config or folder / "config.toml")
    data_name = run_folder.get(config, "data.name")
    root = arguments.data or run_folder.get(config, "data.root")
    images, labels = image_data.load(data_name, root, "test")
    limit = run_folder.get(config, "data.test_limit", 0)
    if 0 < limit < len(images):
        sys.exit(f"error: the run tested on {limit} images of its own choice (data.test_limit); "
                 "only runs on the whole test set can be compared")

    tensors, _ = safetensors_io.read(checkpoint)
    model = model_from(config, images.shape[1:], image_data.CLASSES[data_name])
    load_weights(model, tensors)
    kept, total = check_masks(model, tensors)
    correct, loss = count_correct(model, images, labels, image_data.NORMALIZATION[data_name],
                                  arguments.batch)
    accuracy = correct / len(images)
    print(f"checkpoint      {checkpoint}")
    print(f"masks           {kept:,} of {total:,} kept, masked weights exactly +0")
    print(f"PyTorch         {100 * accuracy:.2f} % ({correct} of {len(images)}), loss {loss:.5f}")

    summary = run_folder.read_summary(folder)
    if summary is None:
        print(f"error: {folder / 'summary.json'} is not there to compare with", file=sys.stderr)
        return 1
    print(f"summary.json    {100 * summary['test_accuracy']:.2f} %, kept {summary['kept']:,}")
    failures = []
    if abs(accuracy - summary["test_accuracy"]) > 1e-4 + 1e-9:
        failures.append("the accuracies differ by more than one image in 10,000")
    if (kept, total) != (summary["kept"], summary["prunable"]):
        failures.append(f"summary.json says {summary['kept']} of {summary['prunable']} kept")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if not failures:
        print("agree")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, run_folder.ConfigError, image_data.DataError, safetensors_io.FormatError,
            json.JSONDecodeError) as problem:
        sys.exit(f"error: {problem}")
