#include "engine/train/hooks/dense_timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/core/memory_use.h"
#include "engine/core/phase.h"
#include "engine/core/random.h"

namespace sculpt {
namespace {

constexpr size_t kMostComparisons = 3;
constexpr double kLargestShare = 0.01;  // share of the time of the steps with this mask

std::unique_ptr<Network> dense_copy(Network& network) {
  Execution dense = network.execution();
  dense.layers.sparse = SparseKernels::off;
  dense.ranks = &one_rank();  // each rank times its own kernels
  return network.rebuild(network.graph().backend(), network.graph().max_batch(), dense);
}

}  // namespace

DenseTiming::DenseTiming(Network& network, const OptimizerMaker& make_optimizer,
                         const OptimOptions& optim, int64_t steps)
    : network_(dense_copy(network)),
      optimizer_(make_optimizer(network_->parameters(), optim)),
      steps_(static_cast<double>(steps)),
      ranks_(network.execution().ranks->size()) {
  const ImageShape& shape = network_->spec().image;
  const RandomStream random(0, Purpose::test);
  images_.resize(static_cast<size_t>(shape.count() * network_->max_batch()));
  for (size_t i = 0; i < images_.size(); ++i)
    images_[i] = static_cast<uint8_t>(random.word(i));
  labels_.resize(static_cast<size_t>(network_->max_batch()));
  const std::vector<float> half(static_cast<size_t>(shape.channels), 0.5f);
  normalization_ = {half, half};
  spent_ = dense_step(network_->max_batch());  // this step warms up and is not compared
}

double DenseTiming::dense_step(int64_t images) {
  using Clock = std::chrono::steady_clock;
  const Phase phase("timing dense kernels");
  const auto start = Clock::now();
  // The copy has room for a part of a large batch; all parts have the same images.
  const int parts = network_->parts_of(images);
  for (int index = 0; index < parts; ++index) {
    const int64_t count = share_of(images, index, parts).count;
    network_->load({images_.data(), labels_.data(), count}, normalization_);
    network_->forward(Mode::train);
    network_->backward();
  }
  optimizer_->step(0);  // with a learning rate of 0, the weights stay finite
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void DenseTiming::compare(int64_t images, double seconds) {
  const double dense = dense_step(largest_share(images, ranks_));
  spent_ += dense;
  ratios_.push_back(dense / seconds);
  done_ = ratios_.size() == kMostComparisons || spent_ + dense > kLargestShare * steps_ * seconds;
}

double DenseTiming::ratio() const {
  if (ratios_.empty()) return NAN;
  std::vector<double> sorted = ratios_;
  std::ranges::sort(sorted);
  return (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]) / 2;
}

bool can_copy(const Network& network) {
  const ParameterArena& arena = network.parameters();
  // An element has a weight, a gradient, a mask and one value in each of the optimizer's arrays.
  // The layers need about as much memory again.
  const size_t arrays = 2 + static_cast<size_t>(arena.optimizer_array_count());
  const size_t parameters =
      2 * static_cast<size_t>(arena.count()) * (arrays * arena.element_bytes() + 1);
  return available_memory_bytes() / 2 >
         static_cast<int64_t>(network.graph().planned_bytes() + parameters);
}

}  // namespace sculpt
