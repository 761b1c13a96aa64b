#include "apps/sculpt_study/value_text.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <unistd.h>

#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

/// Says how the values of a column are shown.
struct Unit {
  double factor = 1;
  int digits = -1;  ///< after the point; -1: as many as the value needs
  const char* suffix = "";
};

Unit unit_of(const std::string& name) {
  if (name.ends_with("accuracy") || name.ends_with("accuracy_at_final_density"))
    return {100, 2, " %"};
  if (name == "sparsity" || name == "density_mean") return {100, 2, " %"};
  if (name.ends_with("_vs_dense") || name.ends_with("_loss")) return {1, 4, ""};
  return {};
}

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

std::string number_text(double value) {
  return std::isnan(value) ? "" : fmt::format("{:.6g}", value);
}

std::string value_text(double value, const std::string& name) {
  if (std::isnan(value)) return "";
  const Unit unit = unit_of(name);
  if (name == "seconds" || name.ends_with("_seconds")) return duration_text(value);
  if (unit.digits < 0) return std::fabs(value) >= 1e6 ? count_text(value) : number_text(value);
  return fmt::format("{:.{}f}{}", unit.factor * value, unit.digits, unit.suffix);
}

std::string sample_text(const Sample& sample, const std::string& name) {
  if (sample.n == 0) return "";
  const Unit unit = unit_of(name);
  if (std::isnan(sample.deviation)) return value_text(sample.mean, name);
  if (name == "seconds" || name.ends_with("_seconds"))
    return fmt::format("{} ± {}", duration_text(sample.mean), duration_text(sample.deviation));
  if (unit.digits < 0)
    return std::fabs(sample.mean) >= 1e6
               ? fmt::format("{} ± {}", count_text(sample.mean), count_text(sample.deviation))
               : fmt::format("{:.6g} ± {:.2g}", sample.mean, sample.deviation);
  return fmt::format("{:.{}f} ± {:.{}f}{}", unit.factor * sample.mean, unit.digits,
                     unit.factor * sample.deviation, unit.digits, unit.suffix);
}

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
