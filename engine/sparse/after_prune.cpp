#include "engine/sparse/after_prune.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/nn/batch_norm_state.h"
#include "engine/nn/measured_passes.h"

namespace sculpt {

namespace {

/// While this object lives, each forward pass in training mode makes the running statistics the
/// weighted mean of their previous values and those of its batch.
class CumulativeStatistics {
 public:
  explicit CumulativeStatistics(Network& network)
      : settings_(network.graph().settings()), parameters_(network.parameters()) {
    // The previous statistics, which may contain infinities, have weight 0 from here on.
    if (parameters_.element_bytes() == sizeof(double))
      std::ranges::fill(parameters_.edit_state_values<double>(), 0.0);
    else
      std::ranges::fill(parameters_.edit_state_values<float>(), 0.0f);
  }
  ~CumulativeStatistics() {
    settings_.statistics_momentum.reset();
    parameters_.batches_tracked = batches_tracked_;
  }
  CumulativeStatistics(const CumulativeStatistics&) = delete;
  CumulativeStatistics& operator=(const CumulativeStatistics&) = delete;

  /// Call this before a batch of `count` images, when `seen` images have come before it.
  void next_batch(int64_t count, int64_t seen) {
    settings_.statistics_momentum = static_cast<float>(count) / static_cast<float>(seen + count);
  }

 private:
  PassSettings& settings_;
  ParameterArena& parameters_;
  const int64_t batches_tracked_ = parameters_.batches_tracked;  // counts training batches only
};

}  // namespace

bool reestimate_batch_norm(Network& network, const StatisticsImages& images, int64_t count,
                           const Normalization& normalization, const std::function<bool()>& stop) {
  if (network.parameters().states().empty()) return true;
  SCULPT_CHECK(count >= 2, "batch norm cannot be estimated on {} images", count);
  const MeasuredPasses measured(network);
  CumulativeStatistics statistics(network);
  const int64_t pieces = kernels::ceil_div(count, network.max_batch());
  for (int64_t piece = 0; piece < pieces; ++piece) {
    if (stop()) return false;
    const int64_t first = count * piece / pieces;
    const int64_t size = count * (piece + 1) / pieces - first;
    statistics.next_batch(size, first);
    network.load(images(first, size), normalization);
    network.forward(Mode::train);
  }
  return true;
}

std::optional<AfterPrune> measure_after_prune(Network& network, BatchFeed& test,
                                              const StatisticsImages& images, int64_t count,
                                              const Normalization& normalization,
                                              const std::function<bool()>& stop) {
  const auto before = evaluate(network, test, stop);
  if (!before) return std::nullopt;
  if (count == 0 || network.parameters().states().empty()) return AfterPrune{*before, {}, 0};
  const BatchNormState aside(network.parameters());
  if (reestimate_batch_norm(network, images, count, normalization, stop))
    if (const auto now = evaluate(network, test, stop)) return AfterPrune{*now, before, count};
  aside.restore(network.parameters());
  return std::nullopt;
}

}  // namespace sculpt
