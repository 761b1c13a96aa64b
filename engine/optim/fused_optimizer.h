#pragma once
// FusedOptimizer is the base of the optimizers whose step is one fused pass over the parameter
// arena (kernels/masked_update.h). A derived class names the rule and its arrays. The base does
// what all rules share: the table of segments, dense and packed layouts, weight decay and its
// exemptions, clipping, HAM, the average of weights, and the count of steps.
//
// Average of weights (optim.ema = D): after step n of a cycle the array "average" is
//   sum over k = 1..n of (1 - D) D^(n-k) w_k, divided by 1 - D^n,
// the exponential average of the weights w_k with bias correction (Polyak & Juditsky 1992; Kingma &
// Ba 2015). A masked element of it is +0. A weight that is kept again counts as 0 for the steps in
// which it was masked. At the end of a cycle the average becomes the weights.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/device_value.h"
#include "engine/optim/optimizer.h"
#include "kernels/masked_update.h"

namespace sculpt {

class FusedOptimizer : public Optimizer {
 public:
  void begin_step(double lr) override;
  /// Makes one update. If the norm of all unmasked gradients together, before weight decay, exceeds
  /// clip_norm, the gradients are scaled down to that norm.
  void step() override;
  using Optimizer::step;

  void end_cycle() override;
  void reset() override;
  bool has_average() const override { return averages() && steps_ > 0; }
  void swap_average() override { parameters().swap_weights(average_); }
  /// The value "steps" is saved if the rule or the average depends on the number of steps.
  OptimizerValues save() const override;
  void restore(const OptimizerValues& values) override;

  /// Returns the factor by which the last step scaled the gradients: below 1 if they were clipped.
  double clip_scale() const;
  /// Returns the number of table rows of the last step. Neighbouring parameters that are updated in
  /// the same way are one run of elements.
  int64_t segments() const { return segment_count_; }

 protected:
  /// `state_arrays` has the names of the rule's arrays, in the order that the derived class uses.
  FusedOptimizer(ParameterArena& parameters, const OptimOptions& options,
                 kernels::UpdateOptions update, const std::vector<std::string>& state_arrays);

  const OptimOptions& options() const { return options_; }
  /// Returns the number of steps that have begun since the last reset().
  int64_t steps() const { return steps_; }

  /// Makes the table of segments of the present layout. Constructors of derived classes call it.
  void follow_layout();
  /// Sets the arrays that the rule needs besides the momentum.
  virtual void add_arrays(kernels::UpdateArena& arena) = 0;
  /// Sets what the rule needs of a step besides learning rate and average; steps() counts the step.
  virtual void add_scalars(kernels::UpdateScalars& /*scalars*/) const {}
  virtual bool depends_on_steps() const { return false; }
  /// Returns true if the weights of a parameter are trained as products of two factors.
  virtual bool is_factored(const Parameter& /*parameter*/) const { return false; }

  /// Returns a count among saved values. Throws Error if it is missing or is not a count.
  static int64_t saved_count(const OptimizerValues& values, const char* key);

 private:
  bool averages() const { return options_.ema > 0; }
  std::vector<kernels::UpdateSegment> make_segments() const;
  kernels::UpdateSegment segment_of(ParameterId id) const;

  OptimOptions options_;
  kernels::UpdateOptions update_;
  OptimizerArrayId average_ = -1;
  int64_t steps_ = 0;
  SharedLayout layout_;  // the layout that segments_ describe
  int64_t segment_count_ = 0;
  MirroredBuffer segments_;  // elements are kernels::UpdateSegment
  DeviceValue<kernels::UpdateScalars> scalars_;
  Buffer workspace_;
};

}  // namespace sculpt
