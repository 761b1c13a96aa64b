#pragma once
// Measures how long a run would have taken on dense kernels. Now and then a training step of the
// run is followed by a step on a copy of its network that skips no masked weight. The result is the
// ratio of the two times, so that a machine that slows down slows both. The measurement changes
// nothing of the run but its time.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"

namespace sculpt {

/// The comparisons for one state of the masks.
class DenseTiming {
 public:
  /// The number of steps of the run that are needed after the step at which the object is made. The
  /// first of them settles and the second is compared.
  static constexpr int64_t kStepsNeeded = 2;

  /// Copies the network, memory and all, and runs a first step on it. `steps` are expected with
  /// this mask: comparing ends when it has cost about a hundredth of them, but not before the
  /// first. Each of its steps is a phase (core/phase.h) that may be interrupted; the object is of
  /// no use after that.
  DenseTiming(Network& network, const OptimizerMaker& make_optimizer, const OptimOptions& optim,
              int64_t steps);

  /// Compares a step of the run that took `seconds` for a batch of `images`.
  void compare(int64_t images, double seconds);

  bool done() const { return done_; }
  /// Seconds of a step on dense kernels / of the run's, the median; not a number before the first
  /// comparison.
  double ratio() const;
  int64_t comparisons() const { return static_cast<int64_t>(ratios_.size()); }

 private:
  /// Seconds.
  double dense_step(int64_t images);

  std::unique_ptr<Network> network_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<uint8_t> images_;  // noise
  std::vector<int32_t> labels_;
  Normalization normalization_;
  double steps_;
  double spent_ = 0;
  std::vector<double> ratios_;
  bool done_ = false;
};

/// Returns true if there is memory for a copy of the network, with as much again left.
bool can_copy(const Network& network);

}  // namespace sculpt
