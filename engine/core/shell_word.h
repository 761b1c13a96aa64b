#pragma once
// shell_word(): how a message writes a word of a command that it advises.

#include <string>

namespace sculpt {

/// A word of a command line, quoted where a shell would take it apart.
std::string shell_word(const std::string& text);

}  // namespace sculpt
