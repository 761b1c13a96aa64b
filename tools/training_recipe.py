"""Describes one dense training cycle of a Sculpt config for tools/train_pytorch.py. Needs the standard
library only."""
import json
import math

import run_folder

# Keys that a PyTorch run ignores: they do not change what a dense cycle computes, or only affect pruning.
# model.init_parts affects only model.init_from, which is refused.
WITHOUT_EFFECT = {
    "method", "plan", "model.init_parts", "optim.ham_alpha", "optim.ham_beta", "optim.sign_in_beta", "execution.device", "execution.threads", "execution.conv",
    "execution.sparse", "execution.dense_timing", "execution.winograd", "execution.step_graph",
    "train.eval_every",
    "train.checkpoint_every", "train.checkpoint_steps", "train.keep", "data.synthetic_train",
    "data.synthetic_test", "data.synthetic_seed"}
SECTIONS_WITHOUT_EFFECT = {"prune", "masks", "cycles", "dist"}
SCHEDULES = ("step_warmup", "triangular", "cosine", "one_cycle", "trapezoidal", "constant", "linear")


class RecipeError(Exception):
    """train_pytorch does not know or support a setting; the text names it."""


class Recipe:
    """The settings of a config that one dense cycle needs. The defaults are those of the engine."""

    def __init__(self, config):
        used = set(WITHOUT_EFFECT)

        def get(key, default):
            used.add(key)
            return run_folder.get(config, key, default)

        self.model = get("model.name", "resnet20")
        self.width = get("model.width", 1.0)
        self.stem = get("model.stem", "cifar")
        self.dropout = get("model.dropout", 0.0)
        self.init_fan = get("model.init_fan", "fan_out")
        self.init_distribution = get("model.init_distribution", "normal")
        self.init_nonlinearity = get("model.init_nonlinearity", "relu")
        self.data = get("data.name", "synthetic")
        self.root = get("data.root", "")
        self.train_limit = get("data.train_limit", 0)
        self.test_limit = get("data.test_limit", 0)
        self.val_split = get("data.val_split", 0.0)
        self.crop_padding = get("data.crop_padding", 4)
        # Digits are never mirrored, because a mirrored digit is another digit or none.
        self.flip = get("data.flip", True) and self.data != "mnist"
        self.cutout = get("data.cutout", 0)
        crop_fill = get("data.crop_fill", "black")
        label_noise = get("data.label_noise", 0.0)
        get("data.label_noise_seed", 0)
        self.seed = get("seed", 1)
        self.epochs = get("train.epochs", 10)
        self.batch = get("train.batch", 128)
        self.drop_last = get("train.drop_last", False)
        accumulate = get("train.accumulate", 1)
        self.lr = get("optim.lr", 0.1)
        self.schedule = get("optim.schedule", "step_warmup")
        self.warmup = get("optim.warmup", 10 / 150)
        self.warmup_start = get("optim.warmup_start", 0.1)
        self.milestones = get("optim.milestones", [60 / 150, 120 / 150])
        self.milestone_factor = get("optim.milestone_factor", 0.1)
        self.cooldown = get("optim.cooldown", 0.2)
        self.momentum = get("optim.momentum", 0.9)
        self.nesterov = get("optim.nesterov", False)
        self.rule = get("optim.rule", "sgd")
        self.betas = (get("optim.beta1", 0.9), get("optim.beta2", 0.999))
        self.epsilon = get("optim.epsilon", 1e-8)
        self.weight_decay = get("optim.weight_decay", 5e-4)
        self.decay_norm_and_bias = get("optim.decay_norm_and_bias", True)
        self.clip_norm = get("optim.clip_norm", 0.0)
        self.label_smoothing = get("train.label_smoothing", 0.0)
        if self.schedule not in SCHEDULES:
            raise RecipeError(f"optim.schedule = {self.schedule!r} is not known here; there are "
                              f"{', '.join(SCHEDULES)}")
        if accumulate != 1:
            raise RecipeError(f"train.accumulate = {accumulate} is not done here: a step is computed in one "
                              "piece; use --set train.accumulate=1")
        if crop_fill != "black":
            raise RecipeError(f"data.crop_fill = {crop_fill!r} is not done here: images are padded with black; "
                              "use --set data.crop_fill=black")
        if label_noise != 0:
            raise RecipeError(f"data.label_noise = {label_noise} is not done here: the labels are those of the "
                              "files; use --set data.label_noise=0")
        precision = get("execution.precision", "auto")
        if precision not in ("auto", "fp32"):
            raise RecipeError(f"execution.precision = {precision!r} is not done here: PyTorch trains "
                              "in float32 on the CPU; use --set execution.precision=auto")
        if self.rule not in ("sgd", "adamw"):
            raise RecipeError(f"optim.rule = {self.rule!r} is not known here; there are sgd, adamw")
        for key, off in (("optim.ham", False), ("optim.sign_in", 0), ("optim.ema", 0.0)):
            if get(key, off):
                raise RecipeError(f"{key} is not done here: PyTorch's optimizers have no such step; "
                                  f"use --set {key}={json.dumps(off)}")
        if get("model.init_from", ""):
            raise RecipeError("model.init_from is not done here: the model starts from PyTorch's "
                              "random numbers; use --set model.init_from=\"\"")
        for key in run_folder.keys(config):
            if key not in used and key.split(".")[0] not in SECTIONS_WITHOUT_EFFECT:
                raise RecipeError(f"{key} is not known to train_pytorch, which could therefore train "
                                  "something else than Sculpt; take it out of the config")

    def learning_rate(self, step, steps):
        """Returns the learning rate of a step of a cycle, by the formulas of engine/optim/lr_schedule.cpp."""
        t = step / steps

        def warm():
            return self.lr * (self.warmup_start + (1 - self.warmup_start) * t / self.warmup)

        def cosine(start, end, x):
            return end + (start - end) * 0.5 * (1 + math.cos(math.pi * x))

        if self.schedule == "triangular":
            return self.lr * (0.2 + 4 * t if t < 0.2 else (1 - t) / 0.8)
        if self.schedule == "step_warmup":
            # A milestone is rounded to a number of steps, so that 60/150 of 300 steps is step 120.
            passed = sum(step >= math.floor(m * steps + 0.5) for m in self.milestones)
            return (warm() if t < self.warmup else self.lr) * self.milestone_factor ** passed
        if self.schedule == "cosine":
            if t < self.warmup:
                return warm()
            return self.lr * cosine(1, 0, (t - self.warmup) / (1 - self.warmup))
        if self.schedule == "one_cycle":
            start, end = 1 / 25, 1 / 25e4
            if t < 0.3:
                return self.lr * cosine(start, 1, t / 0.3)
            return self.lr * cosine(1, end, (t - 0.3) / 0.7)
        if self.schedule == "trapezoidal":
            if t < self.warmup:
                return warm()
            return self.lr * ((1 - t) / self.cooldown if t > 1 - self.cooldown else 1)
        return self.lr * (1 - t if self.schedule == "linear" else 1)
