#include "apps/sculpt_study/tables.h"

#include <algorithm>
#include <cmath>

#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/report_context.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/fitted_table.h"
#include "apps/sculpt_study/indexed_runs.h"
#include "apps/sculpt_study/value_text.h"
#include "engine/run/run_reader.h"
#include "engine/study/run_rows.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

fs::path require_folder(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return path;
  throw UsageError(
      fmt::format("there is no folder {}; give the folder of a study, which sculpt_study names at "
                  "its end, or a "
                  "folder of runs",
                  path));
}

std::vector<std::string> full_names(const std::vector<std::string>& names,
                                    const std::vector<RunRow>& rows) {
  std::vector<std::string> full;
  for (const std::string& name : names)
    full.push_back(full_name(name, rows));
  return full;
}

/// Returns the keys that do not make a group of their own.
std::set<std::string> ignored_keys() {
  std::set<std::string> ignored = keys_without_effect();
  ignored.insert("seed");
  return ignored;
}

std::string cell(const RunRow& row, const std::string& name) {
  const auto found = row.results.find(name);
  return found == row.results.end() ? value_of(row, name) : value_text(found->second, name);
}

void print_runs(const std::vector<RunRow>& rows, const std::vector<std::string>& keys,
                const std::vector<std::string>& columns) {
  std::vector<TextTable::Column> headings = {{"folder", false}, {"state", false}};
  std::vector<std::string> names = keys;
  names.insert(names.end(), columns.begin(), columns.end());
  for (const std::string& name : keys)
    headings.push_back({name, false});
  for (const std::string& name : columns)
    headings.push_back({name});
  std::vector<std::vector<std::string>> lines;
  for (const RunRow& row : rows) {
    std::vector<std::string> cells = {row.folder, row.status};
    for (const std::string& name : names)
      cells.push_back(cell(row, name));
    lines.push_back(std::move(cells));
  }
  // A whole name of a folder can be given to other commands.
  print_fitted(headings, lines, {"folder"});
}

void print_groups(const std::vector<RunRow>& rows, const std::vector<std::string>& keys,
                  const std::vector<std::string>& columns, const LsCommand& command) {
  std::vector<RowGroup> groups = group_rows(rows, keys);
  std::vector<Repeat> repeats;
  for (const RowGroup& group : groups)
    repeats.insert(repeats.end(), group.repeats.begin(), group.repeats.end());
  if (!repeats.empty()) warn(repeats_sentence(repeats));
  if (!command.sort.empty()) {
    const std::string name = full_name(command.sort, rows);
    // Groups stand in the order of their means.
    std::ranges::stable_sort(groups, [&](const RowGroup& a, const RowGroup& b) {
      const double x = sample_of(a.rows, name).mean, y = sample_of(b.rows, name).mean;
      if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
      return command.descending ? x > y : x < y;
    });
  }
  std::vector<TextTable::Column> headings;
  for (const std::string& key : keys)
    headings.push_back({key, false});
  headings.push_back({"n"});
  for (const std::string& name : columns)
    headings.push_back({name});
  std::vector<std::vector<std::string>> lines;
  for (const RowGroup& group : groups) {
    std::vector<std::string> cells;
    for (const std::string& key : keys)
      cells.push_back(cell(group.rows.front(), key));
    const auto finished =
        std::ranges::count(group.rows, name_of(RunStatus::finished), &RunRow::status);
    const auto all = static_cast<int64_t>(group.rows.size());
    cells.push_back(finished == all ? std::to_string(all) : fmt::format("{} of {}", finished, all));
    for (const std::string& name : columns)
      cells.push_back(sample_text(sample_of(group.rows, name), name));
    lines.push_back(std::move(cells));
  }
  print_fitted(headings, lines, {"variant"});
}

constexpr size_t kShownProblems = 5;

void warn_of(const std::vector<std::string>& problems) {
  for (size_t i = 0; i < std::min(problems.size(), kShownProblems); ++i)
    warn(problems[i]);
  if (problems.size() > kShownProblems)
    warn(fmt::format("{} more",
                     counted(static_cast<int64_t>(problems.size() - kShownProblems), "problem")));
}

}  // namespace

