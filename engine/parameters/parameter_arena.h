#pragma once
// A ParameterArena holds the leaves of the graph: weights, gradients and the optimizer's arrays of
// all parameters, and the mask. Parameters lie in registration order in one flat array per kind, so
// that the masked update and the global ranking are one pass each.
//
// Index. The global index numbers all elements: parameters in registration order, elements in
// row-major order of their canonical shape (conv OIHW, linear OI). Every backend uses this index.
//
// Memory. Kernels get pointers into the backend's memory and host code gets spans. If these are
// different memories, requesting one side copies the newest values over (MirroredBuffer). Functions
// whose names begin with edit_ are for callers that write; the others are for callers that read,
// and change nothing that can be seen through this interface.
//
// Mask. pattern() is the only description of it. It changes only through set_pattern() and
// edit_masks(). Masked elements of weights and of the optimizer's arrays are +0.
//
// Layout. Arrays are stored dense, or in a packed layout, which leaves out the masked elements of
// some parameters (arena_layout.h). The layout is the same for all arrays. It changes only through
// store_packed(), which the graph calls before each pass, store_dense(), and a change of the mask,
// which makes it dense. Functions that show whole arrays need the dense layout: host code that may
// run after a pass calls store_dense() first.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/compute_copy.h"
#include "engine/parameters/full_gradients.h"
#include "engine/parameters/parameter.h"
#include "engine/parameters/stored_array.h"
#include "kernels/device/backend.h"

namespace sculpt {

class ParameterArena {
 public:
  ParameterArena() : full_gradients_(*this) {}
  ParameterArena(const ParameterArena&) = delete;
  ParameterArena& operator=(const ParameterArena&) = delete;

  // These functions register parameters and allocate arrays.

  /// Register parameters and state arrays before allocate(). Duplicate names are an error.
  ParameterId add(std::string name, ParameterKind kind, std::vector<int64_t> shape);
  StateId add_state(std::string name, int64_t count, float initial);
  /// Sets whether a parameter can be pruned; call before allocate().
  void set_prunable(ParameterId id, bool prunable);
  /// Allocates all arrays in the backend's memory. All elements are zero and all masks are 1.
  /// Elements have the backend's parameter type: float (4 bytes) or double (8).
  void allocate(const kernels::Backend& backend);
  /// Adds an array with a value per element, zero at first, that the optimizer keeps from step to
  /// step; call after allocate(). Returns the array of that name if it exists already. The array
  /// "momentum", which SGD keeps, always exists. Checkpoints call an array
  /// optimizer.<name>.<parameter>.
  OptimizerArrayId add_optimizer_array(const std::string& name);
  static constexpr OptimizerArrayId kMomentum = 0;

  // These functions describe the parameters and arrays.

  std::span<const Parameter> parameters() const { return parameters_; }
  const Parameter& operator[](ParameterId id) const { return parameters_[id]; }
  std::span<const StateArray> states() const { return states_; }
  /// The ids of the optimizer's arrays are 0, 1, ... up to this number.
  OptimizerArrayId optimizer_array_count() const {
    return static_cast<OptimizerArrayId>(optimizer_arrays_.size());
  }
  const std::string& optimizer_array_name(OptimizerArrayId id) const {
    return optimizer_arrays_[static_cast<size_t>(id)].name;
  }
  const kernels::Backend& backend() const { return *backend_; }
  size_t element_bytes() const { return element_bytes_; }
  /// Throws Error if elements do not have so many bytes.
  void require_element(size_t bytes) const;
  /// These three functions return the number of elements of all parameters, of the prunable
  /// parameters (N in the papers), and of prunable elements that the mask keeps.
  int64_t count() const { return count_; }
  int64_t prunable_count() const;
  int64_t kept_count() const;
  /// Returns the bytes of all arrays and of the mask as they are stored now, counting one copy of
  /// each.
  size_t bytes() const;

  // These functions show and change the mask.

