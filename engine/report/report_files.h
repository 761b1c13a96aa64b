#pragma once
// Writes reports into files.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/report/html_page.h"
#include "engine/report/report.h"

namespace sculpt {

/// Returns the folder of the CSV files of a page: "report-data" beside "report.html".
std::filesystem::path data_folder_of(const std::filesystem::path& page);

/// Writes the page and, beside it, its numbers as CSV files. Files of the same names are replaced.
/// Throws Error naming a file that cannot be written.
void write_page(const std::filesystem::path& page, const Report& report);

/// Writes the page alone. Its numbers are in the page as far as they fit. `reload_seconds` as in
/// PageOptions.
void write_page_alone(const std::filesystem::path& page, const Report& report, int reload_seconds);

/// Writes one SVG file for each figure and heat map into a folder; returns their number.
size_t write_drawings(const std::filesystem::path& folder, const Report& report);
/// Writes one CSV file for each figure, heat map and table into a folder; returns their number.
size_t write_numbers(const std::filesystem::path& folder, const Report& report);

}  // namespace sculpt
