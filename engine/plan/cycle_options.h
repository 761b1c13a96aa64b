#pragma once
// Settings for the number of cycles that a method trains, and for the lengths of the cycles.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/option_visitor.h"

namespace sculpt {

/// The names of the table in cycle_lengths.cpp.
std::vector<std::string> epoch_spread_names();

/// The number of cycles that a method trains, the length of each, and the rewind between two of
/// them. Config section: cycles.
struct CycleOptions {
  int64_t count = 3;
  int64_t final = 1;
  std::string spread = "constant";
  int64_t total_epochs = 0;
  int64_t rewind_epoch = 10;
  std::string schedule_restart = "zero";

  void visit(OptionVisitor& v) {
    v.integer("count", count, {0, 10000},
              "training cycles of dense and cyclic, and of sculpt before its prune; 0: cyclic and "
              "sculpt train as many cycles in all as imp, wr and lrr do with this prune.sparsity "
              "and prune.rate");
    v.integer("final", final, {1, 10000}, "training cycles of sculpt after its prune");
    v.choice(
        "spread", spread, epoch_spread_names(),
        "how the epochs are shared between the `count` cycles, or between all cycles of imp, wr "
        "and lrr");
    v.integer("total_epochs", total_epochs, {0, 100000000},
              "epochs of the `count` cycles together, or of all cycles of imp, wr and lrr; 0: "
              "train.epochs for each");
    v.integer(
        "rewind_epoch", rewind_epoch, {1, 1000000},
        "wr rewinds to the state after this many epochs of the first cycle; below the epochs of "
        "every cycle");
    v.choice("schedule_restart", schedule_restart, {"zero", "rewind_epoch"},
             "where wr's schedule restarts after a rewind: at 0, or at cycles.rewind_epoch (the "
             "cycle is then shorter by that much)");
  }
};

}  // namespace sculpt
