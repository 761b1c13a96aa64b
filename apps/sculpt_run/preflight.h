#pragma once
// Checks a run before it starts. Runs and --plan use the same checks.

#include <string>
#include <vector>

#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/request.h"
#include "engine/plan/plan_cost.h"

namespace sculpt {

/// Returns what plan_cost() needs for the plan of the request.
CostSettings cost_settings(const Request& request, Experiment& experiment);

/// Throws Error if the run would fail later for a reason that is known now: a prune that keeps no
/// weight, a class with too few images for SNIP or GraSP, a batch of one image for a batch norm
/// over single pixels, epochs without a step, a rewind checkpoint that is missing or damaged.
/// Changes nothing but the network of `experiment`. Returns warnings about settings that will work
/// but were probably not meant; unused_settings.h finds settings without effect.
///
/// labels_known is true if the training images have their real labels. If not, the images of each
/// class are not counted.
std::vector<std::string> check_before_run(const Request& request, Experiment& experiment,
                                          bool labels_known);

/// Throws UsageError if some of so many ranks would never have an image. With dist.reduction =
/// exact these are the logical ranks.
void require_images_for_all(const RunOptions& options, int ranks);

/// Throws UsageError if the logical ranks of dist.reduction = exact cannot be spread over so many
/// ranks.
void require_logical_ranks(const DistOptions& dist, int ranks);

/// Throws UsageError if the run cannot be computed by so many ranks.
void require_ranks_fit(const RunOptions& options, int ranks);

/// An Experiment for --plan. It has real images if the plan needs labels that only the files have
/// and the files exist; otherwise it has blank images.
struct PlannedExperiment {
  std::unique_ptr<Experiment> experiment;
  bool labels_known = false;
  /// Tells the user what was not checked; empty if everything was.
  std::string note;
};
PlannedExperiment experiment_for_plan(const Request& request, const kernels::Device& device);

}  // namespace sculpt
