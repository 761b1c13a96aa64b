#pragma once
// Prints tables for people: --plan, --describe, and the result of a run.

#include "apps/sculpt_run/experiment.h"
#include "engine/plan/plan_cost.h"
#include "engine/train/trainer.h"

namespace sculpt {

/// Prints the plan with densities, epochs, training FLOPs and the estimated time, for which a few
/// steps are timed.
void show_plan(Experiment& experiment, const RunOptions& options, const Plan& plan,
               const CostSettings& settings);

/// Prints layers, shapes, parameters and multiply-accumulates.
void show_network(Experiment& experiment, const RunOptions& options);

/// Prints the values of summary.json.
void show_result(const RunFolder& folder, const RunSummary& summary);

}  // namespace sculpt
