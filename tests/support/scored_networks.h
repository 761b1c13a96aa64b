#pragma once
// Small networks and class-balanced batches for the tests of pruning.

#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/core/random.h"
#include "engine/nn/builder.h"
#include "engine/nn/network.h"
#include "engine/sparse/criteria.h"
#include "kernels/common/parallel.h"

namespace sculpt::testing {

/// Sets the number of threads to one for a scope. Threads only slow down loops over networks of a
/// few hundred weights.
class OneThread {
 public:
  OneThread() { set_thread_count(1); }
  ~OneThread() { set_thread_count(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = thread_count();
};

/// conv - bn - relu - strided conv - bn(+ shortcut) - relu - pool - linear, odd sizes: 397 weights.
inline NetworkSpec four_layer_spec() {
  NetworkSpec spec;
  spec.image = {.channels = 2, .height = 5, .width = 7};
  spec.classes = 3;
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 5), {.relu = true});
    const Value shortcut = b.conv("shortcut", x, 5, {.kernel = 1, .stride = 2});
    x = b.conv("conv2", x, 5, {.stride = 2});
    x = b.batch_norm("bn2", x, {.relu = true, .residual = shortcut});
    return b.linear("fc", b.flatten(b.global_average_pool(x)), 3);
  };
  return spec;
}

/// Linear layers and ReLU without biases.
inline NetworkSpec mlp_spec(std::vector<int64_t> sizes) {
  NetworkSpec spec;
  spec.image = {.channels = sizes[0], .height = 1, .width = 1};
  spec.classes = sizes.back();
  spec.model = [sizes](Builder& b, Value x) {
    x = b.flatten(x);
    for (size_t l = 1; l < sizes.size(); ++l) {
      if (l > 1) x = b.relu(x);
      x = b.linear("fc" + std::to_string(l), x, sizes[l], false);
    }
    return x;
  };
  return spec;
}

/// Random images with labels 0, 1, 2, 0, 1, ...: batches of `count`, a function of (seed, index).
class RandomBatches {
 public:
  RandomBatches(const NetworkSpec& spec, int64_t count, uint64_t seed)
      : image_(spec.image.count()), classes_(spec.classes), count_(count), seed_(seed) {
    normalization.mean.assign(static_cast<size_t>(spec.image.channels), 0.45f);
    normalization.std.assign(static_cast<size_t>(spec.image.channels), 0.25f);
  }

  Batch operator()(int64_t index) {
    const RandomStream random(seed_, Purpose::test, static_cast<uint64_t>(index));
    images_.resize(static_cast<size_t>(image_ * count_));
    for (size_t i = 0; i < images_.size(); ++i)
      images_[i] = random.word(i) & 255;
    labels_.resize(static_cast<size_t>(count_));
    for (size_t n = 0; n < labels_.size(); ++n)
      labels_[n] = static_cast<int32_t>(static_cast<int64_t>(n) % classes_);
    return {images_.data(), labels_.data(), count_};
  }

  Normalization normalization;

 private:
  int64_t image_, classes_, count_;
  uint64_t seed_;
  std::vector<uint8_t> images_;
  std::vector<int32_t> labels_;
};

/// A context whose batches are two of 6 images, more than the networks of these tests take at once.
inline ScoreContext context_for(Network& network, RandomBatches& batches, uint64_t seed) {
  ScoreContext context{.network = network, .seed = seed, .options = {}};
  context.options.score_batches = 2;
  context.score_batch = [&batches](int64_t index) { return batches(index); };
  context.normalization = batches.normalization;
  return context;
}

/// The prunable elements of the masks, one parameter after another.
inline std::vector<uint8_t> prunable_mask(const ParameterArena& parameters) {
  std::vector<uint8_t> mask;
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    const auto part = ParameterArena::slice(parameters.masks(), p);
    mask.insert(mask.end(), part.begin(), part.end());
  }
  return mask;
}

/// Copies numbers over the prunable weights from the memory of the backend.
template <class T = double>
std::vector<T> on_host(const Buffer& buffer, const kernels::Backend& backend) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  if (backend.memory)
    backend.memory->copy_out(values.data(), buffer.data(), buffer.bytes());
  else
    std::memcpy(values.data(), buffer.data(), buffer.bytes());
  return values;
}

/// The mean gradient that criteria work with.
inline std::vector<double> mean_gradient(const ScoreContext& context) {
  const ParameterArena& parameters = context.network.parameters();
  Buffer sum = zeroed_scores(parameters);
  add_mean_gradient(mean_loss(context, context.network), 1, sum);
  return on_host(sum, parameters.backend());
}

}  // namespace sculpt::testing
