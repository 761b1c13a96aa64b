#pragma once
// What a run ran on: environment.json.

#include <string>

#include "engine/train/metrics.h"

namespace sculpt {

std::string environment_json(const RunIdentity& identity);

/// In which way a run that was started as `json` (an environment.json) says may end in other bits
/// now; empty if in none.
std::string change_of_environment(const std::string& json, const RunIdentity& now);

}  // namespace sculpt
