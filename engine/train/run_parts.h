#pragma once
// Lists the parts that a run works with, and its settings.

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/dist/single.h"
#include "engine/masks/mask_options.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"
#include "engine/run/run_store.h"
#include "engine/sparse/after_prune.h"
#include "engine/train/observer.h"
#include "engine/train/train_options.h"

namespace sculpt {

class Hook;

/// The parts that a run works with. All of them must outlive the Trainer.
struct RunParts {
  Network& network;
  const kernels::Backend& backend;
  BatchSource& train;
  BatchSource& test;
  /// Returns a class-balanced batch, for criteria that need data; see ScoreContext.
  std::function<Batch(int64_t index)> score_batch;
  RunStore& store;
  RunObserver& observer;
  /// Called between steps. If it returns true, the run saves its state and ends.
  std::function<bool()> stop;
  /// The chooser of the kernels of network and backend; may be null.
  kernels::Chooser* chooser = nullptr;
  /// Returns the images that prune.reestimate_batch_norm estimates statistics on.
  StatisticsImages statistics_images = {};
  /// Replaces weights and masks of the initialised network when a run starts; may be empty.
  std::function<void(ParameterArena&)> load_initial = {};
  /// Returns the part of a file that a step of the plan loads, which was read and checked before
  /// the run. Called on rank 0 only. May be empty if no step loads a file.
  std::function<const StoredNetwork&(const Intervention& step)> stored_network = {};
  /// Makes the optimizer, also for the copy of the network that dense steps are timed on.
  OptimizerMaker make_optimizer = sculpt::make_optimizer;
  /// Hooks that run around steps and epochs, after the trainer's own hooks (hooks/hook.h). Their
  /// names must be unique. A resumed run must have the same hooks.
  std::vector<Hook*> hooks = {};
  /// The ranks of the run, which all call the same functions of a Trainer. `store` writes on rank 0
  /// only, `stop` returns the same on all ranks, and `network`, `train` and `test` compute and
  /// deliver each rank's share of a batch.
  Communicator& ranks = one_rank();
};

struct RunSettings {
  Plan plan;
  TrainOptions train;
  PruneOptions prune;
  MaskOptions masks = {};
  RunIdentity identity;
  /// The first and the last step of the run that a profiler records.
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
};

enum class RunOutcome { finished, interrupted };

}  // namespace sculpt
