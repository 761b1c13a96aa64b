#pragma once
// Paths as people write them.

#include <string>

namespace sculpt {

/// Replaces a leading "~" by the home folder (the variable HOME, else the user database) and a
/// leading "~user" by that user's, as a shell does for words that begin so. Everything else, and
/// the name of a user who does not exist, is returned unchanged.
std::string expand_home(const std::string& path);

}  // namespace sculpt
