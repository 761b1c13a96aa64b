#include "engine/report/table_cells.h"

#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

std::string exact_text(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

TableCell::TableCell(std::string text) : shown(text), exact{std::move(text)} {}
TableCell::TableCell(const char* text) : TableCell(std::string(text)) {}
TableCell::TableCell(int64_t count) : TableCell(std::to_string(count)) {}
TableCell::TableCell(std::string text, double number)
    : shown(std::move(text)), exact{exact_text(number)} {}
TableCell::TableCell(std::string text, std::vector<std::string> exact_texts)
    : shown(std::move(text)), exact(std::move(exact_texts)) {}
TableCell::TableCell(std::string text, std::vector<double> exact_values) : shown(std::move(text)) {
  for (const double value : exact_values)
    exact.push_back(exact_text(value));
}

void set_columns(Table& table, const std::vector<TableColumn>& columns) {
  table.columns.clear();
  table.csv_columns.clear();
  for (const TableColumn& column : columns) {
    table.columns.push_back(column.name);
    if (column.csv_names.empty())
      table.csv_columns.push_back(column.name);
    else
      table.csv_columns.insert(table.csv_columns.end(), column.csv_names.begin(),
                               column.csv_names.end());
  }
}

void add_row(Table& table, const std::vector<TableCell>& cells) {
  std::vector<std::string> shown, exact;
  for (const TableCell& cell : cells) {
    shown.push_back(cell.shown);
    exact.insert(exact.end(), cell.exact.begin(), cell.exact.end());
  }
  SCULPT_CHECK(shown.size() == table.columns.size() && exact.size() == table.csv_columns.size(),
               "a row of the table '{}' has {} cells and {} CSV texts for {} and {} columns",
               table.name, shown.size(), exact.size(), table.columns.size(),
               table.csv_columns.size());
  table.rows.push_back(std::move(shown));
  table.csv_rows.push_back(std::move(exact));
}

}  // namespace sculpt
