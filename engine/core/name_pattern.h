#pragma once
// Patterns are names with wildcards, as people write them in configs.

#include <string_view>

namespace sculpt {

/// Returns true if the whole name fits the pattern. A `*` stands for any characters, also for none;
/// every other character stands for itself.
bool fits_pattern(std::string_view name, std::string_view pattern);

}  // namespace sculpt
