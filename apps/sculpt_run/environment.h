#pragma once
// Describes the machine and program of a run in environment.json.

#include <string>
#include <vector>

#include "engine/run/records.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

std::string environment_json(const RunIdentity& identity);

/// Describes every change since `json` (an environment.json) was written that may alter the bits of
/// the result. Returns one sentence for each change.
std::vector<std::string> changes_of_environment(const std::string& json, const RunIdentity& now);

/// Describes a choice between kernels that differs from the recorded one. Returns "" if all choices
/// are as recorded.
std::string change_of_choices(const kernels::Choices& recorded, const kernels::Choices& made);

/// Returns the inputs that `json` (an environment.json) records. Inputs that it does not record are
/// empty.
RunInputs recorded_inputs(const std::string& json);

}  // namespace sculpt
