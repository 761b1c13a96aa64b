#pragma once
// Expands paths as people write them.

#include <string>

namespace sculpt {

/// Replaces a leading "~" by the home folder (the variable HOME, else the user database) and a
/// leading "~user" by the home folder of that user, as a shell does. Returns everything else
/// unchanged, also a "~user" whose user does not exist.
std::string expand_home(const std::string& path);

}  // namespace sculpt
