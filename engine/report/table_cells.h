#pragma once
// Cells of tables: the text that a person reads, and the numbers with all digits that a CSV file
// has.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/report/figure.h"

namespace sculpt {

/// Returns the shortest text that is read back as the same number, bit for bit; "" if the value is
/// not finite.
std::string exact_text(double value);

struct TableColumn {
  std::string name;
  /// The names of the columns that a CSV file has in its place; empty if there is one of this name.
  std::vector<std::string> csv_names = {};
};

/// The text of a person, and a text for each CSV column.
struct TableCell {
  /// A text that is the same for both.
  TableCell(std::string text);                // NOLINT(google-explicit-constructor)
  TableCell(const char* text);                // NOLINT(google-explicit-constructor)
  TableCell(int64_t count);                   // NOLINT(google-explicit-constructor)
  TableCell(std::string text, double exact);  ///< a rounded number, and the number
  TableCell(std::string text, std::vector<double> exact_values);
  TableCell(std::string text, std::vector<std::string> exact_texts);

  std::string shown;
  std::vector<std::string> exact;
};

/// Sets the columns of a table. Rows come from add_row().
void set_columns(Table& table, const std::vector<TableColumn>& columns);
/// Adds a row, with one cell for each column.
void add_row(Table& table, const std::vector<TableCell>& cells);

}  // namespace sculpt
