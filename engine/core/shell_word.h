#pragma once
// shell_word() writes a word of a command that a message advises.

#include <string>

namespace sculpt {

/// Returns the text as one word of a command line, quoted if a shell would split or expand it.
std::string shell_word(const std::string& text);

}  // namespace sculpt
