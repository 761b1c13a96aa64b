#pragma once
// What a run ran on: environment.json.

#include <string>

#include "engine/train/metrics.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

std::string environment_json(const RunIdentity& identity);

/// The choices between kernels that `json`, an environment.json, holds: a resumed run makes them
/// again.
kernels::Choices recorded_choices(const std::string& json);

/// What `json`, an environment.json, says that the run read; empty where it says nothing.
RunInputs recorded_inputs(const std::string& json);

/// In which way a run that was started as `json` (an environment.json) says may end in other bits
/// now; empty if in none.
std::string change_of_environment(const std::string& json, const RunIdentity& now);

}  // namespace sculpt
