#pragma once
// The parts that a run works with, and its settings.

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"
#include "engine/run/run_store.h"
#include "engine/sparse/after_prune.h"
#include "engine/train/observer.h"
#include "engine/train/train_options.h"

namespace sculpt {

class Hook;

/// The parts that a run works with. All of them outlive the Trainer.
struct RunParts {
  Network& network;
  const kernels::Backend& backend;
  BatchSource& train;
  BatchSource& test;
  /// Returns a class-balanced batch, for criteria that need data; see ScoreContext.
  std::function<Batch(int64_t index)> score_batch;
  RunStore& store;
  RunObserver& observer;
  /// Called between steps. True: the run saves its state and ends.
  std::function<bool()> stop;
  /// The chooser of the kernels of network and backend; may be null.
  kernels::Chooser* chooser = nullptr;
  /// Returns the images that prune.reestimate_batch_norm estimates statistics on.
  StatisticsImages statistics_images = {};
  /// Puts other weights and masks over the initialisation of a run that starts; may be empty.
  std::function<void(ParameterArena&)> load_initial = {};
  /// Makes the optimizer, also for the copy of the network that dense steps are timed on.
  OptimizerMaker make_optimizer = sculpt::make_optimizer;
  /// Hooks that run around steps and epochs, behind the trainer's own hooks (hooks/hook.h). Their
  /// names are unique. A resumed run must have the same hooks.
  std::vector<Hook*> hooks = {};
};

struct RunSettings {
  Plan plan;
  TrainOptions train;
  PruneOptions prune;
  RunIdentity identity;
  /// The steps of the run, first to last, that a profiler records.
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
};

enum class RunOutcome { finished, interrupted };

}  // namespace sculpt
