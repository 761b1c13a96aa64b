#pragma once
// One function per model; models/registry.cpp lists them.

#include "models/registry.h"

namespace sculpt::models {

// CIFAR ResNets, He et al. 2015, section 4.2: 6n + 2 layers, projection shortcuts.
Value resnet20(Builder&, Value images, const ModelContext&);
Value resnet32(Builder&, Value images, const ModelContext&);
Value resnet44(Builder&, Value images, const ModelContext&);
Value resnet56(Builder&, Value images, const ModelContext&);
Value resnet110(Builder&, Value images, const ModelContext&);

// ImageNet ResNets, He et al. 2015, table 1, as in torchvision, with either stem.
Value resnet18(Builder&, Value images, const ModelContext&);
Value resnet34(Builder&, Value images, const ModelContext&);
Value resnet50(Builder&, Value images, const ModelContext&);

// VGG with batch norm and one classifier layer, Simonyan & Zisserman 2014.
Value vgg11_bn(Builder&, Value images, const ModelContext&);
Value vgg16_bn(Builder&, Value images, const ModelContext&);
Value vgg19_bn(Builder&, Value images, const ModelContext&);

// MobileNet v1, Howard et al. 2017, with the strides usual for CIFAR.
Value mobilenet_v1(Builder&, Value images, const ModelContext&);

// LeNet-300-100 and a ReLU LeNet-5, LeCun et al. 1998.
Value mlp(Builder&, Value images, const ModelContext&);
Value lenet(Builder&, Value images, const ModelContext&);

}  // namespace sculpt::models
