#pragma once
// This file has the settings of the rules that change masks during training.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/option_visitor.h"

namespace sculpt {

/// The names in the table of mask_rule.cpp.
std::vector<std::string> mask_rule_names();

/// The first s of the rule str. The first threshold is then sigmoid(-5) = 0.0067.
inline constexpr double kStrInit = -5;

/// Config section: masks. A number that is 0, and a list that is empty, stand for the rule's own
/// constants. Fractions are fractions of the schedule of a cycle.
struct MaskOptions {
  std::string rule = "none";
  int64_t interval = 0;
  double drop = 0;
  double begin = 0;
  double end = 0;
  std::vector<double> sparse_from = {};
  std::vector<double> dense_from = {};
  double str_init = kStrInit;

  void visit(OptionVisitor& v);
};

}  // namespace sculpt
