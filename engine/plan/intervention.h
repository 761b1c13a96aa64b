#pragma once
// An intervention is a plan step that changes weights or masks from outside training: "reinit keep
// signs", "shuffle mask", "load mask from runs/lrr". Interventions separate the mask of a network
// from its weights, and their signs from their magnitudes. Each action is a row of the table in
// verbs/table.cpp.

#include <string>

namespace sculpt {

struct Intervention {
  std::string action;     ///< a name in the table: "reinit all", "shuffle mask", "load weights"
  std::string path = {};  ///< file or run folder of "load ... from PATH"; empty for other actions
  bool operator==(const Intervention&) const = default;
};

}  // namespace sculpt
