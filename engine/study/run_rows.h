#pragma once
// Runs as rows of a table: what `sculpt_study ls` filters, sorts and groups.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/run/run_reader.h"
#include "engine/study/repeats.h"
#include "engine/study/statistics.h"

namespace sculpt {

struct RunRow {
  std::string folder;
  /// The folder without links. Rows with the same one are one run, which several variants or
  /// studies share. "" is no folder.
  std::string real_folder;
  std::string status;                           ///< name of a RunStatus or of a StudyRunStatus
  std::string variant;                          ///< name of the variant in a study; "" elsewhere
  std::map<std::string, std::string> settings;  ///< the config: key -> text
  std::map<std::string, double> results;        ///< numbers of summary.json
  std::string training = {};                    ///< see training_of(); "" if it is not known
};

/// Returns the path of a folder without links; "" if there is no such folder.
std::string real_path(const std::string& folder);

/// Returns the row of a run.
RunRow row_of(const RunRecords& records);

/// Returns the value of "folder", "status", "variant", a setting or a result, as text; "" if the
/// row has none.
std::string value_of(const RunRow& row, const std::string& name);

/// Returns all names that value_of() knows for at least one of the rows.
std::vector<std::string> names_of(const std::vector<RunRow>& rows);

/// Returns the full name for a name or for its last part: "prune.sparsity" for "sparsity", if no
/// result is called so and one key only ends so. Throws Error with the nearest name, or with all
/// that are meant.
std::string full_name(const std::string& name, const std::vector<RunRow>& rows);

/// A condition of `--where`: "prune.sparsity>=0.9".
struct Condition {
  std::string name;
  std::string comparison;  ///< "=", "!=", "<", "<=", ">" or ">="
  std::string value;
};
/// Throws Error naming the text and the form if the text is not a condition.
Condition parse_condition(const std::string& text);

/// Returns true if the row fulfils the condition. Two numbers compare as numbers, and other texts
/// compare as texts. A row without a value fulfils only "!=".
bool fulfils(const RunRow& row, const Condition& condition);

/// Sorts rows by a name, ascending: numbers before texts, rows without a value last. Rows with the
/// same value keep their order.
void sort_rows(std::vector<RunRow>& rows, const std::string& name, bool descending = false);

/// Returns the keys of settings, and "variant", that have different values in the rows. The keys of
/// `ignored` are left out.
std::vector<std::string> varying_keys(const std::vector<RunRow>& rows,
                                      const std::set<std::string>& ignored);

/// Removes rows that say nothing new about a run: of rows with the same real folder and the same
/// variant the first one stays, and a row without a variant goes if another one has a variant. So a
/// run that two variants share has a row for each of them.
std::vector<RunRow> without_repeats(const std::vector<RunRow>& rows);

/// Rows that have the same values for some names.
struct RowGroup {
  std::vector<std::string> values;  ///< one for each name
  std::vector<RunRow> rows;
  std::vector<Repeat> repeats;  ///< the runs that are left out because they repeat one of the rows
};
/// Returns the groups in the order in which their first rows stand. A group has each real folder
/// once, and of runs with the same settings and the same seed one.
std::vector<RowGroup> group_rows(const std::vector<RunRow>& rows,
                                 const std::vector<std::string>& names);

/// Returns the statistic of a number of the rows: a result, or a setting that is a number.
Sample sample_of(const std::vector<RunRow>& rows, const std::string& name);

/// One line of `sculpt_study diff`.
struct Difference {
  std::string name;
  std::string first, second;  ///< "" if the run does not have the value
};
/// Returns the entries that differ, sorted by name. Numbers compare as numbers.
std::vector<Difference> differences(const std::map<std::string, std::string>& first,
                                    const std::map<std::string, std::string>& second);

}  // namespace sculpt
