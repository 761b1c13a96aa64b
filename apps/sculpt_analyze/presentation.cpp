#include "apps/sculpt_analyze/presentation.h"

#include <cmath>

#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/shell_word.h"
#include "engine/run/run_reader.h"

namespace sculpt::analyze {

std::string percent(double fraction, int decimals) {
  return std::isfinite(fraction) ? fmt::format("{:.{}f}", 100 * fraction, decimals) : "-";
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : "-";
}

TableCell percent_cell(double fraction) {
  return {percent(fraction), 100 * fraction};
}

TableCell number_cell(double value) {
  return {number(value), value};
}

void print(const Table& table) {
  std::vector<TextTable::Column> columns;
  for (const std::string& heading : table.columns)
    columns.push_back({heading, !columns.empty(), TextTable::Fit::keep});
  TextTable text(columns);
  for (const auto& row : table.rows)
    text.add(row);
  if (!table.title.empty()) say("\n{}\n", table.title);
  out().print(out().paint(Style::heading, text.heading(out().width())));
  out().print(text.body(out().width()));
}

void present(const Analysis& analysis, const std::optional<std::filesystem::path>& folder) {
  say("\n{}\n", out().paint(Style::heading, analysis.title));
  for (const Table& table : analysis.tables)
    print(table);
  say("\n");
  for (const std::string& note : analysis.notes)
    say("{}\n", wrap("- " + note, out().width(), 2));
  if (!folder) return;
  write_analysis(*folder, analysis);
  // The page of the run was written before the analysis.
  say("written to {}{}\n", (RunFolder(*folder).analysis() / (analysis.name + ".json")).string(),
      is_run_folder(*folder)
          ? fmt::format("; sculpt_report {} shows it", shell_word(folder->string()))
          : "");
}

}  // namespace sculpt::analyze
