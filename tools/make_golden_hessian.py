#!/usr/bin/env python3
"""Writes the golden file of products with the Hessian, computed by PyTorch's double backward.

usage: tools/make_golden_hessian.py [--out tests/golden/hessian_products.safetensors]
                                    [--width W] [--images N]

There are five networks at a fraction of their widths (at the width W, if given), with one batch of 20 (or
N) seeded images, batch norm with batch statistics, and the mean cross-entropy. For each network, the file
holds H g and H v over all prunable weights. H is the Hessian with respect to these weights, g the gradient,
and v a vector of random numbers. The products are computed in float64 by differentiating the backward pass.

Weights, biases and v are functions of a number (see uniform()), so that the file need not hold
them: element i of tensor t of network n is uniform(1000 * n + t, i) times the bound of the tensor.
The bound is sqrt(6 / fan out) for convolutions (the variance of Kaiming's normal distribution), and
1 / sqrt(fan in) for linear layers and biases. Batch norm has scales of 1 and biases of 0. Element i
of v, counted over all prunable weights, is uniform(1000 * n + 999, i).

Contents:
  images [N,3,32,32] uint8, labels [N] uint8, mean [3], std [3]
  <network>.hessian_gradient.<parameter>  H g, float32
  <network>.hessian_random.<parameter>    H v, float32
`__metadata__` holds format ("sculpt-golden-hessian"), version, networks ("name width" each, separated
by commas; their position in this list is n) and parameters.<network> (names separated by commas;
their position in this list is t).
"""
import python_packages

python_packages.require(__doc__, "numpy", "torch")

import numpy as np
import torch

import golden_files
import pytorch_models

NETWORKS = [("mlp", 0.02), ("lenet", 0.3), ("resnet20", 0.25), ("vgg11_bn", 0.04),
            ("mobilenet_v1", 0.0625)]
IMAGES, CLASSES, SEED = 20, 10, 3
DIRECTION = 999


def uniform(stream, count):
    """Returns elements 0 to count - 1 of a stream: uniform in [-1, 1) with 24 bits, by SplitMix64."""
    x = np.arange(count, dtype=np.uint64) + np.uint64(stream << 32)
    with np.errstate(over="ignore"):
        x = x * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / 2 ** 23 - 1


def bound(name, shape, fan_in):
    """Returns the bound of a tensor's elements. `fan_in` is the fan-in of the layer's weight."""
    if len(shape) == 4:
        return np.sqrt(6 / (shape[0] * shape[2] * shape[3]))
    return fan_in ** -0.5


def fill(model, n):
    modules = dict(model.named_modules())
    with torch.no_grad():
        for t, (name, parameter) in enumerate(model.named_parameters()):
            layer = modules[name.rpartition(".")[0]]
            if isinstance(layer, torch.nn.BatchNorm2d):
                parameter.fill_(1 if name.endswith("weight") else 0)
                continue
            fan_in = layer.weight[0].numel()
            values = uniform(1000 * n + t, parameter.numel()) * bound(name, parameter.shape, fan_in)
            # The values are rounded to float32, because Sculpt stores weights in float32.
            parameter.copy_(torch.from_numpy(values.astype(np.float32)).view(parameter.shape))


def products(model, x, y, n):
    """Returns {parameter: H g} and {parameter: H v} for the prunable weights."""
    model.train()
    names = pytorch_models.prunable_names(model)
    weights = [model.get_parameter(name) for name in names]
    loss = torch.nn.functional.cross_entropy(model(x), y)
    gradient = torch.autograd.grad(loss, weights, create_graph=True)

    def times_hessian(vectors):
        inner = sum((g * v).sum() for g, v in zip(gradient, vectors))
        return torch.autograd.grad(inner, weights, retain_graph=True)

    sizes = [w.numel() for w in weights]
    v = torch.from_numpy(uniform(1000 * n + DIRECTION, sum(sizes))).split(sizes)
    by_gradient = times_hessian([g.detach() for g in gradient])
    by_random = times_hessian([part.view(w.shape) for part, w in zip(v, weights)])
    arrays = lambda found: {name: p.numpy().astype(np.float32)  # noqa: E731
                            for name, p in zip(names, found)}
    return arrays(by_gradient), arrays(by_random)


def main():
    parser = golden_files.argument_parser(__doc__, "hessian_products.safetensors")
    parser.add_argument("--width", type=float, help="of all networks; 1 makes a file of 110 MB")
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    networks = [(name, arguments.width or width) for name, width in NETWORKS]

    torch.use_deterministic_algorithms(True)
    generator = np.random.Generator(np.random.Philox(SEED))
    images, labels = golden_files.make_images(generator, arguments.images, CLASSES)
    tensors = golden_files.image_tensors(images, labels)
    mean, std = (torch.tensor(tensors[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    metadata = {"networks": ",".join(f"{name} {width}" for name, width in networks)}
    x = (torch.from_numpy(images).double() / 255 - mean.double()) / std
    y = torch.from_numpy(labels).long()
    for n, (name, width) in enumerate(networks):
        model = pytorch_models.build(name, CLASSES, width).double()
        fill(model, n)
        metadata[f"parameters.{name}"] = ",".join(key for key, _ in model.named_parameters())
        by_gradient, by_random = products(model, x, y, n)
        tensors.update({f"{name}.hessian_gradient.{k}": v for k, v in by_gradient.items()})
        tensors.update({f"{name}.hessian_random.{k}": v for k, v in by_random.items()})
        norms = [np.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in found.values()))
                 for found in (by_gradient, by_random)]
        print(f"{name}: {sum(v.size for v in by_random.values()):,} weights, |H g| {norms[0]:.4g}, "
              f"|H v| {norms[1]:.4g}")
    golden_files.write(arguments.out, "hessian", tensors, metadata)


if __name__ == "__main__":
    main()
