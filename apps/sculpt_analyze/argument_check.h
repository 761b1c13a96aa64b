#pragma once
// Checks arguments of sculpt_analyze for programs that will start it later.

#include <string>
#include <vector>

#include "engine/config/config_document.h"

namespace sculpt::analyze {

/// Parses arguments with the parser of sculpt_analyze, and analyses nothing. No file is looked at.
/// Returns the settings of the config among them (--set, --threads, --device). Throws UsageError
/// with the message that sculpt_analyze would print.
std::vector<Setting> check_arguments(const std::vector<std::string>& words);

}  // namespace sculpt::analyze
