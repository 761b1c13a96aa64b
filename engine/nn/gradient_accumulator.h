#pragma once
// Adds up the gradients of the parts of a step. A step is computed in parts if its batch is larger
// than the network's largest batch; the gradients of its last part then become those of the step.

#include "engine/core/batch_share.h"
#include "engine/core/buffer.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

class GradientAccumulator {
 public:
  /// The arena must outlive the object.
  explicit GradientAccumulator(ParameterArena& parameters) : parameters_(parameters) {}

  /// Begins the backward pass of a part. Between the parts of a step, the mask and the layout of
  /// the arena must not change.
  void begin(const StepPart& part);
  /// Takes the news that the part's gradient of a parameter is final. In the last part of a step,
  /// makes it the gradient of the step.
  void gradient_is_final(ParameterId id);
  /// Ends the backward pass of the part. Full gradients that were requested before the first part
  /// are those of the step after the last one.
  void finish();

 private:
  void complete_full_gradients();
  void add(Buffer& sum, const void* terms, int64_t count);
  void add_sum(void* gradient, const Buffer& sum, int64_t first, int64_t count);

  ParameterArena& parameters_;
  StepPart part_;
  bool full_ = false;  // full gradients were requested for the step
  SharedLayout layout_;
  Buffer sum_, full_sum_;  // of the parts before this one
};

}  // namespace sculpt
