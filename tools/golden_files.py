"""Parts that the writers of golden files share: images, the command line, and the file."""
import argparse
from pathlib import Path

import numpy as np
import torch

import image_data
import safetensors_io

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"


def argument_parser(description, name):
    """Returns a parser with --out, by default the file `name` of tests/golden."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, default=GOLDEN / name)
    return parser


def make_images(generator, count, classes):
    """Returns smooth colour fields with noise, one pattern per class: learnable, and not photos of anyone."""
    patterns = generator.normal(size=(classes, 3, 5, 5))
    labels = generator.integers(0, classes, size=count)
    fields = patterns[labels] + 0.5 * generator.normal(size=(count, 3, 5, 5))
    rows = np.linspace(0, 4, 32)
    low = np.minimum(rows.astype(int), 3)
    part = rows - low
    fields = fields[:, :, low] * (1 - part)[:, None] + fields[:, :, low + 1] * part[:, None]
    fields = fields[..., low] * (1 - part) + fields[..., low + 1] * part
    fields += 0.2 * generator.normal(size=fields.shape)
    return np.clip(120 + 55 * fields, 0, 255).astype(np.uint8), labels.astype(np.uint8)


def image_tensors(images, labels):
    """Returns the tensors that every golden file has: {"images", "labels", "mean", "std"}."""
    mean, std = (np.array(v, np.float32) for v in image_data.NORMALIZATION["cifar10"])
    return {"images": images, "labels": labels, "mean": mean, "std": std}


def write(path, name, tensors, metadata):
    """Writes a golden file of the format "sculpt-golden-NAME" and prints its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors_io.write(path, tensors, {"format": f"sculpt-golden-{name}", "version": "1",
                                         "torch": torch.__version__, **metadata})
    print(f"{path}: {path.stat().st_size:,} bytes, {len(tensors)} tensors")
