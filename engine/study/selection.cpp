#include "engine/study/selection.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sculpt {

double number_in(const std::string& text) {
  double number = NAN;
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(begin, end, number);
  return error == std::errc() && last == end ? number : NAN;
}

bool same_value(const std::string& a, const std::string& b) {
  return a == b || number_in(a) == number_in(b);  // NaN equals nothing
}

bool allows(const Selection& selection, const std::string& key, const std::string& value) {
  const auto found = selection.values.find(key);
  return found == selection.values.end() ||
         std::ranges::any_of(found->second,
                             [&](const std::string& one) { return same_value(one, value); });
}

bool matches(const Selection& selection, const StudyRun& run) {
  return std::ranges::all_of(selection.values, [&](const auto& chosen) {
    const std::string value = run.value(chosen.first);
    return !value.empty() && allows(selection, chosen.first, value);
  });
}

}  // namespace sculpt
