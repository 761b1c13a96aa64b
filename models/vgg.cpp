// This file has VGG with batch norm (Simonyan & Zisserman 2014, arXiv:1409.1556), as pruning papers
// use it on CIFAR: with one linear layer behind a global average. Feature numbers follow
// torchvision's nn.Sequential; the convolutions have no bias, since batch norm follows.

#include "models/models.h"

namespace sculpt::models {

namespace {

constexpr int64_t kPool = 0;

Value vgg(Builder& b, Value x, const std::vector<int64_t>& layers, const ModelContext& context) {
  int feature =
      0;  // index in torchvision's `features`: conv, norm, ReLU and pooling count one each
  const Builder::Scope features(b, "features");
  for (const int64_t channels : layers) {
    if (channels == kPool) {
      x = b.max_pool(x, 2, 2);
      feature += 1;
      continue;
    }
    x = b.conv(std::to_string(feature), x, context.scaled(channels), {.kernel = 3});
    x = b.batch_norm(std::to_string(feature + 1), x, {.relu = true});
    feature += 3;
  }
  return x;
}

Value classified(Builder& b, Value x, const ModelContext& context) {
  x = b.global_average_pool(x);
  if (context.options.dropout > 0) x = b.dropout(x, context.options.dropout);
  return b.linear("classifier", x, context.classes);
}

}  // namespace

Value vgg11_bn(Builder& b, Value x, const ModelContext& c) {
  return classified(
      b, vgg(b, x, {64, kPool, 128, kPool, 256, 256, kPool, 512, 512, kPool, 512, 512, kPool}, c),
      c);
}

Value vgg16_bn(Builder& b, Value x, const ModelContext& c) {
  return classified(b,
                    vgg(b, x,
                        {64, 64, kPool, 128, 128, kPool, 256, 256, 256, kPool, 512, 512, 512, kPool,
                         512, 512, 512, kPool},
                        c),
                    c);
}

Value vgg19_bn(Builder& b, Value x, const ModelContext& c) {
  return classified(b,
                    vgg(b, x, {64,  64,  kPool, 128, 128,   kPool, 256, 256, 256, 256,  kPool,
                               512, 512, 512,   512, kPool, 512,   512, 512, 512, kPool},
                        c),
                    c);
}

}  // namespace sculpt::models
