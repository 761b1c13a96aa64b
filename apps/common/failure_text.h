#pragma once
// Composes the message of a program that an exception has ended.

#include <exception>
#include <string>

namespace sculpt {

/// Returns the text of `error`. If the system refused memory, the text is a sentence with advice,
/// because the exception's own text is only its name. If a file could not be written, the text ends
/// with how the person goes on then, which `go_on` says.
std::string failure_text(const std::exception& error, const char* go_on = "give the command again");

}  // namespace sculpt
