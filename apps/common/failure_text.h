#pragma once
// failure_text() words the message of a program that an exception has ended.

#include <exception>
#include <string>

namespace sculpt {

/// Returns the text of `error`. An error of memory that the system refused gets a sentence with
/// advice, because the exception's own text is only its name.
std::string failure_text(const std::exception& error);

}  // namespace sculpt
