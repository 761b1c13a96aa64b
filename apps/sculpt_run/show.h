#pragma once
// Tables for people: --plan, --describe, and the result of a run.

#include "apps/sculpt_run/experiment.h"
#include "engine/train/trainer.h"

namespace sculpt {

/// The plan with densities, epochs, training FLOPs and estimated time (a few steps are timed).
void show_plan(Experiment& experiment, const RunOptions& options, const Plan& plan);

/// Layers, shapes, parameters, multiply-accumulates.
void show_network(Experiment& experiment, const RunOptions& options);

/// What summary.json says.
void show_result(const RunFolder& folder, const RunSummary& summary);

}  // namespace sculpt
