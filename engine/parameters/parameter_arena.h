#pragma once
// The leaves of the graph: parameters in registration order, in one flat arena per kind (weights,
// gradients, momentum, masks), so that the masked update and the global ranking are one pass each.
//
// Global index: parameters in registration order, elements in row-major order of their canonical
// shape (conv OIHW, linear OI). Every arena uses it, on every backend.
//
// Kernels get pointers into the backend's memory, host code gets spans; where these are different
// memories the newest values are copied over when the other side asks (MirroredBuffer).
//
// Between changes of masks, weights, gradients and momentum may be stored in a packed layout
// without the masked elements of some parameters (store_kept). weight(), gradient() and sgd_arena()
// are in the stored layout; everything else shows whole arenas, expanded when it is asked for:
// masked elements are then +0. What is not asked for stays as it is. Masks always have all
// elements.

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

/// A persistent array that is no parameter: batch-norm running statistics.
struct StateArray {
  std::string name;  ///< e.g. "layer1.0.bn1.running_mean"
  int64_t offset = 0;
  int64_t count = 0;
  float initial = 0;
};

using ParameterId = int;
using StateId = int;

class ParameterArena {
 public:
  /// Registration; before allocate(). Duplicate names are refused.
  ParameterId add(std::string name, ParameterKind kind, std::vector<int64_t> shape);
  StateId add_state(std::string name, int64_t count, float initial);
  /// Exempts a parameter from pruning; before allocate().
  void set_prunable(ParameterId id, bool prunable);

  /// Allocates all arenas in the backend's memory, zeroed; masks all 1. Elements are float (4
  /// bytes) or double (8): the backend's.
  void allocate(const kernels::Backend& backend);

  std::span<const Parameter> parameters() const { return parameters_; }
  std::span<const StateArray> states() const { return states_; }
  const Parameter& operator[](ParameterId id) const { return parameters_[id]; }
  size_t element_bytes() const { return element_bytes_; }

  /// Elements of all parameters; of the prunable ones (N of the papers); of the latter's masks set.
  int64_t count() const { return count_; }
  int64_t prunable_count() const;
  int64_t kept_count() const;
  int64_t kept_count(ParameterId id) const;

  /// Stores these parameters, on the host, without their masked elements: for kernels that neither
  /// read nor write those. Until masks may change again (see mask_version).
  void store_kept(std::span<const ParameterId> ids);
  /// How parameters are stored now. Another object once that changes.
  const StoredArray::Layout& layout() const { return layout_; }
  /// Bytes of all arenas as they are now, one copy of each.
  size_t bytes() const;

  // For kernels: pointers in the backend's memory and element type. Good until a view for host code
  // or the stored layout is asked for.
  const void* weight(ParameterId id) const {
    return std::as_const(weights_.in(layout_)).device() + offset_bytes(id);
  }
  void* gradient(ParameterId id) { return gradients_.in(layout_).device() + offset_bytes(id); }
  void* state(StateId id) { return state_.device() + states_[id].offset * element_bytes_; }
  // The same for kernels that go over a whole arena, in global-index order.
  const void* weight_array() const { return std::as_const(weights_.in(dense_)).device(); }
  const void* gradient_array() const { return std::as_const(gradients_.in(dense_)).device(); }
  const uint8_t* mask_array() const { return reinterpret_cast<const uint8_t*>(masks_.device()); }
  void* mutable_weight_array() {
    compute_copy_stale_ = true;
    return weights_.in(dense_).device();
  }
  void* mutable_momentum_array() { return momentum_.in(dense_).device(); }
  uint8_t* mutable_mask_array() {
    masks_may_change();
    return reinterpret_cast<uint8_t*>(masks_.device());
  }
  /// Grows whenever somebody may have changed masks.
  int64_t mask_version() const { return mask_version_; }
  /// Where the prunable parameters lie.
  kernels::PrunableRuns prunable_runs() const;

  /// The weight of a convolution or linear layer as its kernels read it: the compute copy where the
  /// backend has one.
  const void* compute_weight(ParameterId id);
  /// Brings everything into the backend's memory and takes it as written there: before a recorded
  /// step, whose kernels run without asking for pointers.
  void hand_to_device();
  /// Everything the optimizer works on, with the segments given (in the backend's memory), offsets
  /// being those of the stored layout.
  kernels::SgdArena sgd_arena(const kernels::SgdSegment* segments, int64_t segment_count);
  /// Where the compute copy of a weight begins, in its elements; -1 if it has none.
  int64_t compute_copy_offset(ParameterId id) const { return compute_copy_offsets_[id]; }
  const kernels::Backend& backend() const { return *backend_; }

  /// Brings what forward and backward passes read and write into the present layout, so that
  /// several threads may ask for pointers at the same time.
  void convert_to_current_layout() {
    weights_.in(layout_);
    gradients_.in(layout_);
  }

  /// For host code: whole arenas in global-index order; T must be the element type (checked).
  /// Spans are good until kernels run.
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
  std::span<T> momentum() {
    return view<T>(momentum_.in(dense_), count_);
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

  /// The part of an arena that belongs to one parameter.
  template <class T>
  static std::span<T> slice(std::span<T> arena, const Parameter& p) {
    return arena.subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.count));
  }

  /// Sets weights and momentum to +0 wherever the mask is 0.
  void apply_masks();
  void zero_momentum() { momentum_.zero(); }

  /// Training forward passes since initialisation (PyTorch's num_batches_tracked).
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
  StoredArray weights_, gradients_, momentum_;
  StoredArray::Layout dense_, layout_;
  StoredArray::Layout packed_layout_;  // the last packed layout
  std::vector<uint8_t> packed_masks_;  // of its values; empty: nothing is masked
  MirroredBuffer masks_, state_;
  int64_t mask_version_ = 0;

  MirroredBuffer runs_;  // PrunableRun
  int64_t run_count_ = 0;

  std::vector<int64_t> compute_copy_offsets_;  // per parameter
  MirroredBuffer compute_copy_segments_;       // SgdSegment: the weights that have a compute copy
  int64_t compute_copy_segment_count_ = 0;
  Buffer compute_copy_;
  bool compute_copy_stale_ = true;
};

}  // namespace sculpt
