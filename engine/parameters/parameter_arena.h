#pragma once
// The leaves of the graph. Parameters lie in registration order in one flat arena per kind
// (weights, gradients, masks, each array that the optimizer keeps), so that the masked update and
// the global ranking are one pass each.
//
// The global index numbers all elements: parameters in registration order, elements in row-major
// order of their canonical shape (conv OIHW, linear OI). Every arena on every backend uses this
// index.
//
// Kernels get pointers into the backend's memory and host code gets spans. Where these are
// different memories, requesting one side copies the newest values over (MirroredBuffer).
//
// Between changes of masks, weights, gradients and the optimizer's arrays may be stored in a packed
// layout, which leaves out the masked elements of some parameters (store_kept). weight(),
// gradient() and sgd_arena() use the layout that is current. All other functions show whole arenas:
// they expand an array to the dense layout when it is requested, with +0 at masked elements. Arrays
// that are not requested keep their layout. Masks always have all elements.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/stored_array.h"
#include "kernels/device/backend.h"

namespace sculpt {

enum class ParameterKind { conv_weight, linear_weight, bias, norm_weight, norm_bias };

struct Parameter {
  std::string name;  ///< as in the usual PyTorch model, e.g. "layer1.0.conv1.weight"
  ParameterKind kind{};
  std::vector<int64_t> shape;  ///< conv [out, in/groups, kh, kw], linear [out, in], else [n]
  int64_t offset = 0;          ///< first element in the arenas
  int64_t count = 0;
  bool prunable = false;  ///< conv and linear weights, unless exempt
};

/// A persistent array that is not a parameter: the running statistics of batch norm.
struct StateArray {
  std::string name;  ///< e.g. "layer1.0.bn1.running_mean"
  int64_t offset = 0;
  int64_t count = 0;
  float initial = 0;
};

using ParameterId = int;
using StateId = int;
using OptimizerArrayId = int;

class ParameterArena {
 public:
  /// These functions register parameters and state arrays; call them before allocate(). Duplicate
  /// names are an error.
  ParameterId add(std::string name, ParameterKind kind, std::vector<int64_t> shape);
  StateId add_state(std::string name, int64_t count, float initial);
  /// Sets whether a parameter can be pruned; call before allocate().
  void set_prunable(ParameterId id, bool prunable);

  /// Allocates all arenas in the backend's memory. All elements are zero and all masks are 1.
  /// Elements have the backend's parameter type: float (4 bytes) or double (8).
  void allocate(const kernels::Backend& backend);

  /// Adds an array with a value per element, zero at first, that the optimizer keeps from step to
  /// step; call after allocate(). Returns the array of that name if it exists already. The array
  /// "momentum", which SGD keeps, always exists. Checkpoints call an array
  /// optimizer.<name>.<parameter>.
  OptimizerArrayId add_optimizer_array(const std::string& name);
  static constexpr OptimizerArrayId kMomentum = 0;
  /// The ids of the arrays are 0, 1, ... up to this number.
  OptimizerArrayId optimizer_array_count() const {
    return static_cast<OptimizerArrayId>(optimizer_arrays_.size());
  }
  const std::string& optimizer_array_name(OptimizerArrayId id) const {
    return optimizer_arrays_[static_cast<size_t>(id)].name;
  }

  std::span<const Parameter> parameters() const { return parameters_; }
  std::span<const StateArray> states() const { return states_; }
  const Parameter& operator[](ParameterId id) const { return parameters_[id]; }
  size_t element_bytes() const { return element_bytes_; }

  /// The number of elements of all parameters, of the prunable parameters (N in the papers), and of
  /// prunable elements that the masks keep.
  int64_t count() const { return count_; }
  int64_t prunable_count() const;
  int64_t kept_count() const;
  int64_t kept_count(ParameterId id) const;

  /// Stores these parameters on the host without their masked elements, for kernels that neither
  /// read nor write masked elements. The layout stays packed until masks may change (see
  /// mask_version).
  void store_kept(std::span<const ParameterId> ids);
  /// The layout in which parameters are stored now. A change of the layout yields another object.
  const StoredArray::SharedLayout& layout() const { return layout_; }
  /// Bytes of all arenas in their current layouts, counting one copy of each.
  size_t bytes() const;

  // The next functions return pointers for kernels, into the backend's memory and to elements of
  // the backend's type. The pointers are valid until a host view or another layout is requested.
  const void* weight(ParameterId id) const {
    return std::as_const(weights_.in(layout_)).device() + offset_bytes(id);
  }
  void* gradient(ParameterId id) { return gradients_.in(layout_).device() + offset_bytes(id); }
  void* state(StateId id) { return state_.device() + states_[id].offset * element_bytes_; }
  // The next functions return pointers for kernels that process a whole arena in global-index
  // order.
  const void* weight_array() const { return std::as_const(weights_.in(dense_)).device(); }
  const void* gradient_array() const { return std::as_const(gradients_.in(dense_)).device(); }
  const uint8_t* mask_array() const { return reinterpret_cast<const uint8_t*>(masks_.device()); }
  void* mutable_weight_array() {
    compute_copy_stale_ = true;
    return weights_.in(dense_).device();
  }
  void* mutable_optimizer_array(OptimizerArrayId id) {
    return optimizer_arrays_[static_cast<size_t>(id)].values.in(dense_).device();
  }
  uint8_t* mutable_mask_array() {
    masks_may_change();
    return reinterpret_cast<uint8_t*>(masks_.device());
  }
  /// Increases whenever masks may have changed.
  int64_t mask_version() const { return mask_version_; }
  /// The positions of the prunable parameters in the arenas.
  kernels::PrunableRuns prunable_runs() const;

