#pragma once
// Prints tables that keep to the width of the terminal.

#include <set>
#include <string>
#include <vector>

#include "apps/sculpt_run/table.h"

namespace sculpt {

/// Prints a table with its heading. A terminal, or the variable COLUMNS, limits the width. Files
/// and pipes without that variable get whole tables.
void print_table(const TextTable& table);

/// Prints a table whose left-aligned cells are shortened where it is too wide. The columns of
/// `last` are shortened only if the table fits then, and not without that.
void print_fitted(const std::vector<TextTable::Column>& columns,
                  const std::vector<std::vector<std::string>>& rows,
                  const std::set<std::string>& last);

}  // namespace sculpt
