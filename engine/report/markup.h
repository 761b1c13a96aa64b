#pragma once
// Texts inside of HTML, SVG and LaTeX.

#include <string>
#include <string_view>

namespace sculpt {

/// Returns the text with &, <, > and both quotes written as entities, so that it may stand in HTML,
/// SVG and their attributes. Control characters and bytes that are not UTF-8 are replaced, because
/// XML allows neither.
std::string escape_markup(std::string_view text);

/// Returns the text with the special characters of LaTeX written as commands, and the signs that
/// the reports use (such as the plus-minus sign) as mathematics. The same characters are replaced
/// as in escape_markup().
std::string escape_latex(std::string_view text);

/// Returns the text with other bytes than UTF-8 and with control characters (except line breaks and
/// tabs) replaced by U+FFFD.
std::string valid_text(std::string_view text);

/// Returns a part of a file name: lower case letters, digits and hyphens. Returns "figure" if the
/// text has none of them.
std::string file_name_of(std::string_view text);

}  // namespace sculpt
