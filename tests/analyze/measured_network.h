#pragma once
// A tiny network with images, for the tests of analyses.

#include <vector>

#include "engine/analyze/analysis_images.h"
#include "engine/analyze/network_values.h"
#include "engine/core/random.h"
#include "tests/support/tiny_run.h"

namespace sculpt::testing {

/// The network of TinyRun on `backend`, with 22 training images and 10 test images.
struct MeasuredNetwork {
  static constexpr int64_t kMaxBatch = 8;
  static constexpr int64_t kTrain = 22;

  explicit MeasuredNetwork(const kernels::Backend& backend)
      : network(tiny_spec(), backend, kMaxBatch), train(kTrain, kTrain, 1), test(10, kMaxBatch, 2) {
    network.initialise(1);
  }

  AnalysisImages images(int64_t count = kTrain) {
    return {.train = [this](int64_t first, int64_t n) { return train_images(first, n); },
            .train_count = count,
            .test = test};
  }
  Batch train_images(int64_t first, int64_t count) {
    train.start_epoch(0, 0);
    const Batch all = train.next();
    return {all.images + first * train.image_shape().count(), all.labels + first, count};
  }

  /// Returns random values under a random mask that keeps `density` of the prunable weights.
  /// Running variances are positive.
  StoredNetwork random_values(uint64_t seed, double density) {
    const ParameterArena& arena = network.parameters();
    network.initialise(seed);
    StoredNetwork values = values_of(network);
    const RandomStream random(seed, Purpose::test, 9);
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        values.weights[i] += 0.2f * random.normal(2 * i);
        if (!p.prunable || static_cast<double>(random.uniform(2 * i + 1)) < density) continue;
        values.masks[i] = 0;
        values.weights[i] = 0;
      }
    for (const StateArray& s : arena.states())
      for (int64_t i = 0; i < s.count; ++i)
        values.states[static_cast<size_t>(s.offset + i)] +=
            0.3f * random.uniform(100000 + static_cast<uint64_t>(s.offset + i));
    values.batches_tracked = static_cast<int64_t>(seed);
    return values;
  }

  Network network;
  TinySource train, test;
};

}  // namespace sculpt::testing
