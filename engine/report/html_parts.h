#pragma once
// Parts of a page that do not depend on the report. Only the files of engine/report include this
// header.

#include <string>

#include "engine/report/figure.h"

namespace sculpt {

/// Returns everything before the header of the page, with the style sheet.
std::string page_head(const std::string& title, int reload_seconds);

/// Returns the first `rows` rows of a table. Columns that hold only numbers are aligned to the
/// right.
std::string html_table(const Table& table, size_t rows);

/// Returns a path as part of an address: other characters than letters, digits and "-._~/" are
/// written as %XX.
std::string url_of(const std::string& path);

/// Allows a line break after "/", "_", "," and "-", so that names of folders fit on a phone. The
/// text has been escaped.
std::string with_breaks(const std::string& escaped);

}  // namespace sculpt
