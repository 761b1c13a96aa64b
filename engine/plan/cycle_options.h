#pragma once
// Settings for the number of cycles that a method trains, and for the lengths of the cycles.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/option_visitor.h"

namespace sculpt {

/// The names of the table in cycle_lengths.cpp.
std::vector<std::string> epoch_spread_names();

/// The number of cycles that a method trains, and the length of each. Config section: cycles.
struct CycleOptions {
  int64_t count = 3;
  int64_t final = 1;
  std::string spread = "constant";
  int64_t total_epochs = 0;

  void visit(OptionVisitor& v) {
    v.integer("count", count, {1, 10000},
              "training cycles of dense and cyclic, and of sculpt before its prune");
    v.integer("final", final, {1, 10000}, "training cycles of sculpt after its prune");
    v.choice("spread", spread, epoch_spread_names(),
             "how the epochs are shared between the `count` cycles");
    v.integer("total_epochs", total_epochs, {0, 100000000},
              "epochs of the `count` cycles together; 0: train.epochs for each");
  }
};

}  // namespace sculpt
