// MobileNet v1 (Howard et al. 2017, arXiv:1704.04861) has depthwise 3x3 and pointwise 1x1
// convolutions. It has a stride-1 stem here, because the images have 32x32 pixels.

#include "engine/core/error.h"
#include "models/models.h"

namespace sculpt::models {

namespace {

struct Stage {
  int64_t channels;
  int64_t stride;
};

constexpr Stage kStages[] = {{64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2}, {512, 1},
                             {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}};

Value separable(Builder& b, Value x, int64_t channels, int64_t stride) {
  const int64_t in = b.channels(x);
  x = b.conv("conv1", x, in, {.kernel = 3, .stride = stride, .groups = in});
  x = b.batch_norm("bn1", x, {.relu = true});
  x = b.conv("conv2", x, channels, {.kernel = 1});
  return b.batch_norm("bn2", x, {.relu = true});
}

}  // namespace

Value mobilenet_v1(Builder& b, Value x, const ModelContext& context) {
  x = b.conv("conv1", x, context.scaled(32), {.kernel = 3});
  x = b.batch_norm("bn1", x, {.relu = true});
  int index = 0;
  for (const Stage stage : kStages) {
    const Builder::Scope scope(b, fmt::format("layers.{}", index++));
    x = separable(b, x, context.scaled(stage.channels), stage.stride);
  }
  return b.linear("fc", b.global_average_pool(x), context.classes);
}

}  // namespace sculpt::models
