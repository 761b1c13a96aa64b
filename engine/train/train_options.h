#pragma once
// This file has the settings of one cycle of training: the sections train, optim and execution of a
// config.

#include <cstdint>
#include <limits>
#include <string>

#include "engine/core/option_visitor.h"
#include "engine/optim/optim_options.h"
#include "engine/train/execution_options.h"

namespace sculpt {

/// Config section: train. The members `optim` and `execution` are sections of their own.
struct TrainOptions {
  int64_t epochs = 10;
  int64_t batch = 128;
  int64_t accumulate = 1;
  bool drop_last = false;
  double label_smoothing = 0;
  int64_t eval_every = 1;
  int64_t checkpoint_every = 1;
  int64_t checkpoint_steps = 0;
  std::string keep = "none";
  OptimOptions optim;
  ExecutionOptions execution;

  /// Returns the most images that are computed at a time.
  int64_t images_at_a_time() const { return (batch + accumulate - 1) / accumulate; }

  /// Returns how many of the last cycles keep a checkpoint of their end; 0 if none does.
  int64_t kept_cycles() const {
    if (keep == "none") return 0;
    return keep == "cycles" ? std::numeric_limits<int64_t>::max() : std::stoll(keep);
  }

  /// Visits the settings of the section train only.
  void visit(OptionVisitor& v) {
    v.integer("epochs", epochs, {1, 1000000}, "epochs of one cycle");
    v.integer("batch", batch, {1, 65536}, "images per step; an epoch's last step may have fewer");
    v.integer(
        "accumulate", accumulate, {1, 65536},
        "parts in which a step is computed, one after another, so that its memory is that of "
        "a batch of train.batch / train.accumulate and one more array of gradients; the "
        "gradients of the parts are added up, and batch norm uses the statistics of each part");
    v.boolean("drop_last", drop_last,
              "leave out an epoch's last step where it has fewer images than train.batch; which "
              "images these are changes from epoch to epoch");
    v.real("label_smoothing", label_smoothing, {0, 1, false, true},
           "probability taken from the label and spread over all classes, in training");
    v.integer("eval_every", eval_every, {1, 1000000},
              "epochs between evaluations; the last epoch of a cycle is always evaluated");
    v.integer("checkpoint_every", checkpoint_every, {0, 1000000},
              "epochs between resumable checkpoints; 0: only after prunes and cycles");
    v.integer("checkpoint_steps", checkpoint_steps, {0, 1000000000},
              "steps between resumable checkpoints inside an epoch; 0: none");
    v.choice_or_count(
        "keep", keep, {"none", "cycles"},
        "checkpoints of the ends of cycles that stay in the run folder, for analyses: "
        "none, those of all cycles, or those of the last cycles, as many as the number "
        "says");
  }
};

}  // namespace sculpt
