#include "engine/masks/mask_change.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/core/random.h"
#include "kernels/device/backend.h"

namespace sculpt {
namespace {

constexpr const char* kWhat = "the change of masks";

/// Describes an index into the prunable weights: "element 7 of 'fc.weight'".
std::string element_name(std::span<const PrunableLayer> layers, int64_t index) {
  for (const PrunableLayer& layer : layers) {
    if (index < layer.count) return fmt::format("element {} of '{}'", index, layer.name);
    index -= layer.count;
  }
  return fmt::format("element {}", index);
}

}  // namespace

MaskChange::MaskChange(ParameterArena& parameters, MaskMoment moment,
                       std::function<void()> reset_optimizer)
    : parameters_(parameters),
      moment_(std::move(moment)),
      reset_(std::move(reset_optimizer)),
      layers_(prunable_layers(parameters)) {
  parameters.store_dense();
  kept_.reserve(static_cast<size_t>(parameters.prunable_count()));
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    const auto mask = ParameterArena::slice(parameters.masks(), p);
    kept_.insert(kept_.end(), mask.begin(), mask.end());
  }
}

Scores MaskChange::scores_of(const void* arena) const {
  const size_t element_bytes = parameters_.element_bytes();
  Buffer scores(kept_.size() * element_bytes, kWhat, backend().memory);
  backend().pruning.magnitude(scores.data(), arena, parameters_.prunable_runs(), backend().stream);
  return {std::move(scores), element_bytes};
}

Scores MaskChange::magnitudes() const {
  return scores_of(std::as_const(parameters_).weight_array());
}

Scores MaskChange::gradient_magnitudes() const {
  return scores_of(parameters_.full_gradients().array());
}

Scores MaskChange::random() const {
  const RandomStream steps(moment_.seed, Purpose::mask_growth);
  const auto words = steps.words(static_cast<uint64_t>(moment_.step));
  const uint64_t key = (uint64_t{words[1]} << 32) | words[0];
  Buffer scores(kept_.size() * sizeof(double), kWhat, backend().memory);
  backend().pruning.uniform(scores.as<double>(), key, prunable(), backend().stream);
  return {std::move(scores), sizeof(double)};
}

int64_t MaskChange::kept() const {
  return std::ranges::count(kept_, uint8_t{1});
}

std::vector<int64_t> MaskChange::kept_of_layers() const {
  std::vector<int64_t> counts;
  auto first = kept_.begin();
  for (const PrunableLayer& layer : layers_) {
    counts.push_back(std::count(first, first + layer.count, uint8_t{1}));
    first += layer.count;
  }
  return counts;
}

std::vector<kernels::RankingSegment> MaskChange::segments(std::span<const int64_t> counts) const {
  SCULPT_CHECK(counts.size() == layers_.size(), "{} counts for {} layers", counts.size(),
               layers_.size());
  std::vector<kernels::RankingSegment> segments;
  int64_t first = 0;
  for (size_t l = 0; l < layers_.size(); ++l) {
    segments.push_back({first, layers_[l].count, counts[l]});
    first += layers_[l].count;
  }
  return segments;
}

std::vector<uint8_t> MaskChange::select(const Scores& scores, std::span<const uint8_t> candidates,
                                        std::span<const kernels::RankingSegment> segments) const {
  std::vector<uint8_t> selected(candidates.begin(), candidates.end());
  if (selected.empty()) return selected;
  const kernels::DeviceMemory* memory = backend().memory;
  Buffer on_device(memory != nullptr ? selected.size() : 0, kWhat, memory);
  if (memory != nullptr) memory->copy_in(on_device.data(), selected.data(), selected.size());
  uint8_t* bytes = memory != nullptr ? on_device.as<uint8_t>() : selected.data();
  Buffer workspace(backend().ranking.workspace_bytes(prunable(), std::ssize(segments)), kWhat,
                   memory);
  const kernels::RankingResult result =
      scores.element_bytes == sizeof(float)
          ? backend().ranking.select_f32(bytes, scores.values.as<float>(), bytes, segments,
                                         workspace.data(), backend().stream)
          : backend().ranking.select_f64(bytes, scores.values.as<double>(), bytes, segments,
                                         workspace.data(), backend().stream);
  if (result.first_nan >= 0)
    throw ScoreNotANumber(fmt::format("the score of {}, by which the masks change, is not a number",
                                      element_name(layers_, result.first_nan)));
  if (memory != nullptr) memory->copy_out(selected.data(), on_device.data(), selected.size());
  return selected;
}

void MaskChange::keep_highest(const Scores& scores, int64_t count) {
  const kernels::RankingSegment all{0, prunable(), count};
  kept_ = select(scores, kept_, std::span(&all, 1));
}

void MaskChange::drop_lowest(const Scores& scores, std::span<const int64_t> counts) {
  std::vector<int64_t> rest = kept_of_layers();
  for (size_t l = 0; l < rest.size(); ++l)
    rest[l] -= counts[l];
  kept_ = select(scores, kept_, segments(rest));
}

void MaskChange::grow_highest(const Scores& scores, std::span<const int64_t> counts) {
  std::vector<uint8_t> masked = kept_;
  for (uint8_t& byte : masked)
    byte ^= 1;
  const std::vector<uint8_t> grown = select(scores, masked, segments(counts));
  for (size_t i = 0; i < kept_.size(); ++i)
    kept_[i] |= grown[i];
}

void MaskChange::keep_all() {
  std::ranges::fill(kept_, uint8_t{1});
}

void MaskChange::apply() {
  parameters_.edit_masks([&](std::span<uint8_t> masks) {
    auto from = kept_.begin();
    for (const PrunableLayer& layer : layers_) {
      std::copy_n(from, layer.count, masks.begin() + layer.offset);
      from += layer.count;
    }
  });
  if (resets_optimizer_) reset_();
}

void exchange(MaskChange& change, double fraction, const Scores& growth) {
  std::vector<int64_t> counts = change.kept_of_layers();
  for (int64_t& count : counts)
    count = static_cast<int64_t>(std::floor(static_cast<double>(count) * fraction));
  change.drop_lowest(change.magnitudes(), counts);
  change.grow_highest(growth, counts);
}

void exchange_by_schedule(MaskChange& change, const RuleConstants& own, const Scores& growth) {
  const MaskMoment& moment = change.moment();
  exchange(change, exchanged_fraction(moment.position, in_effect(own, moment.options)), growth);
}

void prune_to(MaskChange& change, double density) {
  const int64_t count = kept_for_density(density, change.prunable());
  if (count < change.kept()) change.keep_highest(change.magnitudes(), count);
}

}  // namespace sculpt
