#pragma once
// This class provides the gradients of all weights, masked ones included, on request. Kernels that
// skip masked weights do not compute the gradients of these weights, and a packed layout has no
// place for them. Methods that grow masks by gradients (RigL, Evci et al. 2020) need them at some
// steps:
//
//   arena.full_gradients().request();       // before a step, for example in Hook::before_step
//   ... forward and backward pass ...
//   arena.full_gradients().values<float>()  // until the next backward pass
//
// Dense kernels compute the gradients of weights in a step with a request, layer by layer. All
// other passes of the step run as usual. The optimizer's update uses the same gradients, at kept
// weights.

#include <cstdint>
#include <span>

#include "engine/core/buffer.h"
#include "engine/parameters/parameter.h"

namespace sculpt {

class ParameterArena;

class FullGradients {
 public:
  explicit FullGradients(ParameterArena& arena) : arena_(arena) {}
  FullGradients(const FullGradients&) = delete;
  FullGradients& operator=(const FullGradients&) = delete;

  /// Makes the next backward pass compute the gradients of all weights.
  void request() { requested_ = true; }
  bool requested() const { return requested_; }
  /// Call this after a step that may have been launched as a recording of a device. Such a step has
  /// full gradients, but runs no code of the backward pass that would end the request.
  void end_request() { requested_ = false; }

  /// Returns the gradients of all parameters in global-index order, for host code; where no weight
  /// is masked they are those of ParameterArena::gradients(). Throws Error if the last backward
  /// pass did not compute them. T must be the element type.
  template <class T = float>
  std::span<const T> values() const {
    return {reinterpret_cast<const T*>(checked_values(sizeof(T))), static_cast<size_t>(count())};
  }

  /// Returns the same gradients for kernels, in the backend's memory. Needs the dense layout.
  const void* array() const;

  /// Returns true if the last backward pass computed the gradients and stored them apart from those
  /// of the arena, as hosts do.
  bool stored() const { return computed_ && !on_device(); }
  /// Returns the stored gradients: ParameterArena::count() elements.
  void* edit_stored() { return values_.data(); }

  // The graph calls these two functions around a backward pass.
  void begin_backward();
  void end_backward();
  // A layer whose weight gradient would be computed by sparse kernels calls these two functions in
  // a backward pass with a request: the first returns the memory into which a dense kernel must
  // write the gradient of the weight, and the second lets the optimizer have the gradient.
  void* edit_gradient(ParameterId id);
  void hand_to_optimizer(ParameterId id);

 private:
  const void* checked_values(size_t element_bytes) const;
  const void* stored_values() const;
  std::byte* values_of(ParameterId id);
  int64_t count() const;
  bool packed(ParameterId id) const;
  /// Backends whose memory is a device's have dense kernels only, so that their gradients are full.
  bool on_device() const;

  ParameterArena& arena_;
  bool requested_ = false;
  bool computed_ = false;  // true if the last backward pass had a request
  Buffer values_;          // empty on a device, and if the last pass had no request
};

}  // namespace sculpt
