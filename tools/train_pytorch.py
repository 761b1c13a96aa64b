#!/usr/bin/env python3
"""Trains a dense model in PyTorch by the recipe of a Sculpt config, to compare accuracies.

usage: tools/train_pytorch.py CONFIG.toml [--set key=value]... [--data DIR] [--threads N]
                              [--out FILE]

One training cycle: SGD with momentum, the config's schedule, batch, epochs, weight decay and label
smoothing, pad-4 crop and flip. Prints one JSON object per epoch (and to --out); the last line holds
the result. Random numbers are PyTorch's own, so compare accuracies, not weights. data.train_limit
and data.test_limit take the first images here, random ones in Sculpt.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

import image_data
import pytorch_models
import run_folder


def learning_rate(recipe, t):
    """At fraction `t` of the cycle; the same formulas as engine/optim/lr_schedule.cpp."""
    if recipe.schedule == "triangular":
        return recipe.lr * (0.2 + 4 * t if t < 0.2 else (1 - t) / 0.8)
    if recipe.schedule == "step_warmup":
        rate = recipe.lr
        if t < recipe.warmup:
            rate *= recipe.warmup_start + (1 - recipe.warmup_start) * t / recipe.warmup
        return rate * recipe.decay_factor ** sum(t >= m for m in recipe.milestones)
    if recipe.schedule == "constant":
        return recipe.lr
    sys.exit(f"error: schedule '{recipe.schedule}' is not known here: triangular, step_warmup or "
             "constant")


class Recipe:
    """The settings of a config that one dense cycle needs."""

    def __init__(self, config):
        get = lambda key, default: run_folder.get(config, key, default)  # noqa: E731
        self.model = get("model.name", "resnet20")
        self.width = get("model.width", 1.0)
        self.stem = get("model.stem", "cifar")
        self.data = get("data.name", "cifar10")
        self.root = get("data.root", "")
        self.train_limit = get("data.train_limit", 0)
        self.test_limit = get("data.test_limit", 0)
        self.crop_padding = get("data.crop_padding", 4)
        self.flip = get("data.flip", True)
        self.seed = get("seed", 0)
        self.epochs = get("train.epochs", 10)
        self.batch = get("train.batch", 128)
        self.lr = get("train.lr", 0.1)
        self.schedule = get("train.schedule", "step_warmup")
        self.warmup = get("train.warmup", 10 / 150)
        self.warmup_start = get("train.warmup_start", 0.1)
        self.milestones = get("train.milestones", [60 / 150, 120 / 150])
        self.decay_factor = get("train.decay_factor", 0.1)
        self.momentum = get("train.momentum", 0.9)
        self.nesterov = get("train.nesterov", False)
        self.weight_decay = get("train.weight_decay", 5e-4)
        self.decay_norm_and_bias = get("train.decay_norm_and_bias", True)
        self.label_smoothing = get("train.label_smoothing", 0.0)


def augment(images, recipe, generator):
    """Random crop of the image padded by black pixels, random flip; on uint8."""
    count, channels, height, width = images.shape
    padding = recipe.crop_padding
    padded = F.pad(images, (padding,) * 4)
    draw = lambda high: torch.randint(0, high, (count, 1, 1, 1), generator=generator)  # noqa: E731
    top, left = draw(2 * padding + 1), draw(2 * padding + 1)
    flip = (draw(2) if recipe.flip else torch.zeros(count, 1, 1, 1)).bool()
    columns = torch.arange(width).view(1, 1, 1, width)
    columns = left + torch.where(flip, width - 1 - columns, columns)
    rows = top + torch.arange(height).view(1, 1, height, 1)
    index = torch.arange(count).view(count, 1, 1, 1)
    return padded[index, torch.arange(channels).view(1, channels, 1, 1), rows, columns]


def parameter_groups(model, recipe):
    decayed, free = [], []
    for parameter in model.parameters():
        plain = parameter.ndim > 1 or recipe.decay_norm_and_bias
        (decayed if plain else free).append(parameter)
    return [{"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": free, "weight_decay": 0.0}]


def normalise(images, recipe):
    mean, std = (torch.tensor(v).view(1, -1, 1, 1)
                 for v in image_data.NORMALIZATION[recipe.data])
    return (images.float() / 255 - mean) / std


def evaluate(model, images, labels, recipe, batch=500):
    model.eval()
    correct, loss = 0, 0.0
    with torch.no_grad():
        for begin in range(0, len(images), batch):
            logits = model(normalise(images[begin:begin + batch], recipe))
            target = labels[begin:begin + batch]
            correct += int((logits.argmax(1) == target).sum())
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
    return correct / len(images), loss / len(images)


def load(recipe, split, limit):
    images, labels = image_data.load(recipe.data, recipe.root, split)
    if limit:
        images, labels = images[:limit], labels[:limit]
    return torch.from_numpy(images), torch.from_numpy(labels)


def train(recipe, report):
    train_x, train_y = load(recipe, "train", recipe.train_limit)
    test_x, test_y = load(recipe, "test", recipe.test_limit)
    model = pytorch_models.initialise(
        pytorch_models.build(recipe.model, image_data.CLASSES[recipe.data], recipe.width,
                             train_x.shape[1], train_x.shape[2], recipe.stem), recipe.seed)
    optimizer = torch.optim.SGD(parameter_groups(model, recipe), lr=recipe.lr,
                                momentum=recipe.momentum, nesterov=recipe.nesterov)
    steps_per_epoch = -(-len(train_x) // recipe.batch)
    steps = recipe.epochs * steps_per_epoch
    generator = torch.Generator().manual_seed(recipe.seed)
    best, step, started = 0.0, 0, time.monotonic()
    for epoch in range(recipe.epochs):
        model.train()
        loss_sum, correct, epoch_started = 0.0, 0, time.monotonic()
        order = torch.randperm(len(train_x), generator=generator)
        for begin in range(0, len(order), recipe.batch):
            picked = order[begin:begin + recipe.batch]
            x, y = train_x[picked], train_y[picked]
            if recipe.crop_padding or recipe.flip:
                x = augment(x, recipe, generator)
            rate = learning_rate(recipe, step / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            logits = model(normalise(x, recipe))
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(picked)
            correct += int((logits.argmax(1) == y).sum())
            step += 1
        seconds = time.monotonic() - epoch_started
        accuracy, test_loss = evaluate(model, test_x, test_y, recipe)
        best = max(best, accuracy)
        report({"epoch": epoch + 1, "lr": rate, "train_loss": loss_sum / len(order),
                "train_accuracy": correct / len(order), "test_loss": test_loss,
                "test_accuracy": accuracy, "images_per_second": len(order) / seconds})
    report({"result": True, "test_accuracy": accuracy, "best_test_accuracy": best,
            "epochs": recipe.epochs, "seconds": time.monotonic() - started,
            "recipe": vars(recipe), "torch": torch.__version__,
            "threads": torch.get_num_threads()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--data", help="folder of the data set (default: the config's data.root)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the JSON lines to this file too")
    arguments = parser.parse_args()
    config = run_folder.read_config(arguments.config)
    for assignment in arguments.settings:
        run_folder.set_value(config, assignment)
    if arguments.data:
        run_folder.set_value(config, "data.root=" + json.dumps(arguments.data))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("")

    def report(entry):
        line = json.dumps(entry)
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a") as file:
                file.write(line + "\n")

    train(Recipe(config), report)


if __name__ == "__main__":
    try:
        main()
    except (OSError, run_folder.ConfigError, image_data.DataError) as problem:
        sys.exit(f"error: {problem}")