  const SharedPattern& pattern() const { return pattern_; }
  /// Returns the bytes of the pattern: 1 for each kept and 0 for each masked element, by global
  /// index.
  std::span<const uint8_t> masks() const { return pattern_->bytes(); }
  /// Makes `pattern` the mask. Elements that were masked or are masked now become +0 in the weights
  /// and in the optimizer's arrays, so that elements which are kept again start at zero. If the
  /// pattern keeps the same elements as the present one, nothing is done, and pattern() remains the
  /// same object. Throws Error if elements are masked that cannot be pruned; nothing is changed in
  /// that case.
  void set_pattern(SharedPattern pattern);
  /// Calls edit(bytes) with a copy of masks(), and makes the result the mask, once.
  void edit_masks(const std::function<void(std::span<uint8_t>)>& edit);
  /// Sets weights and the optimizer's arrays to +0 wherever they are masked. Host code that wrote
  /// whole arrays calls it. Needs the dense layout.
  void zero_masked();

  // These functions show and change the layout.

  /// Returns the layout, which is another object after each change.
  const SharedLayout& layout() const { return layout_; }
  void store_dense();
  /// Stores these parameters, in ascending order of id, without their masked elements, for kernels
  /// that neither read nor write masked elements; with no parameters, the layout is dense. Does
  /// nothing if the layout is that one already.
  void store_packed(std::span<const ParameterId> ids);

  // These functions give whole arrays to host code, in global-index order. They need the dense
  // layout. T must be the element type (checked). The spans are valid until kernels run or the
  // layout changes.

