#!/usr/bin/env python3
"""Writes the golden file of tests/golden: a short training run of PyTorch to compare with.

usage: tools/make_golden.py [--out tests/golden/resnet20_step.safetensors]

The run trains ResNet-20 at a quarter of its width for 20 steps on four batches of 12 seeded images (step t
uses batch t mod 4), without augmentation, by SGD with momentum 0.9, weight decay 5e-4 on everything and
lr 0.02. It is computed in float64, so that the reference is free of PyTorch's rounding. The file also has
the losses of a float32 run, which show how far rounding alone moves them.

The batch-norm biases start near 1, not at 0. With 0, so many inputs of ReLUs are near zero that rounding
flips a few of them per step. Each flip changes gradients by about 1e-3, and within ten steps two
correct float32 programs differ by percents. With the biases used here, about 7 % of the ReLUs are off,
and PyTorch's float32 stays within 1e-6 of its float64 for all 20 steps.

Contents (float32 unless another type is given):
  images [48,3,32,32] uint8, labels [48] uint8, mean [3], std [3]
  initial.<parameter>          weights before the first step, OIHW
  gradient.<parameter>         gradient of the mean loss at step 1, without weight decay
  after_step_1.<running stat>  batch-norm running mean and variance after step 1
  final.<running stat>         the same after step 20
  loss [20], loss_float32 [20] mean training loss of each step, before its update
`__metadata__` holds format ("sculpt-golden-step"), version and the recipe.
"""
import copy

import python_packages

python_packages.require(__doc__, "numpy", "torch")

import numpy as np
import torch

import golden_files
import image_data
import pytorch_models

RECIPE = {"model": "resnet20", "width": 0.25, "classes": 10, "batch": 12, "batches": 4, "steps": 20,
          "lr": 0.02, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4,
          "label_smoothing": 0.0, "seed": 2}


def running_statistics(model):
    return {name: value.double().numpy().copy() for name, value in model.state_dict().items()
            if name.endswith(("running_mean", "running_var"))}


def train(model, images, labels, dtype):
    """Returns losses, the gradients of step 1, and the statistics after step 1 and after the last step."""
    model = copy.deepcopy(model).to(dtype)
    model.train()
    mean, std = (torch.tensor(v, dtype=dtype).view(1, 3, 1, 1)
                 for v in image_data.NORMALIZATION["cifar10"])
    optimizer = torch.optim.SGD(model.parameters(), lr=RECIPE["lr"], momentum=RECIPE["momentum"],
                                weight_decay=RECIPE["weight_decay"], nesterov=RECIPE["nesterov"])
    losses, gradients, first = [], {}, {}
    for step in range(RECIPE["steps"]):
        begin = step % RECIPE["batches"] * RECIPE["batch"]
        x = (torch.from_numpy(images[begin:begin + RECIPE["batch"]]).to(dtype) / 255 - mean) / std
        y = torch.from_numpy(labels[begin:begin + RECIPE["batch"]]).long()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = {name: p.grad.double().numpy().copy()
                         for name, p in model.named_parameters()}
        optimizer.step()
        if step == 0:
            first = running_statistics(model)
    return np.array(losses), gradients, first, running_statistics(model)


def relative(a, b):
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def main():
    arguments = golden_files.argument_parser(__doc__, "resnet20_step.safetensors").parse_args()

    torch.use_deterministic_algorithms(True)
    generator = np.random.Generator(np.random.Philox(RECIPE["seed"]))
    count = RECIPE["batch"] * RECIPE["batches"]
    images, labels = golden_files.make_images(generator, count, RECIPE["classes"])
    model = pytorch_models.initialise(
        pytorch_models.build(RECIPE["model"], RECIPE["classes"], RECIPE["width"]), RECIPE["seed"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bn" in name or "downsample.1" in name:
                low, high = (0.5, 1.5) if name.endswith("bias") else (0.6, 1.0)
                parameter.copy_(torch.from_numpy(generator.uniform(low, high, parameter.shape)))
        model.fc.weight.mul_(0.1)  # because the features now have a large mean

    losses, gradients, first, final = train(model, images, labels, torch.float64)
    losses32, gradients32, first32, final32 = train(model, images, labels, torch.float32)
    single = lambda values: {k: v.astype(np.float32) for k, v in values.items()}  # noqa: E731
    tensors = golden_files.image_tensors(images, labels)
    tensors.update({f"initial.{k}": v.detach().numpy() for k, v in model.named_parameters()})
    tensors.update({f"gradient.{k}": v for k, v in single(gradients).items()})
    tensors.update({f"after_step_1.{k}": v for k, v in single(first).items()})
    tensors.update({f"final.{k}": v for k, v in single(final).items()})
    tensors["loss"] = losses.astype(np.float32)
    tensors["loss_float32"] = losses32.astype(np.float32)
    golden_files.write(arguments.out, "step", tensors, RECIPE)

    print("losses " + " ".join(f"{x:.4f}" for x in losses))
    print("PyTorch's float32 against its float64, relative:")
    print(f"  losses      {np.max(np.abs(losses32 - losses) / losses):.1e} (largest)")
    print(f"  gradients   {max(relative(gradients32[k], gradients[k]) for k in gradients):.1e}")
    print(f"  statistics  {max(relative(first32[k], first[k]) for k in first):.1e} after step 1, "
          f"{max(relative(final32[k], final[k]) for k in final):.1e} at the end")


if __name__ == "__main__":
    main()
