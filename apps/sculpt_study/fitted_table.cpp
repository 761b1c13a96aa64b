#include "apps/sculpt_study/fitted_table.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <unistd.h>

#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

/// Returns the columns that a table may take: those of the terminal, or of the variable COLUMNS.
/// Files and pipes without that variable get whole tables.
size_t table_width() {
  const char* const columns = std::getenv("COLUMNS");
  const bool limited =
      isatty(STDOUT_FILENO) != 0 || (columns != nullptr && std::strtol(columns, nullptr, 10) > 0);
  return limited ? out().width() : std::string::npos / 2;
}

/// Returns a table whose left-aligned columns are shortened where it is too wide, but not those of
/// `whole`.
TextTable shortened(std::vector<TextTable::Column> columns,
                    const std::vector<std::vector<std::string>>& rows,
                    const std::set<std::string>& whole) {
  for (TextTable::Column& column : columns)
    if (!column.right && !whole.contains(column.heading)) column.fit = TextTable::Fit::shorten;
  TextTable table(std::move(columns));
  for (const auto& row : rows)
    table.add(row);
  return table;
}

size_t widest_line(const TextTable& table, size_t width) {
  std::istringstream text(table.heading(width) + table.body(width));
  size_t widest = 0;
  for (std::string line; std::getline(text, line);)
    widest = std::max(widest, line.size());
  return widest;
}

}  // namespace

void print_table(const TextTable& table) {
  const size_t width = table_width();
  out().print(out().paint(Style::heading, table.heading(width)));
  out().print(table.body(width));
}

void print_fitted(const std::vector<TextTable::Column>& columns,
                  const std::vector<std::vector<std::string>>& rows,
                  const std::set<std::string>& last) {
  const TextTable some = shortened(columns, rows, last), all = shortened(columns, rows, {});
  const size_t width = table_width();
  print_table(widest_line(some, width) > width && widest_line(all, width) <= width ? all : some);
}

}  // namespace sculpt
