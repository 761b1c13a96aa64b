#pragma once
// Describes the machine and program of a run in environment.json. The file keeps those of the start
// of the run; other machines and programs on which the run is resumed are added to it.

#include <string>
#include <vector>

#include "engine/run/records.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

/// Identifies the linked program. The commit does not, because the working tree may have had
/// changes.
std::string build_of_program();

/// Returns the environment.json of a run that starts now.
std::string environment_json(const RunIdentity& identity);

/// Returns the environment.json of a run that is resumed now. `json` is the file that the folder
/// has; "" if it has none.
std::string environment_of_resumed(const std::string& json, const RunIdentity& now);

/// Says why `json` (an environment.json, "" if there is none) cannot be compared with, such as "is
/// damaged: ..."; "" if it can be.
std::string problem_of_environment(const std::string& json);

/// Describes every change since the start of the run, whose environment.json is `json`, that may
/// alter the bits of the result. Earlier resumes count, too. Returns one sentence for each change.
/// If the file cannot be used, the one sentence says so.
std::vector<std::string> changes_of_environment(const std::string& json, const RunIdentity& now);

/// Describes a choice between kernels that differs from the recorded one. Returns "" if all choices
/// are as recorded.
std::string change_of_choices(const kernels::Choices& recorded, const kernels::Choices& made);

/// Returns the inputs that `json` (an environment.json) records. Inputs that it does not record are
/// empty.
RunInputs recorded_inputs(const std::string& json);

}  // namespace sculpt
