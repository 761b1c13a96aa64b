#pragma once
// Recognises numbers that people write and TOML does not know, so that messages can say how to
// write them.

#include <string>
#include <string_view>

namespace sculpt {

/// Returns the TOML form of what a person would read as a number: ".1" -> "0.1", "1." -> "1.0",
/// "0,5" -> "0.5", "01" -> "1". Quotes and blanks around the number are left out. Returns "" if the
/// text is not a number.
std::string number_meant(std::string_view text);

/// Returns the TOML form of a list of numbers, with or without brackets: "[.5, 1.]" ->
/// "[0.5, 1.0]". Returns "" if an item is not a number.
std::string numbers_meant(std::string_view text);

}  // namespace sculpt
