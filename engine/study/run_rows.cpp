#include "engine/study/run_rows.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/study/selection.h"

namespace sculpt {
namespace {

const std::vector<std::string> kOwnNames = {"folder", "status", "variant"};

/// Compares numbers as numbers, and puts them before texts. Empty texts come last.
bool less_value(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return !a.empty() && b.empty();
  const double x = number_in(a), y = number_in(b);
  if (std::isnan(x) != std::isnan(y)) return std::isnan(y);
  return std::isnan(x) ? a < b : x < y;
}

/// Takes the rows that repeat another one of the group out of its rows.
void take_repeats_out(RowGroup& group) {
  std::vector<ComparedRun> compared;
  for (const RunRow& row : group.rows) {
    const auto result = [&](const char* name) {
      const auto found = row.results.find(name);
      return found == row.results.end() ? NAN : found->second;
    };
    compared.push_back({row.folder, "", row.training, row.status == name_of(RunStatus::finished),
                        result("test_accuracy"), result("train_loss")});
  }
  group.repeats = find_repeats(compared);
  for (auto repeat = group.repeats.rbegin(); repeat != group.repeats.rend(); ++repeat)
    group.rows.erase(group.rows.begin() + static_cast<std::ptrdiff_t>(repeat->run));
}

bool ends_with_key(const std::string& name, const std::string& part) {
  return name.size() > part.size() && name.ends_with("." + part);
}

}  // namespace

std::string real_path(const std::string& folder) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(folder, error);
  return error ? "" : path.string();
}

RunRow row_of(const RunRecords& records) {
  RunRow row;
  row.folder = records.folder.string();
  row.real_folder = real_path(row.folder);
  row.status = name_of(records.status);
  row.settings = records.config;
  row.results = records.summary;
  return row;
}

std::string value_of(const RunRow& row, const std::string& name) {
  if (name == "folder") return row.folder;
  if (name == "status") return row.status;
  if (name == "variant") return row.variant;
  if (const auto found = row.results.find(name); found != row.results.end())
    return fmt::format("{}", found->second);
  const auto found = row.settings.find(name);
  return found == row.settings.end() ? "" : found->second;
}

std::vector<std::string> names_of(const std::vector<RunRow>& rows) {
  std::set<std::string> names(kOwnNames.begin(), kOwnNames.end());
  for (const RunRow& row : rows) {
    for (const auto& [key, value] : row.settings)
      names.insert(key);
    for (const auto& [key, value] : row.results)
      names.insert(key);
  }
  return {names.begin(), names.end()};
}

std::string full_name(const std::string& name, const std::vector<RunRow>& rows) {
  std::vector<std::string> names = names_of(rows), meant;
  if (std::ranges::find(names, name) != names.end()) return name;
  for (const std::string& full : names)
    if (ends_with_key(full, name)) meant.push_back(full);
  if (meant.size() == 1) return meant.front();
  if (meant.size() > 1) fail("'{}' may be {}; write the whole key", name, fmt::join(meant, " or "));
  const size_t full_names = names.size();
  for (size_t i = 0; i < full_names; ++i)
    names.push_back(names[i].substr(names[i].rfind('.') + 1));
  fail("the runs have no setting or result '{}'{}", name, did_you_mean(name, names));
}

Condition parse_condition(const std::string& text) {
  const size_t at = text.find_first_of("<>=!");
  const size_t end = at == std::string::npos ? at : text.find_first_not_of("<>=!", at);
  Condition condition;
  const auto trim = [](const std::string& part) {
    const size_t begin = part.find_first_not_of(" \"'"), last = part.find_last_not_of(" \"'");
    return begin == std::string::npos ? "" : part.substr(begin, last + 1 - begin);
  };
  if (end != std::string::npos) {
    condition.name = trim(text.substr(0, at));
    condition.comparison = text.substr(at, end - at);
    condition.value = trim(text.substr(end));
    if (condition.comparison == "==") condition.comparison = "=";
  }
  static const std::set<std::string> kComparisons = {"=", "!=", "<", "<=", ">", ">="};
  if (condition.name.empty() || condition.value.empty() ||
      !kComparisons.contains(condition.comparison))
    fail(
        "'{}' is not a condition; write KEY=VALUE, or !=, <, <=, >, >= in the place of =, for "
        "example 'prune.sparsity>=0.9'",
        text);
  return condition;
}

