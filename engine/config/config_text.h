#pragma once
// Pieces of text that reading, writing and describing configs share.

#include <string>
#include <vector>

#include "engine/config/config.h"

namespace sculpt {

/// "from 1 to 10", "at least 0", "above 0 and below 1"; "" if anything goes.
std::string range_text(IntegerRange range);
std::string range_text(RealRange range);

/// "a, b, c"
std::string list_text(const std::vector<std::string>& words);

/// Values as TOML.
std::string toml_text(double value);
std::string toml_text(const std::string& value);
std::string toml_text(const std::vector<double>& values);
std::string toml_text(const std::vector<std::string>& values);

/// All keys of all sections, "section.key", in order.
std::vector<std::string> config_keys(const ConfigSections& sections);

}  // namespace sculpt
