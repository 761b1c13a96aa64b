#pragma once
// The name of a run's folder, for runs without --out.

#include <string>
#include <vector>

#include "apps/sculpt_run/run_options.h"

namespace sculpt {

/// runs/<config>-<method>[-<what --set changes>]-s<seed>. Two commands whose settings differ in
/// anything that changes results get two names.
std::string default_folder(const std::string& config_path,
                           const std::vector<std::string>& settings);

}  // namespace sculpt
