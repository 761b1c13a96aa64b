#pragma once
// What a program prints for an exception that ended it.

#include <exception>
#include <string>

namespace sculpt {

/// The text of `error`. Memory that the system refused gets a sentence with advice: the exception's
/// own text is only its name.
std::string failure_text(const std::exception& error);

}  // namespace sculpt
