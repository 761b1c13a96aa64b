#pragma once
// Text that reading, writing and describing configs have in common.

#include <string>
#include <vector>

#include "engine/config/config.h"

namespace sculpt {

/// Returns "from 1 to 10", "at least 0", "above 0 and below 1"; "" if every value is allowed.
std::string range_text(IntegerRange range);
std::string range_text(RealRange range);

/// "a, b, c"
std::string list_text(const std::vector<std::string>& words);

/// Formats values as TOML.
std::string toml_text(double value);
std::string toml_text(const std::string& value);
std::string toml_text(const std::vector<double>& values);
std::string toml_text(const std::vector<std::string>& values);
/// Formats a value of OptionVisitor::choice_or_count(): a number as it is, a word in quotes.
std::string choice_or_count_toml(const std::string& value);

/// Returns all keys of all sections, "section.key", in order.
std::vector<std::string> config_keys(const ConfigSections& sections);

}  // namespace sculpt
