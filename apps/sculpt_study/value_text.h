#pragma once
// Shows settings, results and their statistics as text, and prints tables of them.

#include <set>
#include <string>
#include <vector>

#include "apps/sculpt_run/table.h"
#include "engine/study/statistics.h"

namespace sculpt {

/// Returns a number with up to six digits; "" if it is not a number.
std::string number_text(double value);

/// Returns a result in the unit that people read: "91.23 %", "4.46 T", "2m05s". `name` is the name
/// of the result. "" if the value is not a number.
std::string value_text(double value, const std::string& name);

/// Returns "91.23 ± 0.45 %" for a sample; "" if it is empty.
std::string sample_text(const Sample& sample, const std::string& name);

/// Prints a table with its heading. A terminal, or the variable COLUMNS, limits the width. Files
/// and pipes without that variable get whole tables.
void print_table(const TextTable& table);

/// Prints a table whose left-aligned cells are shortened where it is too wide. The columns of
/// `last` are shortened only if the table fits then, and not without that.
void print_fitted(const std::vector<TextTable::Column>& columns,
                  const std::vector<std::vector<std::string>>& rows,
                  const std::set<std::string>& last);

}  // namespace sculpt
