#pragma once
// Shows the results of analyses: tables in the terminal, and files for reports.

#include <string>

#include "apps/sculpt_analyze/session.h"
#include "engine/report/analysis_file.h"
#include "engine/report/table_cells.h"

namespace sculpt::analyze {

/// Returns a fraction as a percentage with so many decimals, without the sign %; "-" if it is not a
/// number.
std::string percent(double fraction, int decimals = 2);
/// Returns a number with four significant digits; "-" if it is not a number.
std::string number(double value);

/// Return cells with the texts of percent() and number(). A CSV file has 100 * fraction, and the
/// number, with all digits.
TableCell percent_cell(double fraction);
TableCell number_cell(double value);

/// Prints title, tables and notes. Writes the analysis into the folder, if there is one, and prints
/// the path of the file, and for a run folder the command that writes a page with the analysis.
void present(const Analysis& analysis, const std::optional<std::filesystem::path>& folder);

/// Prints one table for a person.
void print(const Table& table);

}  // namespace sculpt::analyze
