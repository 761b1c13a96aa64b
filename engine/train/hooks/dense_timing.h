#pragma once
// Measures how long a run would have taken on dense kernels. Now and then, after a training step of
// the run, a step on a copy of its network is timed that skips no masked weight. The result is the
// ratio of the two times, so that a machine that slows down slows both. Apart from the time it
// takes, the measurement changes nothing in the run.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"

namespace sculpt {

/// Compares steps for one state of the masks.
class DenseTiming {
 public:
  /// The number of the run's steps that are needed after the step in which the object is made. The
  /// first of these steps is not compared, because memory and caches still settle; the second is.
  static constexpr int64_t kStepsNeeded = 2;

  /// Copies the network with all its memory, and runs a first step on the copy. `steps` is the
  /// number of steps expected with these masks. Comparing ends when it has cost about a hundredth
  /// of their time, but not before the first comparison. Each step on the copy is a phase
  /// (core/phase.h) that may be interrupted; do not use the object after an interruption.
  DenseTiming(Network& network, const OptimizerMaker& make_optimizer, const OptimOptions& optim,
              int64_t steps);

  /// Compares a step of the run that took `seconds` for a batch of `images`.
  void compare(int64_t images, double seconds);

  bool done() const { return done_; }
  /// Returns the median of (seconds of a step on dense kernels / seconds of the run's step); not a
  /// number before the first comparison.
  double ratio() const;
  int64_t comparisons() const { return static_cast<int64_t>(ratios_.size()); }

 private:
  /// Runs a step on the copy and returns its duration in seconds.
  double dense_step(int64_t images);

  std::unique_ptr<Network> network_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<uint8_t> images_;  // random pixels
  std::vector<int32_t> labels_;
  Normalization normalization_;
  double steps_;
  int ranks_;  // that share a batch
  double spent_ = 0;
  std::vector<double> ratios_;
  bool done_ = false;
};

/// Returns true if there is memory for a copy of the network, with as much again left.
bool can_copy(const Network& network);

}  // namespace sculpt
