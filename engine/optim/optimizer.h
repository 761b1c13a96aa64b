#pragma once
// Optimizer is the interface between an optimizer and everything that trains. The training loop,
// the timing of dense steps, the benchmarks and the checkpoints use optimizers only through this
// interface.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/optim_options.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// The values that an optimizer remembers, by key.
using OptimizerValues = std::map<std::string, std::string>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Begins a step with this learning rate: sets everything that changes from step to step, also
  /// for recorded steps of a GPU. Call it once before each step; if step() is called again, the
  /// same step is repeated as far as rates and counts are concerned.
  virtual void begin_step(double lr) = 0;
  /// Makes one update from the gradients in the arena. Masked weights, and the masked elements of
  /// every state array, are exactly +0 afterwards. On a GPU the function only launches kernels, so
  /// that a step can be recorded.
  virtual void step() = 0;
  void step(double lr) {
    begin_step(lr);
    step();
  }

  /// Called after the last step of each epoch, before hooks may change masks.
  virtual void end_epoch() {}
  /// Called at the end of each cycle, after end_epoch(): an optimizer that averages weights makes
  /// the average the weights.
  virtual void end_cycle() {}
  /// Forgets all steps and sets the state arrays to zero. Called at the start of every cycle and
  /// after a rewind.
  virtual void reset() { parameters_.zero_optimizer_arrays(); }

  /// Returns true if the optimizer has an average of weights, which is to be measured in place of
  /// the weights (averaged_weights.h).
  virtual bool has_average() const { return false; }
  /// Exchanges the weights and their average. Two calls change nothing.
  virtual void swap_average() {}

  /// Returns the values that the optimizer remembers from step to step besides its arrays. A
  /// checkpoint holds them, and restore() makes an optimizer go on with the same bits. Throws Error
  /// if a value is missing or is not a count.
  virtual OptimizerValues save() const { return {}; }
  virtual void restore(const OptimizerValues&) {}

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
