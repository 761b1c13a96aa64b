#pragma once
// Parts that figures and tables in LaTeX share. Only the files of engine/report include this
// header.

#include <cstddef>
#include <string>

namespace sculpt {

/// Returns the number of letters of a UTF-8 text.
size_t letters_of(const std::string& text);

/// Returns the caption of a figure or a table, and its label. Escapes the texts.
std::string latex_caption(const std::string& title, const std::string& caption,
                          const std::string& label);

}  // namespace sculpt
