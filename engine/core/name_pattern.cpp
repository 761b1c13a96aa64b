#include "engine/core/name_pattern.h"

namespace sculpt {

bool fits_pattern(std::string_view name, std::string_view pattern) {
  size_t at = 0, in_pattern = 0;
  // `star` is the last `*`, and `tried` is the place in the name from which the rest of the pattern
  // was tried.
  size_t star = std::string_view::npos, tried = 0;
  while (at < name.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      tried = at;
    } else if (in_pattern < pattern.size() && pattern[in_pattern] == name[at]) {
      ++in_pattern;
      ++at;
    } else if (star != std::string_view::npos) {
      // Let the last `*` stand for one more character.
      in_pattern = star + 1;
      at = ++tried;
    } else {
      return false;
    }
  }
  while (in_pattern < pattern.size() && pattern[in_pattern] == '*')
    ++in_pattern;
  return in_pattern == pattern.size();
}

}  // namespace sculpt