void list_runs(const LsCommand& command) try {
  std::vector<RunRow> rows;
  std::vector<std::string> places = command.places;
  if (places.empty()) places.push_back("runs");
  for (const std::string& place : places) {
    IndexedRuns runs = indexed(require_folder(expand_home(place)));
    warn_of(runs.problems);
    rows.insert(rows.end(), runs.rows.begin(), runs.rows.end());
  }
  const ReportContext context = report_context("sculpt_study");
  for (RunRow& row : rows)
    row.training = training_of(row.settings, context.defaults, context.without_effect);
  rows = without_repeats(rows);
  if (rows.empty()) return say("there are no runs\n");
  const std::vector<RunRow> all = rows;
  for (const std::string& text : command.where) {
    Condition condition = parse_condition(text);
    condition.name = full_name(condition.name, all);
    std::erase_if(rows, [&](const RunRow& row) { return !fulfils(row, condition); });
  }
  if (rows.empty())
    return say("none of {} fulfils the conditions\n",
               counted(static_cast<int64_t>(all.size()), "run"));
  std::vector<std::string> columns = command.columns;
  if (columns.empty())
    for (const char* name : {"test_accuracy", "sparsity", "train_flops", "seconds"})
      if (std::ranges::any_of(rows, [&](const RunRow& row) { return row.results.contains(name); }))
        columns.push_back(name);
  columns = full_names(columns, all);
  if (command.runs) {
    if (!command.sort.empty()) sort_rows(rows, full_name(command.sort, all), command.descending);
    std::set<std::string> ignored = keys_without_effect();
    return print_runs(rows, varying_keys(rows, ignored), columns);
  }
  const std::vector<std::string> keys =
      command.by.empty() ? varying_keys(rows, ignored_keys()) : full_names(command.by, all);
  print_groups(rows, keys, columns, command);
} catch (const Error& error) {
  throw UsageError(error.what());
}

void print_difference(const DiffCommand& command) try {
  const auto read = [](const std::string& path) {
    return read_run(require_folder(expand_home(path)), ReadRecords::results, renamed_keys());
  };
  const RunRecords first = read(command.first), second = read(command.second);
  const auto results = [](const RunRecords& run) {
    std::map<std::string, std::string> texts = run.summary_texts;
    for (const auto& [key, value] : run.summary)
      texts[key] = number_text(value);
    texts["status"] = name_of(run.status);
    // These are settings, and stand with the settings.
    for (const char* key : {"method", "seed", "model", "data", "batch", "format"})
      texts.erase(key);
    return texts;
  };
  int64_t count = 0;
  const auto print = [&](const std::string& title, const std::map<std::string, std::string>& a,
                         const std::map<std::string, std::string>& b) {
    const std::vector<Difference> all = differences(a, b);
    if (all.empty()) return;
    TextTable table({{title, false, TextTable::Fit::keep},
                     {command.first, false, TextTable::Fit::wrap},
                     {command.second, false, TextTable::Fit::wrap}});
    for (const Difference& one : all)
      table.add({one.name, one.first, one.second});
    if (count > 0) say("\n");
    print_table(table);
    count += static_cast<int64_t>(all.size());
  };
  print("setting", first.config, second.config);
  print("version", first.environment, second.environment);
  print("result", results(first), results(second));
  if (count == 0) say("the two runs do not differ in settings, versions and results\n");
} catch (const Error& error) {
  throw UsageError(error.what());
}

void make_index(const IndexCommand& command) try {
  const fs::path folder = require_folder(expand_home(command.folder));
  if (is_run_folder(folder))
    fail("{} is one run, which needs no index; give the folder of a study, or a folder of runs",
         folder.string());
  if (!has_sqlite())
    throw UsageError(
        "this program was built without SQLite; install libsqlite3-dev and build again");
  std::error_code error;
  const fs::path index = index_of(folder);
  fs::remove(index, error);
  if (error)
    fail("the index {} cannot be made again: {}; make its folder writable", index.string(),
         error.message());
  const IndexedRuns runs = indexed(folder);
  if (!runs.not_written.empty()) fail("{}", runs.not_written);
  warn_of(runs.problems);
  say("{} in {}\n", counted(static_cast<int64_t>(runs.rows.size()), "run"), index.string());
} catch (const Error& error) {
  throw UsageError(error.what());
}

}  // namespace sculpt
