#pragma once
// Numbers that people write and TOML does not know, for messages that say how to write them.

#include <string>
#include <string_view>

namespace sculpt {

/// The TOML form of what a person would read as a number: ".1" -> "0.1", "1." -> "1.0",
/// "0,5" -> "0.5", "01" -> "1". Quotes and blanks around the number are left out. "" if the text is
/// not a number.
std::string number_meant(std::string_view text);

/// The same for a list of numbers, with or without brackets: "[.5, 1.]" -> "[0.5, 1.0]". "" if an
/// item is not a number.
std::string numbers_meant(std::string_view text);

}  // namespace sculpt
