#pragma once
// What a run ran on: environment.json.

#include <string>
#include <vector>

#include "engine/run/records.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

std::string environment_json(const RunIdentity& identity);

/// Describes every change since `json`, an environment.json, was written that may alter the bits of
/// the result: one sentence for each, none if there is none.
std::vector<std::string> changes_of_environment(const std::string& json, const RunIdentity& now);

/// Describes a choice between kernels that is not the recorded one; empty if all are.
std::string change_of_choices(const kernels::Choices& recorded, const kernels::Choices& made);

/// What `json`, an environment.json, says that the run read; empty where it says nothing.
RunInputs recorded_inputs(const std::string& json);

}  // namespace sculpt
