#pragma once
// This file has the settings of pruning.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/option_visitor.h"

namespace sculpt {

/// Both functions return the names in a table: the one in criteria.cpp, and the one in
/// allocation.cpp.
std::vector<std::string> criterion_names();
std::vector<std::string> allocation_names();

/// A prune is one of the four kinds of plan steps. It scores all weights that are not masked and
/// keeps round(density * N) of them.
struct PruneStep {
  std::string criterion;   ///< a name in the table of criteria
  std::string allocation;  ///< a name in the table of allocations
  double density = 1;      ///< kept / N over all prunable weights, in (0, 1]
  bool operator==(const PruneStep&) const = default;
};

/// Config section: prune.
struct PruneOptions {
  std::string criterion = "random";
  std::string allocation = "global";
  std::string final_criterion = "magnitude";
  bool rescale_to_kept_fan = false;
  double sparsity = 0.9;
  double initial_sparsity = 0.5;
  double rate = 0.2;
  int64_t score_images_per_class = 10;
  int64_t score_batches = 1;
  int64_t synflow_iterations = 100;
  int64_t reestimate_batch_norm = 0;
  bool first_conv = true;
  bool classifier = true;
  std::vector<std::string> exempt;

  void visit(OptionVisitor& v) {
    v.choice("criterion", criterion, criterion_names(),
             "score behind the initial mask of pai, cyclic and sculpt");
    v.choice("allocation", allocation, allocation_names(),
             "how kept weights are shared between layers (sculpt's second prune: always global); "
             "with random, global is a uniform density in expectation");
    v.choice("final_criterion", final_criterion, criterion_names(),
             "score behind sculpt's second prune");
    v.boolean("rescale_to_kept_fan", rescale_to_kept_fan,
              "prunes before the first cycle multiply the weights that stay of each output neuron "
              "by sqrt(kept before / kept after), so that their standard deviation is that of a "
              "layer with as many inputs as are kept");
    v.real("sparsity", sparsity, {0, 1, false, true},
           "fraction of prunable weights (those of convolutions and linear layers that are not "
           "exempt) that is "
           "removed in the end");
    v.real("initial_sparsity", initial_sparsity, {0, 1, false, true},
           "sparsity of sculpt's initial mask; below prune.sparsity");
    v.real("rate", rate, {0, 1, true, true},
           "fraction of the remaining weights that imp, wr and lrr remove per level");
    v.integer("score_images_per_class", score_images_per_class, {1, 100000},
              "training images of each class in a batch that snip and grasp score with");
    v.integer("score_batches", score_batches, {1, 100000},
              "batches that snip and grasp average the gradient over");
    v.integer("synflow_iterations", synflow_iterations, {1, 10000},
              "prunes in which synflow reaches its density");
    v.integer("reestimate_batch_norm", reestimate_batch_norm, {0, 1000000000},
              "training images on which batch norm's running statistics are estimated again after "
              "each prune, without augmentation and dropout; 0: the statistics stay");
    v.boolean("first_conv", first_conv, "whether the first convolution takes part in pruning");
    v.boolean("classifier", classifier, "whether the last linear layer takes part in pruning");
    v.texts("exempt", exempt,
            "layers that stay dense, by the names that --describe lists; * stands for any "
            "characters, e.g. [\"conv1\", \"layer1.*\"]. Their weights count in no density and no "
            "sparsity");
  }
};

}  // namespace sculpt
