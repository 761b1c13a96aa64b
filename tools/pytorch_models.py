"""Plain PyTorch definitions of the models in models/, with the same parameter names and shapes.

Checkpoints of Sculpt load into these models with load_state_dict. Names follow torchvision if it has
the model. build() is the only entry point. Needs torch.
"""
import torch
from torch import nn
from torch.nn import functional as F

import run_folder

CIFAR_RESNETS = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}
RESNETS = {"resnet18": ("basic", [2, 2, 2, 2]), "resnet34": ("basic", [3, 4, 6, 3]),
           "resnet50": ("bottleneck", [3, 4, 6, 3])}
VGGS = {
    "vgg11_bn": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "vgg16_bn": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512,
                 "M"],
    "vgg19_bn": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512,
                 512, 512, 512, "M"],
}
# (output channels, stride) of each depthwise-separable block.
MOBILENET_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1),
                (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)]
NAMES = [*CIFAR_RESNETS, *RESNETS, *VGGS, "mobilenet_v1", "mlp", "lenet"]


def scaled(channels, width):
    """Returns the number of channels under the width multiplier, rounded half up."""
    return max(1, int(channels * width + 0.5))


def conv(inputs, outputs, kernel, stride=1, padding=None, groups=1):
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


def shortcut(inputs, outputs, stride):
    """Returns a 1x1 convolution and batch norm if the shape changes, else None."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = conv(inputs, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut(inputs, planes, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, planes, stride):
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = conv(inputs, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv(planes, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """`stem` is 'cifar' (3x3, stride 1) or 'imagenet' (7x7, stride 2, max pooling)."""

    def __init__(self, block, counts, planes, stem, in_channels, classes):
        super().__init__()
        if stem not in ("cifar", "imagenet"):
            raise ValueError(f"unknown stem '{stem}': cifar or imagenet")
        inputs = planes[0]
        self.conv1 = conv(in_channels, inputs, 3) if stem == "cifar" else conv(
            in_channels, inputs, 7, 2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.maxpool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, 1)
        self.stage_count = len(counts)
        for stage, (count, channels) in enumerate(zip(counts, planes)):
            blocks = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(inputs, channels, stride))
                inputs = channels * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stage_count):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Vgg(nn.Module):
    """The convolutions have no bias, because batch norm follows each. Those of torchvision have one.

    For 32x32 images the last max pooling leaves 1x1; larger maps are averaged before the one
    linear layer.
    """

    def __init__(self, layout, width, in_channels, classes, dropout):
        super().__init__()
        self.dropout = dropout
        layers, inputs = [], in_channels
        for item in layout:
            if item == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                outputs = scaled(item, width)
                layers += [conv(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.classifier(F.dropout(x, self.dropout, self.training))


class SeparableBlock(nn.Module):
    """Depthwise 3x3 (conv1), then pointwise 1x1 (conv2), each with batch norm and ReLU."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv(inputs, inputs, 3, stride, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = conv(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class MobileNetV1(nn.Module):
    """The form for CIFAR, whose first convolution has stride 1."""

    def __init__(self, width, in_channels, classes):
        super().__init__()
        inputs = scaled(32, width)
        self.conv1 = conv(in_channels, inputs, 3)
        self.bn1 = nn.BatchNorm2d(inputs)
        blocks = []
        for channels, stride in MOBILENET_V1:
            outputs = scaled(channels, width)
            blocks.append(SeparableBlock(inputs, outputs, stride))
            inputs = outputs
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling; padding 2 in the first convolution at any image size."""

    def __init__(self, width, in_channels, image_size, classes, dropout):
        super().__init__()
        self.dropout = dropout
        channels = [scaled(c, width) for c in (6, 16)]
        hidden = [scaled(c, width) for c in (120, 84)]
        side = (image_size // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, channels[0], 5, padding=2)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 5)
        self.fc1 = nn.Linear(channels[1] * side * side, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.fc3 = nn.Linear(hidden[1], classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return self.fc3(F.dropout(x, self.dropout, self.training))


class Mlp(nn.Module):
    """LeNet-300-100."""

    def __init__(self, width, inputs, classes, dropout):
        super().__init__()
        self.dropout = dropout
        hidden = [scaled(c, width) for c in (300, 100)]
        self.fc1 = nn.Linear(inputs, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.fc3 = nn.Linear(hidden[1], classes)

    def forward(self, x):
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return self.fc3(F.dropout(x, self.dropout, self.training))


def build(name, classes=10, width=1.0, in_channels=3, image_size=32, stem="cifar",
          dropout=0.0):
    """Returns the model called `name`. Only resnet18/34/50 use `stem`; only vgg, mlp and lenet use
    `dropout`."""
    if name in CIFAR_RESNETS:
        planes = [scaled(c, width) for c in (16, 32, 64)]
        return ResNet(BasicBlock, [CIFAR_RESNETS[name]] * 3, planes, "cifar", in_channels, classes)
    if name in RESNETS:
        kind, counts = RESNETS[name]
        block = BasicBlock if kind == "basic" else Bottleneck
        planes = [scaled(c, width) for c in (64, 128, 256, 512)]
        return ResNet(block, counts, planes, stem, in_channels, classes)
    if name in VGGS:
        return Vgg(VGGS[name], width, in_channels, classes, dropout)
    if name == "mobilenet_v1":
        return MobileNetV1(width, in_channels, classes)
    if name == "lenet":
        return LeNet(width, in_channels, image_size, classes, dropout)
    if name == "mlp":
        return Mlp(width, in_channels * image_size * image_size, classes, dropout)
    raise ValueError(f"unknown model '{name}'; there are {', '.join(NAMES)}")


def initialise(model, seed, fan="fan_out", distribution="normal", nonlinearity="relu"):
    """Initialises a model as models/ does: convolutions by Kaiming, by default normal with fan out and the
    gain of ReLU; linear layers and all biases uniform in +-1/sqrt(fan in)."""
    generator = torch.Generator().manual_seed(seed)
    kaiming = (nn.init.kaiming_normal_ if distribution == "normal" else nn.init.kaiming_uniform_)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # PyTorch's fan out ignores groups. The engine counts the outputs of one group.
            weight = module.weight.data
            weight = weight.view(module.groups, -1, *weight.shape[1:])
            for group in weight if fan == "fan_out" else [module.weight.data]:
                kaiming(group, mode=fan, nonlinearity=nonlinearity, generator=generator)
        elif isinstance(module, nn.Linear):
            bound = module.in_features ** -0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return model


def prunable_names(model, first_conv=True, classifier=True, patterns=()):
    """Returns the names of the prunable weights in order: every convolution and linear weight, except the
    first convolution or the last linear layer if these are exempt, and the layers that fit a pattern
    (prune.exempt)."""
    layers = [(f"{name}.weight", type(module)) for name, module in model.named_modules()
              if isinstance(module, (nn.Conv2d, nn.Linear))]
    exempt = set()
    if not first_conv:
        exempt.update([name for name, kind in layers if kind is nn.Conv2d][:1])
    if not classifier:
        exempt.update([name for name, kind in layers if kind is nn.Linear][-1:])
    exempt.update(name for name, _ in layers for pattern in patterns
                  if run_folder.is_layer(name, pattern))
    return [name for name, _ in layers if name not in exempt]
