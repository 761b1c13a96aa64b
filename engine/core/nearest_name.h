#pragma once
// Finds the name that a person meant who mistyped it, for "did you mean ...?".

#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

/// Returns the candidate nearest to `word` by edit distance (insert, delete, replace, swap
/// neighbours), or
/// "" if none is near enough to be what was meant. Upper and lower case count as the same, unless
/// two candidates differ in nothing else.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// Returns true if the texts are equal but for upper and lower case (ASCII).
bool same_but_for_case(std::string_view a, std::string_view b);

/// Returns `, did you mean "snip"?`, or "" if no candidate is near enough.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace sculpt
