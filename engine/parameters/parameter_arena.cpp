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

std::vector<int64_t> ParameterArena::counts() const {
  std::vector<int64_t> counts;
  for (const Parameter& p : parameters_)
    counts.push_back(p.count);
  return counts;
}

void ParameterArena::allocate(const kernels::Backend& backend) {
  SCULPT_CHECK(element_bytes_ == 0, "parameters are allocated already");
  backend_ = &backend;
  element_bytes_ = backend.parameter_bytes;
  layout_ = dense_layout_ = std::make_shared<const ArenaLayout>(counts());
  const auto* memory = backend.memory;
  weights_ = StoredArray("the weights", element_bytes_, memory, dense_layout_);
  weights_.values();  // allocates them now, because several threads may request them later
  gradients_ = StoredArray("the weight gradients", element_bytes_, memory, dense_layout_);
  add_optimizer_array("momentum");
  if (memory) device_masks_ = Buffer(static_cast<size_t>(count_), "the masks", memory);
  state_ = MirroredBuffer(static_cast<size_t>(state_count_) * element_bytes_,
                          "the running statistics", memory);
  compute_copy_.allocate(parameters_, backend);
  allocate_runs();
  pattern_ = std::make_shared<const KeptPattern>(counts());
  if (memory) memory->copy_in(device_masks_.data(), masks().data(), masks().size());
}

OptimizerArrayId ParameterArena::add_optimizer_array(const std::string& name) {
  SCULPT_CHECK(element_bytes_ != 0, "optimizer array '{}' added before allocate()", name);
  for (OptimizerArrayId id = 0; id < optimizer_array_count(); ++id)
    if (optimizer_array_name(id) == name) return id;
  optimizer_arrays_.push_back(
      {name, StoredArray("the optimizer's arrays", element_bytes_, backend_->memory, layout_)});
  return optimizer_array_count() - 1;
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

int64_t ParameterArena::kept_count() const {
  int64_t count = 0;
  for (size_t id = 0; id < parameters_.size(); ++id)
    if (parameters_[id].prunable) count += pattern_->kept(static_cast<ParameterId>(id));
  return count;
}

size_t ParameterArena::bytes() const {
  size_t bytes = masks().size() + state_.bytes() + compute_copy_.bytes();
  bytes += weights_.bytes() + gradients_.bytes();
  for (const OptimizerArray& array : optimizer_arrays_)
    bytes += array.values.bytes();
  return bytes + (packed_layout_ ? packed_layout_->bytes() : 0);
}

void ParameterArena::require_maskable(const KeptPattern& pattern) const {
  SCULPT_CHECK(std::ranges::equal(pattern.counts(), pattern_->counts()),
               "a pattern of other parameters");
  for (size_t id = 0; id < parameters_.size(); ++id)
    if (!parameters_[id].prunable && !pattern.all_kept(static_cast<ParameterId>(id)))
      fail("a mask has masked elements of '{}', which cannot be pruned", parameters_[id].name);
}

void ParameterArena::set_pattern(SharedPattern pattern) {
  if (pattern == pattern_ || *pattern == *pattern_) return;
  require_maskable(*pattern);
  store_dense();
  zero_masked();
  pattern_ = std::move(pattern);
  packed_layout_ = nullptr;
  if (backend_->memory != nullptr)
    backend_->memory->copy_in(device_masks_.data(), masks().data(), masks().size());
  zero_masked();
}

void ParameterArena::edit_masks(const std::function<void(std::span<uint8_t>)>& edit) {
  std::vector<uint8_t> bytes(masks().begin(), masks().end());
  edit(bytes);
  set_pattern(std::make_shared<const KeptPattern>(counts(), std::move(bytes)));
}

void ParameterArena::zero_masked() {
  require_dense();
  if (kept_count() == prunable_count()) return;
  backend_->memory != nullptr ? zero_masked_on_device() : zero_masked_on_host();
}

namespace {

template <class T>
void zero_where_masked(std::span<T> values, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!mask[i]) values[i] = T{0};
}

}  // namespace

void ParameterArena::zero_masked_on_host() {
  const auto apply = [&]<class T>(T) {
    zero_where_masked(edit_weights<T>(), masks());
    for (OptimizerArrayId id = 0; id < optimizer_array_count(); ++id)
      if (optimizer_array(id).bytes() > 0)  // or it is not allocated, and zero
        zero_where_masked(edit_optimizer_values<T>(id), masks());
  };
  element_bytes_ == sizeof(double) ? apply(double{}) : apply(float{});
}

