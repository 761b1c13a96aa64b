#include "engine/config/number_meant.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "engine/config/config_text.h"

namespace sculpt {
namespace {

/// Returns the text without these characters at both ends.
std::string_view strip(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) - begin + 1);
}

}  // namespace

std::string number_meant(std::string_view text) {
  std::string word(strip(text, " \t\"'"));
  const bool whole = word.find_first_not_of("+-0123456789") == std::string::npos;
  if (std::ranges::count(word, ',') == 1 && word.find('.') == std::string::npos)
    std::ranges::replace(word, ',', '.');
  if (word.starts_with('+')) word.erase(0, 1);
  double number = 0;
  const char* end = word.data() + word.size();
  const auto result = std::from_chars(word.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end || !std::isfinite(number)) return "";
  return whole && std::abs(number) < 1e15 ? fmt::format("{:.0f}", number) : toml_text(number);
}

std::string numbers_meant(std::string_view text) {
  std::string_view rest = strip(text, " \t[]");
  std::string list;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string number = number_meant(rest.substr(0, end));
    if (number.empty()) return "";
    list += (list.empty() ? "" : ", ") + number;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return list.empty() ? "" : "[" + list + "]";
}

}  // namespace sculpt
