#include "engine/core/name_list.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sculpt {

std::string first_names(std::span<const std::string> names, size_t most) {
  const auto shown = names.first(std::min(names.size(), most));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (shown.size() < names.size()) text += fmt::format(" and {} more", names.size() - shown.size());
  return text;
}

}  // namespace sculpt
