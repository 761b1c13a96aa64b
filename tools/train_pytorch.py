#!/usr/bin/env python3
"""Trains a dense model in PyTorch with the settings of a Sculpt config, to compare accuracies.

usage: tools/train_pytorch.py CONFIG.toml [--set key=value]... [--data DIR] [--threads N]
                              [--out FILE]

Trains one cycle with all settings of the config that affect a cycle: SGD, schedule, batch, epochs, clipping,
label smoothing, dropout, initialisation, augmentation. Trains and measures on the same images as Sculpt
(data.val_split, limits, seed), and calls the accuracy test_accuracy as Sculpt does. A setting that is
unknown or not supported here is an error. Prints one JSON object per epoch (and writes it to --out); the
last line holds the result. Training uses PyTorch's own random numbers, so compare accuracies, not weights.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import python_packages

python_packages.require(__doc__, "numpy", "torch")

import torch
from torch.nn import functional as F

import image_data
import pytorch_models
import run_folder
import splits
from training_recipe import Recipe, RecipeError


def augment(images, recipe, generator):
    """Augments uint8 images: a random crop of the image padded with black pixels, a random flip, and a square
    of the mean colour."""
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
    out = padded[index, torch.arange(channels).view(1, channels, 1, 1), rows, columns]
    if recipe.cutout:
        side = recipe.cutout
        from_y = torch.randint(0, height, (count, 1, 1, 1), generator=generator) - side // 2
        from_x = torch.randint(0, width, (count, 1, 1, 1), generator=generator) - side // 2
        y, x = torch.arange(height).view(1, 1, height, 1), torch.arange(width).view(1, 1, 1, width)
        square = (y >= from_y) & (y < from_y + side) & (x >= from_x) & (x < from_x + side)
        mean = torch.tensor(image_data.NORMALIZATION[recipe.data][0]).view(1, -1, 1, 1)
        out = torch.where(square, (255 * mean).round().to(torch.uint8), out)
    return out


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


def load(recipe):
    """Returns images and labels to train on, and images and labels to measure on."""
    sets = {name: image_data.load(recipe.data, recipe.root, name) for name in ("train", "test")}
    chosen = splits.split(len(sets["train"][1]), len(sets["test"][1]), recipe.seed,
                          recipe.val_split, recipe.train_limit, recipe.test_limit)

    def part(name, split):
        images, labels = sets[name]
        return torch.from_numpy(images[chosen[split]]), torch.from_numpy(labels[chosen[split]])

    return part("train", "train"), part("train", "val") if chosen["val"] else part("test", "test")


def train(recipe, report):
    (train_x, train_y), (test_x, test_y) = load(recipe)
    torch.manual_seed(recipe.seed)  # seeds dropout
    model = pytorch_models.initialise(
        pytorch_models.build(recipe.model, image_data.CLASSES[recipe.data], recipe.width,
                             train_x.shape[1], train_x.shape[2], recipe.stem, recipe.dropout),
        recipe.seed, recipe.init_fan, recipe.init_distribution, recipe.init_nonlinearity)
    if recipe.rule == "adamw":
        optimizer = torch.optim.AdamW(parameter_groups(model, recipe), lr=recipe.lr,
                                      betas=recipe.betas, eps=recipe.epsilon)
    else:
        optimizer = torch.optim.SGD(parameter_groups(model, recipe), lr=recipe.lr,
                                    momentum=recipe.momentum, nesterov=recipe.nesterov)
    used = len(train_x) - (len(train_x) % recipe.batch if recipe.drop_last else 0)
    if used == 0:
        raise RecipeError(f"train.drop_last leaves none of {len(train_x)} images in batches of "
                          f"{recipe.batch}; lower train.batch")
    steps_per_epoch = -(-used // recipe.batch)
    steps = recipe.epochs * steps_per_epoch
    generator = torch.Generator().manual_seed(recipe.seed)
    best, step, started = 0.0, 0, time.monotonic()
    for epoch in range(recipe.epochs):
        model.train()
        loss_sum, correct, epoch_started = 0.0, 0, time.monotonic()
        order = torch.randperm(len(train_x), generator=generator)[:used]
        for begin in range(0, len(order), recipe.batch):
            picked = order[begin:begin + recipe.batch]
            x, y = train_x[picked], train_y[picked]
            if recipe.crop_padding or recipe.flip or recipe.cutout:
                x = augment(x, recipe, generator)
            rate = recipe.learning_rate(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            logits = model(normalise(x, recipe))
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            loss.backward()
            if recipe.clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
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
    measured_on = "validation" if recipe.val_split > 0 else "test"
    report({"result": True, "measured_on": measured_on, "test_accuracy": accuracy, "best_test_accuracy": best,
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
    except (OSError, run_folder.ConfigError, RecipeError, splits.SplitError,
            image_data.DataError) as problem:
        sys.exit(f"error: {problem}")