bool fulfils(const RunRow& row, const Condition& condition) {
  const std::string value = value_of(row, condition.name);
  const std::string& comparison = condition.comparison;
  if (comparison == "=") return !value.empty() && same_value(value, condition.value);
  if (comparison == "!=") return value.empty() || !same_value(value, condition.value);
  if (value.empty() || std::isnan(number_in(value)) != std::isnan(number_in(condition.value)))
    return false;
  const bool less = less_value(value, condition.value), more = less_value(condition.value, value);
  if (comparison == "<") return less;
  if (comparison == "<=") return !more;
  if (comparison == ">") return more;
  return !less;
}

void sort_rows(std::vector<RunRow>& rows, const std::string& name, bool descending) {
  std::ranges::stable_sort(rows, [&](const RunRow& a, const RunRow& b) {
    const std::string x = value_of(a, name), y = value_of(b, name);
    if (x.empty() || y.empty()) return !x.empty() && y.empty();
    return descending ? less_value(y, x) : less_value(x, y);
  });
}

std::vector<std::string> varying_keys(const std::vector<RunRow>& rows,
                                      const std::set<std::string>& ignored) {
  std::set<std::string> keys = {"variant"};
  for (const RunRow& row : rows)
    for (const auto& [key, value] : row.settings)
      keys.insert(key);
  std::vector<std::string> varying;
  for (const std::string& key : keys) {
    if (ignored.contains(key)) continue;
    const bool differs = std::ranges::any_of(rows, [&](const RunRow& row) {
      const std::string first = value_of(rows.front(), key), value = value_of(row, key);
      return first != value && !same_value(first, value);
    });
    if (differs) varying.push_back(key);
  }
  // The variant says most, so it comes first.
  std::ranges::stable_partition(varying, [](const std::string& key) { return key == "variant"; });
  return varying;
}

std::vector<RunRow> without_repeats(const std::vector<RunRow>& rows) {
  std::set<std::string> with_variant;
  for (const RunRow& row : rows)
    if (!row.variant.empty()) with_variant.insert(row.real_folder);
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<RunRow> kept;
  for (const RunRow& row : rows) {
    if (!row.real_folder.empty()) {
      if (row.variant.empty() && with_variant.contains(row.real_folder)) continue;
      if (!seen.emplace(row.real_folder, row.variant).second) continue;
    }
    kept.push_back(row);
  }
  return kept;
}

std::vector<RowGroup> group_rows(const std::vector<RunRow>& rows,
                                 const std::vector<std::string>& names) {
  std::vector<RowGroup> groups;
  std::map<std::vector<std::string>, size_t> place;
  for (const RunRow& row : rows) {
    std::vector<std::string> values;
    for (const std::string& name : names)
      values.push_back(value_of(row, name));
    const auto [found, first] = place.emplace(values, groups.size());
    if (first) groups.push_back({values, {}, {}});
    std::vector<RunRow>& members = groups[found->second].rows;
    const bool repeated =
        !row.real_folder.empty() &&
        std::ranges::find(members, row.real_folder, &RunRow::real_folder) != members.end();
    if (!repeated) members.push_back(row);
  }
  for (RowGroup& group : groups)
    take_repeats_out(group);
  return groups;
}

Sample sample_of(const std::vector<RunRow>& rows, const std::string& name) {
  std::vector<double> values;
  for (const RunRow& row : rows)
    values.push_back(number_in(value_of(row, name)));
  return describe(values);
}

std::vector<Difference> differences(const std::map<std::string, std::string>& first,
                                    const std::map<std::string, std::string>& second) {
  std::set<std::string> names;
  for (const auto& entries : {first, second})
    for (const auto& [name, value] : entries)
      names.insert(name);
  const auto text = [](const std::map<std::string, std::string>& entries, const std::string& name) {
    const auto found = entries.find(name);
    return found == entries.end() ? std::string() : found->second;
  };
  std::vector<Difference> all;
  for (const std::string& name : names) {
    const std::string a = text(first, name), b = text(second, name);
    if (!same_value(a, b)) all.push_back({name, a, b});
  }
  return all;
}

}  // namespace sculpt
