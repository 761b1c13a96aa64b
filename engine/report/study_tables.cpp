#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <set>

#include "engine/report/provenance.h"
#include "engine/report/run_figures.h"
#include "engine/report/study_figures.h"
#include "engine/report/table_cells.h"
#include "engine/report/ticks.h"
#include "engine/study/statistics.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostValues = 12;
constexpr const char* kNone = "\u2013";

std::string or_none(const std::string& text) {
  return text.empty() ? kNone : text;
}

/// Returns the column of a mean with its standard deviation.
TableColumn spread_column(const std::string& name) {
  return {name, {name, name + ", standard deviation"}};
}

/// Returns "61.64 ± 0.31", or "61.64" for a single run.
TableCell spread_cell(const RunGroup& group, const char* key, double factor, int decimals) {
  std::vector<double> values;
  for (const ReportedRun* run : group.runs)
    values.push_back(factor * run->records.result(key));
  const Sample spread = describe(values);
  std::string text = or_none(fixed_text(spread.mean, decimals));
  // Costs that are counted and not measured are the same for all seeds.
  if (spread.n >= 2 && spread.error_bar() >= 1e-9 * std::abs(spread.mean))
    text += " \u00b1 " + fixed_text(spread.error_bar(), decimals);
  return {std::move(text), std::vector<double>{spread.mean, spread.deviation}};
}

std::string state_of(const ReportedRun& run) {
  if (run.failed) return run.records.diverged() ? "diverged" : "failed";
  if (!run.repeats.empty()) return "repeats " + run.repeats;
  if (run.records.finished() || run.records.epochs.empty()) return name_of(run.records.status);
  return fmt::format("{}, epoch {}", name_of(run.records.status), run.records.epochs.back().epoch);
}

/// Returns the path from the folder `place` to the page of the run; "" if there is no page, or if
/// it does not lie below that folder.
std::string link_to(const ReportedRun& run, const fs::path& place) {
  std::error_code error;
  // A run that failed before it had a folder has none.
  if (place.empty() || run.records.folder.empty()) return "";
  const fs::path page = fs::absolute(run.records.folder).lexically_normal() / "report.html";
  if (!fs::is_regular_file(page, error)) return "";
  const fs::path path = page.lexically_relative(fs::absolute(place).lexically_normal());
  return path.empty() || *path.begin() == ".." || *path.begin() == "." ? "" : path.string();
}

/// Compares numbers as numbers, and other texts by their letters.
bool comes_before(const std::string& a, const std::string& b) {
  char *end_a = nullptr, *end_b = nullptr;
  const double x = std::strtod(a.c_str(), &end_a), y = std::strtod(b.c_str(), &end_b);
  const bool numbers = !a.empty() && !b.empty() && *end_a == '\0' && *end_b == '\0';
  return numbers && x != y ? x < y : a < b;
}

/// Maps each key to its values and to the number of runs that have each.
std::map<std::string, std::map<std::string, size_t>> values_of(
    const std::vector<ReportedRun>& runs) {
  std::map<std::string, std::map<std::string, size_t>> values;
  for (const ReportedRun& run : runs)
    for (const auto& [key, value] : run.records.config)
      if (key != "format") ++values[key][value];
  return values;
}

}  // namespace

Table group_table(const std::vector<RunGroup>& groups) {
  Table table;
  table.name = "results";
  table.title = "Results";
  table.caption = "Means \u00b1 standard deviations (n \u2212 1) over the runs.";
  double most = 0;
  for (const RunGroup& group : groups)
    for (const ReportedRun* run : group.runs)
      most = std::max(most, run->records.result("train_flops"));
  const FlopsUnit unit = flops_unit(most);
  set_columns(table, {{""},
                      {"sparsity (%)"},
                      {"runs"},
                      spread_column(groups.empty() ? "accuracy (%)"
                                                   : measured_on(groups[0].runs[0]->records) +
                                                         " accuracy (%)"),
                      spread_column("training loss"),
                      spread_column(unit.label),
                      spread_column("seconds")});
  for (const RunGroup& group : groups) {
    const double sparsity = 100 * (1 - group.density);
    add_row(table, {group.series,
                    {number_text(sparsity, 4), sparsity},
                    static_cast<int64_t>(group.runs.size()),
                    spread_cell(group, "test_accuracy", 100, 2),
                    spread_cell(group, "train_loss", 1, 4),
                    spread_cell(group, "train_flops", unit.factor, 3),
                    spread_cell(group, "seconds", 1, 0)});
  }
  return table;
}

Table run_table(const std::vector<ReportedRun>& runs, const fs::path& place) {
  Table table;
  table.name = "runs";
  double most = 0;
  for (const ReportedRun& run : runs)
    if (run.records.finished()) most = std::max(most, run.records.result("train_flops"));
  const FlopsUnit unit = flops_unit(most);
  set_columns(table, {{"run"},
                      {"series"},
                      {"seed"},
                      {"sparsity (%)"},
                      {"accuracy (%)"},
                      {"training loss"},
                      {unit.label},
                      {"seconds"},
                      {"state"}});
  for (const ReportedRun& run : runs) {
    const RunRecords& records = run.records;
    const double sparsity = 100 * records.result("sparsity");
    const auto fixed = [&](double value, int decimals) {
      return TableCell(or_none(fixed_text(value, decimals)), value);
    };
    add_row(table, {run.name,
                    run.series,
                    records.setting("seed"),
                    {or_none(number_text(sparsity, 4)), sparsity},
                    fixed(100 * records.result("test_accuracy"), 2),
                    fixed(records.result("train_loss"), 4),
                    fixed(unit.factor * records.result("train_flops"), 3),
                    fixed(records.result("seconds"), 1),
                    state_of(run)});
    table.links.push_back(link_to(run, place));
  }
  return table;
}

Table differing_settings(const std::vector<ReportedRun>& runs) {
  Table table;
  table.name = "differing-settings";
  table.title = "Settings that differ";
  table.columns = {"key", "values (number of runs)"};
  for (const auto& [key, values] : values_of(runs)) {
    size_t count = 0;
    for (const auto& [value, of_value] : values)
      count += of_value;
    if (values.size() < 2 && count == runs.size()) continue;
    std::vector<std::string> texts;
    for (const auto& [value, of_value] : values)
      texts.push_back(value);
    std::ranges::sort(texts, comes_before);
    std::vector<std::string> parts;
    for (const std::string& text : texts) {
      if (parts.size() == kMostValues) {
        parts.push_back(fmt::format("and {} more", texts.size() - kMostValues));
        break;
      }
      parts.push_back(fmt::format("{} ({})", text.empty() ? "\"\"" : text, values.at(text)));
    }
    if (count < runs.size()) parts.push_back(fmt::format("not recorded ({})", runs.size() - count));
    table.rows.push_back({key, fmt::format("{}", fmt::join(parts, ", "))});
  }
  if (table.rows.empty()) table.caption = "All runs have the same settings.";
  return table;
}

Table common_settings(const std::vector<ReportedRun>& runs, const ReportContext& context) {
  Table table;
  table.name = "common-settings";
  table.title = "Settings that all runs share and that are not the defaults";
  table.columns = {"key", "value", "default"};
  for (const auto& [key, values] : values_of(runs)) {
    const auto normal = context.defaults.find(key);
    const std::string text = normal == context.defaults.end() ? "" : normal->second;
    if (values.size() != 1 || values.begin()->second != runs.size()) continue;
    if (normal != context.defaults.end() && values.begin()->first == text) continue;
    table.rows.push_back({key, values.begin()->first, text});
  }
  return table;
}

}  // namespace sculpt
