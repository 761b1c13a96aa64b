// This file has the residual networks of He et al. 2015 (arXiv:1512.03385). Parameter names follow
// torchvision.

#include "engine/core/error.h"
#include "models/models.h"

namespace sculpt::models {

namespace {

Value shortcut(Builder& b, Value x, int64_t out_channels, int64_t stride) {
  if (b.channels(x) == out_channels && stride == 1) return x;
  const Builder::Scope scope(b, "downsample");
  x = b.conv("0", x, out_channels, {.kernel = 1, .stride = stride});
  return b.batch_norm("1", x);
}

Value basic_block(Builder& b, Value x, int64_t channels, int64_t stride) {
  Value y = b.conv("conv1", x, channels, {.kernel = 3, .stride = stride});
  y = b.batch_norm("bn1", y, {.relu = true});
  y = b.conv("conv2", y, channels, {.kernel = 3});
  const Value residual = shortcut(b, x, channels, stride);
  return b.batch_norm("bn2", y, {.relu = true, .residual = residual});
}

// Adds a 1x1 convolution to fewer channels, a 3x3 convolution, which has the stride as in
// torchvision, and a 1x1 convolution to four times the channels.
Value bottleneck(Builder& b, Value x, int64_t channels, int64_t stride) {
  const int64_t out_channels = 4 * channels;
  Value y = b.conv("conv1", x, channels, {.kernel = 1});
  y = b.batch_norm("bn1", y, {.relu = true});
  y = b.conv("conv2", y, channels, {.kernel = 3, .stride = stride});
  y = b.batch_norm("bn2", y, {.relu = true});
  y = b.conv("conv3", y, out_channels, {.kernel = 1});
  const Value residual = shortcut(b, x, out_channels, stride);
  return b.batch_norm("bn3", y, {.relu = true, .residual = residual});
}

using Block = Value (*)(Builder&, Value, int64_t channels, int64_t stride);

// Adds the stages layer1, layer2, ...: channels double and the image halves from one to the next.
Value stages(Builder& b, Value x, Block block, std::vector<int> blocks, int64_t channels,
             const ModelContext& context) {
  for (size_t stage = 0; stage < blocks.size(); ++stage) {
    for (int i = 0; i < blocks[stage]; ++i) {
      const Builder::Scope scope(b, fmt::format("layer{}.{}", stage + 1, i));
      const int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      x = block(b, x, context.scaled(channels << stage), stride);
    }
  }
  return x;
}

Value classifier(Builder& b, Value x, const ModelContext& context) {
  return b.linear("fc", b.global_average_pool(x), context.classes);
}

Value cifar_resnet(Builder& b, Value x, int blocks_per_stage, const ModelContext& context) {
  x = b.conv("conv1", x, context.scaled(16), {.kernel = 3});
  x = b.batch_norm("bn1", x, {.relu = true});
  x = stages(b, x, basic_block, {blocks_per_stage, blocks_per_stage, blocks_per_stage}, 16,
             context);
  return classifier(b, x, context);
}

Value imagenet_resnet(Builder& b, Value x, Block block, std::vector<int> blocks,
                      const ModelContext& context) {
  const bool large = context.options.stem == "imagenet";
  x = b.conv("conv1", x, context.scaled(64),
             large ? ConvOptions{.kernel = 7, .stride = 2} : ConvOptions{.kernel = 3});
  x = b.batch_norm("bn1", x, {.relu = true});
  if (large) x = b.max_pool(x, 3, 2, 1);
  x = stages(b, x, block, std::move(blocks), 64, context);
  return classifier(b, x, context);
}

}  // namespace

Value resnet20(Builder& b, Value x, const ModelContext& c) {
  return cifar_resnet(b, x, 3, c);
}
Value resnet32(Builder& b, Value x, const ModelContext& c) {
  return cifar_resnet(b, x, 5, c);
}
Value resnet44(Builder& b, Value x, const ModelContext& c) {
  return cifar_resnet(b, x, 7, c);
}
Value resnet56(Builder& b, Value x, const ModelContext& c) {
  return cifar_resnet(b, x, 9, c);
}
Value resnet110(Builder& b, Value x, const ModelContext& c) {
  return cifar_resnet(b, x, 18, c);
}

Value resnet18(Builder& b, Value x, const ModelContext& c) {
  return imagenet_resnet(b, x, basic_block, {2, 2, 2, 2}, c);
}
Value resnet34(Builder& b, Value x, const ModelContext& c) {
  return imagenet_resnet(b, x, basic_block, {3, 4, 6, 3}, c);
}
Value resnet50(Builder& b, Value x, const ModelContext& c) {
  return imagenet_resnet(b, x, bottleneck, {3, 4, 6, 3}, c);
}

}  // namespace sculpt::models
