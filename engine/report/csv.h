#pragma once
// The numbers of a report as comma-separated values (RFC 4180), one row per observation.

#include <string>
#include <string_view>
#include <vector>

#include "engine/report/figure.h"
#include "engine/report/report.h"

namespace sculpt {

/// Returns the points of all series: series,<x>,<y> and, where a series has them, spread and label.
/// Values have as many digits as are needed to read them back bit for bit. A value that is not a
/// number is empty. On an axis that names its places, a value is the name.
std::string csv_of(const Figure& figure);
/// Returns one row for each point of the grid: <x>,<y>,<value>.
std::string csv_of(const HeatMap& map);
/// Returns the table with all digits of its numbers, and empty fields for missing values.
std::string csv_of(const Table& table);

/// Returns the text as one field: quoted if it holds a comma, a quote or a line break.
std::string csv_field(std::string_view text);

/// Returns one file for every figure, heat map and table, named NAME.csv. Names must be unique.
std::vector<ReportFile> csv_files(const Report& report);

}  // namespace sculpt
