#include "engine/core/shell_word.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace sculpt {

std::string shell_word(const std::string& text) {
  const auto safe = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("/._-+=:,@%").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::ranges::all_of(text, safe)) return text;
  std::string quoted = "'";
  for (const char c : text)
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace sculpt
