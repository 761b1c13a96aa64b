#pragma once
// Finds rows in the tables of things that a config chooses by name: methods, criteria, allocations,
// schedules, models, data sets. A table is an array of rows whose member `name` is unique.

#include <fmt/ranges.h>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace sculpt {

/// Returns the names of all rows, in the order of the table.
template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table)
    names.emplace_back(row.name);
  return names;
}

/// Returns the row of that name. Throws Error with the nearest name and all names if there is none.
/// `what` is what a row describes, as in "there is no criterion 'snap', did you mean ...".
template <class Table>
const auto& find_row(const Table& table, std::string_view name, std::string_view what) {
  for (const auto& row : table)
    if (row.name == name) return row;
  const std::vector<std::string> names = names_of(table);
  fail("there is no {} '{}'{}; there are: {}", what, name, did_you_mean(name, names),
       fmt::join(names, ", "));
}

}  // namespace sculpt
