#pragma once
// Checks of a run before it starts. Runs and --plan share them.

#include <string>
#include <vector>

#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/request.h"

namespace sculpt {

/// Throws Error if the run would fail later for a reason that is known now: a prune that keeps no
/// weight, a class with too few images for SNIP or GraSP, a batch of one image for a batch norm
/// over single pixels, epochs without a step, a rewind file that is missing or damaged. Changes
/// nothing but `experiment`'s network. Returns warnings about what will work, but probably was not
/// meant.
///
/// labels_known: whether the training images have their real labels; if not, the images of each
/// class are not counted.
std::vector<std::string> check_before_run(const Request& request, Experiment& experiment,
                                          bool labels_known);

/// An Experiment for --plan: with real images where the plan needs labels that only the files have
/// and the files are there, otherwise with blank ones.
struct PlannedExperiment {
  std::unique_ptr<Experiment> experiment;
  bool labels_known = false;
  /// A note for the user about what was not checked; empty if everything was.
  std::string note;
};
PlannedExperiment experiment_for_plan(const Request& request, const kernels::Device& device);

}  // namespace sculpt
