#pragma once
// Lists of names in messages.

#include <cstddef>
#include <span>
#include <string>

namespace sculpt {

/// Returns "a, b and 3 more": the first `most` names, and how many others there are.
std::string first_names(std::span<const std::string> names, size_t most);

}  // namespace sculpt
