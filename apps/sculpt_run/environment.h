#pragma once
// What a run ran on: environment.json.

#include <string>

#include "engine/train/metrics.h"

namespace sculpt {

std::string environment_json(const RunIdentity& identity);

/// The "threads" of an environment.json; 0 if the text has none.
int64_t threads_of_environment(const std::string& json);

}  // namespace sculpt