  template <class T = float>
  std::span<const T> weights() const {
    return view<T>(dense(weights_).values(), count_);
  }
  template <class T = float>
  std::span<T> edit_weights() {
    compute_copy_.mark_stale();
    return edit_view<T>(dense(weights_).edit_values(), count_);
  }
  template <class T = float>
  std::span<const T> gradients() const {
    return view<T>(dense(gradients_).values(), count_);
  }
  template <class T = float>
  std::span<T> edit_gradients() {
    return edit_view<T>(dense(gradients_).edit_values(), count_);
  }
  template <class T = float>
  std::span<const T> optimizer_values(OptimizerArrayId id) const {
    return view<T>(dense(optimizer_array(id)).values(), count_);
  }
  template <class T = float>
  std::span<T> edit_optimizer_values(OptimizerArrayId id) {
    return edit_view<T>(dense(optimizer_array(id)).edit_values(), count_);
  }
  /// Both functions return the array that SGD keeps.
  template <class T = float>
  std::span<const T> momentum() const {
    return optimizer_values<T>(kMomentum);
  }
  template <class T = float>
  std::span<T> edit_momentum() {
    return edit_optimizer_values<T>(kMomentum);
  }
  /// Both functions return the state arrays one after another, as StateArray::offset says. State
  /// arrays do not depend on the layout.
  template <class T = float>
  std::span<const T> state_values() const {
    return view<T>(state_, state_count_);
  }
  template <class T = float>
  std::span<T> edit_state_values() {
    return edit_view<T>(state_, state_count_);
  }
  /// Returns the part of a whole array that holds one parameter.
  template <class T>
  static std::span<T> slice(std::span<T> arena, const Parameter& p) {
    return arena.subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.count));
  }
  /// Sets the optimizer's arrays to zero: the optimizer forgets the steps that it has taken.
  void zero_optimizer_arrays();
  void zero_optimizer_array(OptimizerArrayId id) { optimizer_array(id).zero(); }
  /// Exchanges the weights and one array of the optimizer, without copying values. Pointers into
  /// them are invalid until the same call has exchanged them back.
  void swap_weights(OptimizerArrayId id);
  /// Returns the gradients that include those of masked weights, on request.
  FullGradients& full_gradients() { return full_gradients_; }

  // These functions give kernels pointers into the backend's memory, to elements of the backend's
  // type. The pointers are valid until host code requests the array or the layout changes.

  /// These four functions return one parameter in the current layout, or one state array.
  const void* weight(ParameterId id) const { return weights_.values().device() + offset_bytes(id); }
  void* edit_gradient(ParameterId id) {
    return gradients_.edit_values().edit_device() + offset_bytes(id);
  }
  /// Zeroes the gradient of one parameter, or all gradients.
  void zero_gradient(ParameterId id);
  void zero_gradients() { gradients_.edit_values().zero(); }
  /// All gradients in the current layout: stored_count() values.
  void* edit_stored_gradients() { return gradients_.edit_values().edit_device(); }
  int64_t stored_count() const { return layout_->count(); }
  const void* state(StateId id) const { return state_.device() + state_offset_bytes(id); }
  void* edit_state(StateId id) { return state_.edit_device() + state_offset_bytes(id); }
  /// Returns the weight of a convolution or linear layer as dense kernels read it: the compute copy
  /// if the backend has one, and the weight itself otherwise.
  const void* compute_weight(ParameterId id) const {
    return compute_copy_.offset(id) < 0 ? weight(id) : compute_copy_.weight(id);
  }
  /// Returns the first element of a weight's compute copy; see ComputeCopy.
  int64_t compute_copy_offset(ParameterId id) const { return compute_copy_.offset(id); }
  /// These functions return whole arrays in global-index order. All but mask_array() need the dense
  /// layout.
  const void* weight_array() const { return dense(weights_).values().device(); }
  void* edit_weight_array() {
    compute_copy_.mark_stale();
    return dense(weights_).edit_values().edit_device();
  }
  const void* gradient_array() const { return dense(gradients_).values().device(); }
  const uint8_t* mask_array() const;
  /// Returns the positions of the prunable parameters in the arrays.
  kernels::PrunableRuns prunable_runs() const;
  /// Returns an array of the optimizer in the current layout: stored_count() values.
  void* edit_stored_optimizer_array(OptimizerArrayId id) {
    return optimizer_array(id).edit_values().edit_device();
  }
  /// Returns what all optimizers work on, in the current layout: weights, gradients, masks and the
  /// array "momentum". `segments` lie in the backend's memory.
  kernels::UpdateArena update_arena(const kernels::UpdateSegment* segments, int64_t segment_count);

  // Call these functions before kernels run.

  /// Brings the compute copy up to date after host code has written weights.
  void update_compute_copy();
  /// Allocates the gradients, which are not allocated before they are needed. Several threads may
  /// then request pointers at the same time.
  void allocate_gradients() { gradients_.edit_values(); }
  /// Copies everything into the backend's memory, and assumes that kernels write it there. Call it
  /// before a recorded step, whose kernels run without requesting pointers.
  void hand_to_device();

  /// The number of training forward passes since initialisation (PyTorch's num_batches_tracked).
  int64_t batches_tracked = 0;

 private:
  struct OptimizerArray {
    std::string name;
    StoredArray values;
  };

  size_t offset_bytes(ParameterId id) const {
    return static_cast<size_t>((*layout_)[static_cast<size_t>(id)].offset) * element_bytes_;
  }
  size_t state_offset_bytes(StateId id) const {
    return static_cast<size_t>(states_[static_cast<size_t>(id)].offset) * element_bytes_;
  }
  const StoredArray& optimizer_array(OptimizerArrayId id) const {
    return optimizer_arrays_[static_cast<size_t>(id)].values;
  }
  StoredArray& optimizer_array(OptimizerArrayId id) {
    return optimizer_arrays_[static_cast<size_t>(id)].values;
  }
  void require_dense() const;
  /// Returns the array, which host code or a kernel wants to see as a whole.
  template <class Array>
  Array& dense(Array& array) const {
    require_dense();
    return array;
  }
  template <class T>
  std::span<const T> view(const MirroredBuffer& buffer, int64_t count) const {
    require_element(sizeof(T));
    return {reinterpret_cast<const T*>(buffer.host()), static_cast<size_t>(count)};
  }
  template <class T>
  std::span<T> edit_view(MirroredBuffer& buffer, int64_t count) const {
    require_element(sizeof(T));
    return {reinterpret_cast<T*>(buffer.edit_host()), static_cast<size_t>(count)};
  }
  std::vector<int64_t> counts() const;
  void require_maskable(const KeptPattern& pattern) const;
  void use_layout(const SharedLayout& layout);
  void zero_masked_on_host();
  void zero_masked_on_device();
  void allocate_runs();

  std::vector<Parameter> parameters_;
  std::vector<StateArray> states_;
  int64_t count_ = 0;
  int64_t state_count_ = 0;
  size_t element_bytes_ = 0;  // 0 before allocate()
  const kernels::Backend* backend_ = nullptr;

  SharedPattern pattern_;
  Buffer device_masks_;  // the pattern's bytes in a device's memory; empty on the host
  SharedLayout dense_layout_, layout_;
  SharedLayout packed_layout_;  // the most recent one

  StoredArray weights_, gradients_;
  std::vector<OptimizerArray> optimizer_arrays_;
  MirroredBuffer state_;
  ComputeCopy compute_copy_;
  FullGradients full_gradients_;
  MirroredBuffer runs_;  // array of PrunableRun
  int64_t run_count_ = 0;
};

}  // namespace sculpt