  /// The weight of a convolution or linear layer as its kernels read it. This is the compute copy
  /// where the backend has one, and the weight itself otherwise.
  const void* compute_weight(ParameterId id);
  /// Copies everything into the backend's memory, and assumes that kernels write it there. Call it
  /// before a recorded step, whose kernels run without requesting pointers.
  void hand_to_device();
  /// Everything that the optimizer works on. `segments` lie in the backend's memory, and their
  /// offsets are those of the current layout.
  kernels::SgdArena sgd_arena(const kernels::SgdSegment* segments, int64_t segment_count);
  /// First element of a weight's compute copy, counted in elements of the compute copy; -1 if it
  /// has none.
  int64_t compute_copy_offset(ParameterId id) const { return compute_copy_offsets_[id]; }
  const kernels::Backend& backend() const { return *backend_; }

  /// Converts weights and gradients, which the forward and backward passes use, to the current
  /// layout. Several threads may then request pointers at the same time.
  void convert_to_current_layout() {
    weights_.in(layout_);
    gradients_.in(layout_);
  }

  /// The next functions show host code whole arenas in global-index order. T must be the element
  /// type (checked). The spans are valid until kernels run.
  template <class T = float>
  std::span<T> weights() {
    compute_copy_stale_ = true;
    return view<T>(weights_.in(dense_), count_);
  }
  template <class T = float>
  std::span<T> gradients() {
    return view<T>(gradients_.in(dense_), count_);
  }
  template <class T = float>
  std::span<T> optimizer_values(OptimizerArrayId id) {
    return view<T>(optimizer_arrays_[static_cast<size_t>(id)].values.in(dense_), count_);
  }
  /// The values of the array that SGD keeps.
  template <class T = float>
  std::span<T> momentum() {
    return optimizer_values<T>(kMomentum);
  }
  template <class T = float>
  std::span<T> state_values() {
    return view<T>(state_, state_count_);
  }
  std::span<uint8_t> masks() {
    masks_may_change();
    return {reinterpret_cast<uint8_t*>(masks_.host()), static_cast<size_t>(count_)};
  }
  std::span<const uint8_t> masks() const {
    return {reinterpret_cast<const uint8_t*>(masks_.host()), static_cast<size_t>(count_)};
  }

  /// The part of an arena that holds one parameter.
  template <class T>
  static std::span<T> slice(std::span<T> arena, const Parameter& p) {
    return arena.subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.count));
  }

  /// Sets weights and the optimizer's arrays to +0 wherever the mask is 0.
  void apply_masks();
  /// Sets the optimizer's arrays to zero: the optimizer forgets the steps that it has taken.
  void zero_optimizer_arrays();

  /// The number of training forward passes since initialisation (PyTorch's num_batches_tracked).
  int64_t batches_tracked = 0;

 private:
  size_t offset_bytes(ParameterId id) const {
    return static_cast<size_t>((*layout_)[static_cast<size_t>(id)].offset) * element_bytes_;
  }
  void masks_may_change() {
    ++mask_version_;
    layout_ = dense_;
  }
  void require_element(size_t bytes) const;
  template <class T>
  std::span<T> view(MirroredBuffer& buffer, int64_t count) {
    require_element(sizeof(T));
    return {reinterpret_cast<T*>(buffer.host()), static_cast<size_t>(count)};
  }
  void gather_packed_masks();
  void allocate_compute_copy();
  void update_compute_copy();
  void allocate_runs();

  std::vector<Parameter> parameters_;
  std::vector<StateArray> states_;
  int64_t count_ = 0;
  int64_t state_count_ = 0;
  size_t element_bytes_ = 0;
  const kernels::Backend* backend_ = nullptr;
  struct OptimizerArray {
    std::string name;
    StoredArray values;
  };
  std::vector<OptimizerArray> optimizer_arrays_;
  StoredArray weights_, gradients_;
  StoredArray::SharedLayout dense_, layout_;
  StoredArray::SharedLayout packed_layout_;  // the most recent packed layout
  std::vector<uint8_t> packed_masks_;        // masks of the packed values; empty: none is masked
  MirroredBuffer masks_, state_;
  int64_t mask_version_ = 0;

  MirroredBuffer runs_;  // array of PrunableRun
  int64_t run_count_ = 0;

  std::vector<int64_t> compute_copy_offsets_;  // per parameter
  MirroredBuffer compute_copy_segments_;       // SgdSegment of each weight with a compute copy
  int64_t compute_copy_segment_count_ = 0;
  Buffer compute_copy_;
  bool compute_copy_stale_ = true;
};

}  // namespace sculpt
