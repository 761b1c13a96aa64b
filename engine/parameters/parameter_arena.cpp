#include "engine/parameters/parameter_arena.h"

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
  ArenaLayout dense;
  for (const Parameter& p : parameters_)
    dense.add(p.count);
  layout_ = dense_ = std::make_shared<const ArenaLayout>(std::move(dense));
  const auto* memory = backend.memory;
  weights_ = StoredArray("the weights", element_bytes_, memory, dense_);
  gradients_ = StoredArray("the weight gradients", element_bytes_, memory, dense_);
  add_optimizer_array("momentum");
  masks_ = MirroredBuffer(static_cast<size_t>(count_), "the masks", memory);
  state_ = MirroredBuffer(static_cast<size_t>(state_count_) * element_bytes_,
                          "the running statistics", memory);
  std::ranges::fill(masks(), uint8_t{1});
  allocate_compute_copy();
  allocate_runs();
}

void ParameterArena::store_kept(std::span<const ParameterId> ids) {
  if (ids.empty()) {
    packed_layout_ = nullptr;
    packed_masks_ = {};
    return;
  }
  SCULPT_CHECK(backend_->memory == nullptr,
               "parameters in a packed layout lie in the memory of the host");
  ArenaLayout layout;
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const Parameter& p = parameters_[id];
    if (std::ranges::find(ids, static_cast<ParameterId>(id)) != ids.end())
      layout.add_kept(slice(std::as_const(*this).masks(), p));
    else
      layout.add(p.count);
  }
  // An array that is still in the last packed layout then needs no conversion.
  if (packed_layout_ == nullptr || *packed_layout_ != layout)
    packed_layout_ = std::make_shared<const ArenaLayout>(std::move(layout));
  layout_ = packed_layout_;
  gather_packed_masks();
}

void ParameterArena::gather_packed_masks() {
  packed_masks_.assign(static_cast<size_t>(packed_layout_->count()), 1);
  bool masked = false;
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const ParameterLayout& stored = (*packed_layout_)[id];
    if (!stored.kept.empty()) continue;
    const auto mask = slice(std::as_const(*this).masks(), parameters_[id]);
    std::ranges::copy(mask, packed_masks_.begin() + stored.offset);
    masked = masked || std::ranges::find(mask, uint8_t{0}) != mask.end();
  }
  if (!masked) packed_masks_ = {};
}

size_t ParameterArena::bytes() const {
  size_t bytes = masks_.bytes() + state_.bytes() + compute_copy_.bytes() + packed_masks_.capacity();
  bytes += weights_.bytes() + gradients_.bytes();
  for (const OptimizerArray& array : optimizer_arrays_)
    bytes += array.values.bytes();
  return bytes + (packed_layout_ ? packed_layout_->bytes() : 0);
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

void ParameterArena::allocate_compute_copy() {
  compute_copy_offsets_.assign(parameters_.size(), -1);
  if (backend_->compute_weight_bytes == 0) return;
  std::vector<kernels::SgdSegment> segments;
  int64_t end = 0;
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const Parameter& p = parameters_[id];
    const bool conv = p.kind == ParameterKind::conv_weight;
    if (!conv && p.kind != ParameterKind::linear_weight) continue;
    kernels::SgdSegment segment{p.offset, p.count};
    segment.compute_copy_offset = compute_copy_offsets_[id] = end;
    segment.in = static_cast<int32_t>(p.shape[1]);
    segment.taps = conv ? static_cast<int32_t>(p.shape[2] * p.shape[3]) : 1;
    segments.push_back(segment);
    constexpr int64_t kAlignment = 64;  // elements; kernels load vectors from a weight's start
    end += (p.count + kAlignment - 1) / kAlignment * kAlignment;
  }
  compute_copy_segment_count_ = static_cast<int64_t>(segments.size());
  const size_t bytes = segments.size() * sizeof(kernels::SgdSegment);
  compute_copy_segments_ = MirroredBuffer(bytes, "the table of compute copies", backend_->memory);
  if (bytes > 0) std::memcpy(compute_copy_segments_.host(), segments.data(), bytes);
  compute_copy_ = Buffer(static_cast<size_t>(end) * backend_->compute_weight_bytes,
                         "the weights' compute copy", backend_->memory);
}

const void* ParameterArena::compute_weight(ParameterId id) {
  if (compute_copy_offsets_[id] < 0) return weight(id);
  if (compute_copy_stale_) update_compute_copy();
  return compute_copy_.data() +
         static_cast<size_t>(compute_copy_offsets_[id]) * backend_->compute_weight_bytes;
}

void ParameterArena::update_compute_copy() {
  const auto* segments =
      reinterpret_cast<const kernels::SgdSegment*>(std::as_const(compute_copy_segments_).device());
  backend_->masked_sgd.pack(sgd_arena(segments, compute_copy_segment_count_), backend_->stream);
  compute_copy_stale_ = false;
}

void ParameterArena::hand_to_device() {
  if (backend_->memory == nullptr) return;
  weights_.in(layout_).device();
  gradients_.in(layout_).device();
  for (const OptimizerArray& array : optimizer_arrays_)
    array.values.in(layout_).device();
  state_.device();
  std::as_const(masks_).device();
  if (compute_copy_stale_ && backend_->compute_weight_bytes > 0) update_compute_copy();
}

kernels::SgdArena ParameterArena::sgd_arena(const kernels::SgdSegment* segments,
                                            int64_t segment_count) {
  kernels::SgdArena arena;
  arena.weight = weights_.in(layout_).device();
  arena.momentum = optimizer_arrays_[kMomentum].values.in(layout_).device();
  arena.grad = std::as_const(gradients_.in(layout_)).device();
  if (layout_ == dense_)
    arena.mask = reinterpret_cast<const uint8_t*>(std::as_const(masks_).device());
  else if (!packed_masks_.empty())
    arena.mask = packed_masks_.data();
  arena.compute_copy = compute_copy_.data();
  arena.segments = segments;
  arena.segment_count = segment_count;
  arena.count = layout_->count();
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
  const auto apply = [&]<class T>(T) {
    const std::span<const uint8_t> mask = std::as_const(*this).masks();
    zero_where_masked(weights<T>(), mask);
    for (OptimizerArrayId id = 0; id < optimizer_array_count(); ++id)
      zero_where_masked(optimizer_values<T>(id), mask);
  };
  element_bytes_ == sizeof(double) ? apply(double{}) : apply(float{});
}

OptimizerArrayId ParameterArena::add_optimizer_array(const std::string& name) {
  SCULPT_CHECK(element_bytes_ != 0, "optimizer array '{}' added before allocate()", name);
  for (OptimizerArrayId id = 0; id < optimizer_array_count(); ++id)
    if (optimizer_array_name(id) == name) return id;
  optimizer_arrays_.push_back(
      {name, StoredArray("the optimizer's arrays", element_bytes_, backend_->memory, dense_)});
  return optimizer_array_count() - 1;
}

void ParameterArena::zero_optimizer_arrays() {
  for (OptimizerArray& array : optimizer_arrays_)
    array.values.zero();
}

}  // namespace sculpt