void ParameterArena::zero_masked_on_device() {
  const kernels::PrunableRuns runs = prunable_runs();
  auto* masks = device_masks_.as<uint8_t>();
  Buffer bytes(static_cast<size_t>(runs.count), "the masks", backend_->memory);
  backend_->pruning.gather_mask(bytes.as<uint8_t>(), masks, runs, backend_->stream);
  // Each call writes masks and weights, with the same values, and one array of the optimizer.
  void* weights = edit_weight_array();
  for (OptimizerArray& array : optimizer_arrays_)
    backend_->pruning.apply_mask(masks, weights, array.values.edit_values().edit_device(),
                                 bytes.as<uint8_t>(), runs, backend_->stream);
}

void ParameterArena::use_layout(const SharedLayout& layout) {
  weights_.convert(layout);
  gradients_.convert(layout);
  for (OptimizerArray& array : optimizer_arrays_)
    array.values.convert(layout);
  layout_ = layout;
}

void ParameterArena::store_dense() {
  if (layout_ != dense_layout_) use_layout(dense_layout_);
}

void ParameterArena::store_packed(std::span<const ParameterId> ids) {
  if (ids.empty()) return store_dense();
  SCULPT_CHECK(backend_->memory == nullptr,
               "parameters in a packed layout lie in the memory of the host");
  if (packed_layout_ == nullptr || !packed_layout_->is(pattern_, ids))
    packed_layout_ = std::make_shared<const ArenaLayout>(pattern_, ids);
  if (layout_ != packed_layout_) use_layout(packed_layout_);
}

void ParameterArena::require_dense() const {
  SCULPT_CHECK(layout_ == dense_layout_,
               "whole arrays are requested while parameters are stored without masked elements; "
               "call store_dense() first");
}

void ParameterArena::zero_optimizer_arrays() {
  for (OptimizerArray& array : optimizer_arrays_)
    array.values.zero();
}

void ParameterArena::swap_weights(OptimizerArrayId id) {
  std::swap(weights_, optimizer_array(id));
  weights_.values();  // allocates them now, because several threads may request them later
  compute_copy_.mark_stale();
}

const uint8_t* ParameterArena::mask_array() const {
  return backend_->memory != nullptr ? device_masks_.as<uint8_t>() : masks().data();
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
  if (bytes > 0) std::memcpy(runs_.edit_host(), runs.data(), bytes);
}

kernels::PrunableRuns ParameterArena::prunable_runs() const {
  return {reinterpret_cast<const kernels::PrunableRun*>(runs_.device()), run_count_,
          prunable_count()};
}

kernels::UpdateArena ParameterArena::update_arena(const kernels::UpdateSegment* segments,
                                                  int64_t segment_count) {
  kernels::UpdateArena arena;
  arena.weight = weights_.edit_values().edit_device();
  arena.momentum = optimizer_array(kMomentum).edit_values().edit_device();
  arena.grad = gradients_.values().device();
  if (layout_->dense())
    arena.mask = mask_array();
  else if (!layout_->masks().empty())
    arena.mask = layout_->masks().data();
  arena.compute_copy = compute_copy_.data();
  arena.segments = segments;
  arena.segment_count = segment_count;
  arena.count = layout_->count();
  return arena;
}

void ParameterArena::zero_gradient(ParameterId id) {
  const size_t bytes =
      static_cast<size_t>((*layout_)[static_cast<size_t>(id)].count) * element_bytes_;
  if (backend_->memory != nullptr)
    backend_->memory->zero(edit_gradient(id), bytes);
  else
    std::memset(edit_gradient(id), 0, bytes);
}

void ParameterArena::update_compute_copy() {
  if (compute_copy_.stale()) compute_copy_.update(update_arena(nullptr, 0));
}

void ParameterArena::hand_to_device() {
  if (backend_->memory == nullptr) return;
  weights_.edit_values().edit_device();
  gradients_.edit_values().edit_device();
  for (OptimizerArray& array : optimizer_arrays_)
    array.values.edit_values().edit_device();
  state_.edit_device();
  update_compute_copy();
}

}  // namespace sculpt
