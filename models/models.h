#pragma once
// Each model is one function; models/registry.cpp lists them.

#include "models/registry.h"

namespace sculpt::models {

// These are the CIFAR ResNets of He et al. 2015, section 4.2, with 6n + 2 layers and projection
// shortcuts.
Value resnet20(Builder&, Value images, const ModelContext&);
Value resnet32(Builder&, Value images, const ModelContext&);
Value resnet44(Builder&, Value images, const ModelContext&);
Value resnet56(Builder&, Value images, const ModelContext&);
Value resnet110(Builder&, Value images, const ModelContext&);

// These are the ImageNet ResNets of He et al. 2015, table 1, as in torchvision, with either stem.
Value resnet18(Builder&, Value images, const ModelContext&);
Value resnet34(Builder&, Value images, const ModelContext&);
Value resnet50(Builder&, Value images, const ModelContext&);

// These are the VGG networks of Simonyan & Zisserman 2014, with batch norm and one classifier
// layer.
Value vgg11_bn(Builder&, Value images, const ModelContext&);
Value vgg16_bn(Builder&, Value images, const ModelContext&);
Value vgg19_bn(Builder&, Value images, const ModelContext&);

// This is MobileNet v1 of Howard et al. 2017, with the strides usual for CIFAR.
Value mobilenet_v1(Builder&, Value images, const ModelContext&);

// These are LeNet-300-100 and a LeNet-5 with ReLU, of LeCun et al. 1998.
Value mlp(Builder&, Value images, const ModelContext&);
Value lenet(Builder&, Value images, const ModelContext&);

}  // namespace sculpt::models
