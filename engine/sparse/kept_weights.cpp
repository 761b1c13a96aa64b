#include "engine/sparse/kept_weights.h"

#include <algorithm>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

namespace {

/// Describes an index into the concatenated prunable weights: "element 7 of 'fc.weight'".
std::string element_name(std::span<const PrunableLayer> layers, int64_t index) {
  for (const auto& layer : layers) {
    if (index < layer.count) return fmt::format("element {} of '{}'", index, layer.name);
    index -= layer.count;
  }
  return fmt::format("element {}", index);
}

constexpr const char* kWhat = "the candidates of a prune";

}  // namespace

KeptWeights::KeptWeights(ParameterArena& parameters)
    : parameters_(parameters),
      layers_(prunable_layers(parameters)),
      total_(parameters.prunable_count()) {
  const kernels::Backend& backend = parameters.backend();
  const auto layer_count = std::ssize(layers_);
  bytes_ = Buffer(static_cast<size_t>(total_), kWhat, backend.memory);
  counts_ = MirroredBuffer(layers_.size() * sizeof(int64_t), kWhat, backend.memory);
  workspace_ = Buffer(backend.ranking.workspace_bytes(total_, layer_count), kWhat, backend.memory);
  backend.pruning.gather_mask(bytes_.as<uint8_t>(), parameters.mask_array(),
                              parameters.prunable_runs(), backend.stream);
}

int64_t KeptWeights::kept() const {
  int64_t sum = 0;
  for (const PrunableLayer& layer : layers_)
    sum += layer.present;
  return sum;
}

void KeptWeights::narrow(const Scores& scores, const Allocation& allocation, int64_t kept) {
  SCULPT_CHECK(scores.values.bytes() == static_cast<size_t>(total_) * scores.element_bytes,
               "{} bytes of scores for {} prunable weights", scores.values.bytes(), total_);
  if (kept > this->kept())
    fail("{} weights cannot be kept: only {} are left; choose a lower density", kept, this->kept());
  const kernels::Backend& backend = parameters_.backend();
  const auto ranked = segments(allocation, kept);
  uint8_t* bytes = bytes_.as<uint8_t>();
  const kernels::RankingResult result =
      scores.element_bytes == sizeof(float)
          ? backend.ranking.select_f32(bytes, scores.values.as<float>(), bytes, ranked,
                                       workspace_.data(), backend.stream)
          : backend.ranking.select_f64(bytes, scores.values.as<double>(), bytes, ranked,
                                       workspace_.data(), backend.stream);
  if (result.first_nan >= 0)
    fail("the score of {} is not a number; start from weights that are finite",
         element_name(layers_, result.first_nan));
  count_layers();
}

std::vector<kernels::RankingSegment> KeptWeights::segments(const Allocation& allocation,
                                                           int64_t kept) const {
  if (allocation.share == nullptr) return {{0, total_, kept}};
  std::vector<kernels::RankingSegment> segments;
  const std::vector<int64_t> counts = allocate(allocation, layers_, kept);
  int64_t first = 0;
  for (size_t l = 0; l < layers_.size(); ++l) {
    segments.push_back({first, layers_[l].count, counts[l]});
    first += layers_[l].count;
  }
  return segments;
}

void KeptWeights::count_layers() {
  const kernels::Backend& backend = parameters_.backend();
  backend.pruning.count(reinterpret_cast<int64_t*>(counts_.edit_device()), bytes_.as<uint8_t>(),
                        parameters_.prunable_runs(), backend.stream);
  const auto* counts = reinterpret_cast<const int64_t*>(counts_.host());
  for (size_t l = 0; l < layers_.size(); ++l)
    layers_[l].present = counts[l];
}

void KeptWeights::apply() {
  const kernels::Backend& backend = parameters_.backend();
  std::vector<uint8_t> on_host(backend.memory != nullptr ? static_cast<size_t>(total_) : 0);
  if (backend.memory != nullptr)
    backend.memory->copy_out(on_host.data(), bytes_.data(), on_host.size());
  const uint8_t* from = backend.memory != nullptr ? on_host.data() : bytes_.as<uint8_t>();
  parameters_.edit_masks([&](std::span<uint8_t> masks) {
    for (const PrunableLayer& layer : layers_) {
      std::copy_n(from, layer.count, masks.begin() + layer.offset);
      from += layer.count;
    }
  });
}

void KeptWeights::assign(KeptWeights&& other) {
  SCULPT_CHECK(other.total_ == total_, "{} weights for {}", other.total_, total_);
  bytes_ = moved(std::move(other.bytes_), other.parameters_.backend(), parameters_.backend());
  count_layers();
}

Buffer moved(Buffer buffer, const kernels::Backend& from, const kernels::Backend& to) {
  if (from.memory == to.memory) return buffer;
  SCULPT_CHECK(from.memory == nullptr, "buffers move from the host's memory only, not from {}",
               from.name);
  Buffer result(buffer.bytes(), kWhat, to.memory);
  to.memory->copy_in(result.data(), buffer.data(), buffer.bytes());
  return result;
}

}  // namespace sculpt
