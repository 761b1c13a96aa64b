#include "engine/autograd/parameters.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

ParameterId ParameterArena::add(std::string name, ParameterKind kind, std::vector<int64_t> shape) {
  SCULPT_CHECK(element_bytes_ == 0, "parameter '{}' registered after allocate()", name);
  for (const auto& p : parameters_)
    if (p.name == name) fail("two parameters are called '{}'", name);
  Parameter p;
  p.name = std::move(name);
  p.kind = kind;
  p.count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  SCULPT_CHECK(p.count > 0, "parameter '{}' is empty", p.name);
  p.shape = std::move(shape);
  p.offset = count_;
  p.prunable = kind == ParameterKind::conv_weight || kind == ParameterKind::linear_weight;
  count_ += p.count;
  parameters_.push_back(std::move(p));
  return static_cast<ParameterId>(parameters_.size()) - 1;
}

void ParameterArena::set_prunable(ParameterId id, bool prunable) {
  SCULPT_CHECK(element_bytes_ == 0, "parameter '{}' exempted after allocate()",
               parameters_[id].name);
  parameters_[id].prunable = prunable;
}

StateId ParameterArena::add_state(std::string name, int64_t count, float initial) {
  SCULPT_CHECK(element_bytes_ == 0, "state '{}' registered after allocate()", name);
  states_.push_back({std::move(name), state_count_, count, initial});
  state_count_ += count;
  return static_cast<StateId>(states_.size()) - 1;
}

void ParameterArena::allocate(const kernels::Backend& backend) {
  SCULPT_CHECK(element_bytes_ == 0, "parameters are allocated already");
  backend_ = &backend;
  element_bytes_ = backend.parameter_bytes;
  const size_t bytes = static_cast<size_t>(count_) * element_bytes_;
  const auto* memory = backend.memory;
  weights_ = MirroredBuffer(bytes, "the weights", memory);
  gradients_ = MirroredBuffer(bytes, "the weight gradients", memory);
  momentum_ = MirroredBuffer(bytes, "the momentum", memory);
  masks_ = MirroredBuffer(static_cast<size_t>(count_), "the masks", memory);
  state_ = MirroredBuffer(static_cast<size_t>(state_count_) * element_bytes_,
                          "the running statistics", memory);
  std::ranges::fill(masks(), uint8_t{1});
  allocate_packed();
  allocate_runs();
}

void ParameterArena::allocate_runs() {
  std::vector<kernels::PrunableRun> runs;
  int64_t first = 0;
  for (const Parameter& p : parameters_) {
    if (!p.prunable) continue;
    runs.push_back({p.offset, first, p.count});
    first += p.count;
  }
  run_count_ = static_cast<int64_t>(runs.size());
  const size_t bytes = runs.size() * sizeof(kernels::PrunableRun);
  runs_ = MirroredBuffer(bytes, "the table of prunable weights", backend_->memory);
  if (bytes > 0) std::memcpy(runs_.host(), runs.data(), bytes);
}

kernels::PrunableRuns ParameterArena::prunable_runs() const {
  return {reinterpret_cast<const kernels::PrunableRun*>(runs_.device()), run_count_,
          prunable_count()};
}

void ParameterArena::allocate_packed() {
  packed_offsets_.assign(parameters_.size(), -1);
  if (backend_->packed_weight_bytes == 0) return;
  std::vector<kernels::SgdSegment> segments;
  int64_t end = 0;
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const Parameter& p = parameters_[id];
    const bool conv = p.kind == ParameterKind::conv_weight;
    if (!conv && p.kind != ParameterKind::linear_weight) continue;
    kernels::SgdSegment segment{p.offset, p.count};
    segment.packed_offset = packed_offsets_[id] = end;
    segment.in = static_cast<int32_t>(p.shape[1]);
    segment.taps = conv ? static_cast<int32_t>(p.shape[2] * p.shape[3]) : 1;
    segments.push_back(segment);
    constexpr int64_t kAlignment = 64;  // elements; kernels load vectors from a weight's start
    end += (p.count + kAlignment - 1) / kAlignment * kAlignment;
  }
  packed_segment_count_ = static_cast<int64_t>(segments.size());
  const size_t bytes = segments.size() * sizeof(kernels::SgdSegment);
  packed_segments_ = MirroredBuffer(bytes, "the table of compute copies", backend_->memory);
  if (bytes > 0) std::memcpy(packed_segments_.host(), segments.data(), bytes);
  packed_ = Buffer(static_cast<size_t>(end) * backend_->packed_weight_bytes,
                   "the weights' compute copy", backend_->memory);
}

const void* ParameterArena::compute_weight(ParameterId id) {
  if (packed_offsets_[id] < 0) return weight(id);
  if (packed_stale_) pack();
  return packed_.data() + static_cast<size_t>(packed_offsets_[id]) * backend_->packed_weight_bytes;
}

void ParameterArena::pack() {
  const auto* segments =
      reinterpret_cast<const kernels::SgdSegment*>(std::as_const(packed_segments_).device());
  backend_->masked_sgd.pack(sgd_arena(segments, packed_segment_count_), backend_->stream);
  packed_stale_ = false;
}

void ParameterArena::hand_to_device() {
  for (MirroredBuffer* buffer : {&weights_, &gradients_, &momentum_, &state_})
    buffer->device();
  std::as_const(masks_).device();
  if (packed_stale_ && backend_->packed_weight_bytes > 0) pack();
}

kernels::SgdArena ParameterArena::sgd_arena(const kernels::SgdSegment* segments,
                                            int64_t segment_count) {
  kernels::SgdArena arena;
  arena.weight = weights_.device();
  arena.momentum = momentum_.device();
  arena.grad = std::as_const(gradients_).device();
  arena.mask = reinterpret_cast<const uint8_t*>(std::as_const(masks_).device());
  arena.packed = packed_.data();
  arena.segments = segments;
  arena.segment_count = segment_count;
  arena.count = count_;
  return arena;
}

void ParameterArena::require_element(size_t bytes) const {
  SCULPT_CHECK(bytes == element_bytes_, "arena elements have {} bytes, not {}", element_bytes_,
               bytes);
}

int64_t ParameterArena::prunable_count() const {
  int64_t count = 0;
  for (const auto& p : parameters_)
    if (p.prunable) count += p.count;
  return count;
}

int64_t ParameterArena::kept_count(ParameterId id) const {
  const auto mask = slice(masks(), parameters_[id]);
  return std::accumulate(mask.begin(), mask.end(), int64_t{0});
}

int64_t ParameterArena::kept_count() const {
  int64_t count = 0;
  for (size_t id = 0; id < parameters_.size(); ++id)
    if (parameters_[id].prunable) count += kept_count(static_cast<ParameterId>(id));
  return count;
}

namespace {

template <class T>
void zero_where_masked(std::span<T> values, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!mask[i]) values[i] = T{0};
}

}  // namespace

void ParameterArena::apply_masks() {
  const std::span<const uint8_t> mask = std::as_const(*this).masks();
  if (element_bytes_ == sizeof(double)) {
    zero_where_masked(weights<double>(), mask);
    zero_where_masked(momentum<double>(), mask);
  } else {
    zero_where_masked(weights(), mask);
    zero_where_masked(momentum(), mask);
  }
}

}  // namespace sculpt
