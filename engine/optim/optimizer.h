#pragma once
// Optimizer is the interface between an optimizer and everything that trains. The training loop,
// the timing of dense steps, the benchmarks and the checkpoints use optimizers only through this
// interface.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/optim_options.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Sets the learning rate of the following steps, including recorded steps of a GPU.
  virtual void set_lr(double lr) = 0;
  /// Makes one update from the gradients in the arena. Masked weights, and the masked elements of
  /// every state array, are exactly +0 afterwards. On a GPU the function only launches kernels, so
  /// that a step can be recorded.
  virtual void step() = 0;
  void step(double lr) {
    set_lr(lr);
    step();
  }

  /// Sets the state arrays to zero, which forgets all steps. Called at the start of every cycle and
  /// after a rewind.
  virtual void reset() { parameters_.zero_optimizer_arrays(); }

 protected:
  /// `state_arrays` names the arrays with a value per weight that the optimizer keeps from step to
  /// step. The constructor adds them to the arena, which stores them in its layouts, masks them at
  /// a prune, copies them with a network and saves them in checkpoints. The arena must be
  /// allocated, and must outlive the optimizer.
  Optimizer(ParameterArena& parameters, const std::vector<std::string>& state_arrays)
      : parameters_(parameters) {
    for (const std::string& name : state_arrays)
      arrays_.push_back(parameters.add_optimizer_array(name));
  }

  ParameterArena& parameters() const { return parameters_; }
  /// Returns the id of state array number `i`.
  OptimizerArrayId array(size_t i) const { return arrays_[i]; }

 private:
  ParameterArena& parameters_;
  std::vector<OptimizerArrayId> arrays_;
};

/// Makes the optimizer of a run or of a copy of the run's network.
using OptimizerMaker =
    std::function<std::unique_ptr<Optimizer>(ParameterArena&, const OptimOptions&)>;

/// Returns the optimizer that the options name.
std::unique_ptr<Optimizer> make_optimizer(ParameterArena& parameters, const OptimOptions& options);

}  // namespace sculpt
