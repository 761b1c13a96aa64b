#pragma once
// Compares values as a study does: numbers as numbers, and everything else as text.

#include <string>

#include "engine/study/study.h"

namespace sculpt {

/// Returns true if both texts are the same, or are the same number: "0.9" and "0.90".
bool same_value(const std::string& a, const std::string& b);

/// Returns the number that the whole text is; not a number if it is none.
double number_in(const std::string& text);

/// Returns true if `value` is one of those that the selection has for the key, or if the selection
/// does not have the key.
bool allows(const Selection& selection, const std::string& key, const std::string& value);

/// Returns true if the values that the study gives to the run are chosen for every key of the
/// selection. A run without a value for a key is not chosen.
bool matches(const Selection& selection, const StudyRun& run);

}  // namespace sculpt
