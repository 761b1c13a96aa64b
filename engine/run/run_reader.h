#pragma once
// Reads everything that a run has recorded in its folder, whether the run has finished, is still
// training, or was killed. Reports, studies and their index use it. Nothing is locked or changed.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/config_document.h"
#include "engine/run/records.h"

namespace sculpt {

/// One line of layers.jsonl.
struct LayerRecord {
  int64_t plan_step = 0;   ///< index of the step in the plan, from 0
  int64_t epoch = 0;       ///< epochs trained before the masks changed
  std::string changed_by;  ///< criterion of a prune, name of a rule, or name of an intervention
  bool is_prune = false;
  std::string layer;  ///< name of the weight
  int64_t count = 0;  ///< weights of the layer
  int64_t kept = 0;
};

/// One line of prunes.jsonl. Accuracies are fractions; values that were not measured are not a
/// number.
struct PruneRecord {
  int64_t plan_step = 0;
  int64_t epoch = 0;
  std::string criterion;
  std::string allocation;
  double density = NAN;  ///< what the prune was asked for
  int64_t prunable = 0;
  int64_t kept = 0;
  double test_loss = NAN;
  double test_accuracy = NAN;
};

/// A run that has not finished is either at work (a process holds its lock) or stopped. A run whose
/// summary.json is damaged counts as stopped.
enum class RunStatus { finished, running, stopped };
/// Returns "finished", "running" or "stopped".
const char* name_of(RunStatus status);

struct RunRecords {
  std::filesystem::path folder;
  RunStatus status = RunStatus::stopped;
  /// The resolved config: "section.key" -> value as text, without the quotes of TOML texts.
  std::map<std::string, std::string> config;
  /// False if config.toml cannot be read or lacks keys. Of a finished run, the config then has
  /// method, seed, model and data from summary.json.
  bool config_is_whole = true;
  /// The top-level values of environment.json that are texts or numbers, as text.
  std::map<std::string, std::string> environment;
  std::vector<EpochMetrics> epochs;
  std::vector<LayerRecord> layers;
  std::vector<PruneRecord> prunes;
  /// All numbers of summary.json by key. A value that was not measured is missing. Empty unless the
  /// run has finished.
  std::map<std::string, double> summary;
  /// All texts of summary.json by key.
  std::map<std::string, std::string> summary_texts;
  /// The values of the analyses of the run (RUN_FOLDER/analysis/<name>.json), as "<name>.<value>".
  std::map<std::string, double> analyses;
  /// One whole sentence for every record besides analyses that could not be read, with the name of
  /// its file, its line, and what is missing without it. Of a finished run, also for epochs without
  /// a record.
  std::vector<std::string> problems;
  /// A whole sentence for each analysis file that could not be read.
  std::map<std::filesystem::path, std::string> unread_analyses;

  /// Returns all sentences about what could not be read.
  std::vector<std::string> all_problems() const;
  bool finished() const { return status == RunStatus::finished; }
  /// Returns the value of a key of the config; "" if the config lacks it.
  const std::string& setting(const std::string& key) const;
  /// Returns a number of the summary; not a number if it is missing.
  double result(const std::string& key) const;
  /// Returns true if training diverged, which ended the run.
  bool diverged() const { return !epochs.empty() && epochs.back().diverged; }
};

/// Says which records are read. Reading the epochs and layers of a thousand runs takes longer than
/// reading their results.
enum class ReadRecords { all, results };

/// Returns true if the folder looks like a run folder: it has a config.toml and an
/// environment.json or a record.
bool is_run_folder(const std::filesystem::path& folder);

/// Returns true if a process is at work in the folder, which may not have records yet. A lock on
/// another machine counts until it has not been touched for some minutes.
bool is_locked(const std::filesystem::path& folder);

/// Reads a run folder. The keys of an older config get the names that `renamed` gives them. A line
/// that a process is just writing is left out. Damaged lines and files are left out, too, and named
/// in `problems`. Throws Error naming the folder and the fix if it is not a run folder, and
/// NewerFormat naming the file if a newer program wrote it.
RunRecords read_run(const std::filesystem::path& folder, ReadRecords what = ReadRecords::all,
                    RenamedKeys renamed = {});

/// Returns the run folders in `folder` and in its subfolders, sorted by path. Folders of earlier
/// runs (earlier-<n>) and folders inside run folders are left out. Symbolic links to folders are
/// followed, and a run that two paths lead to is returned once.
std::vector<std::filesystem::path> find_runs(const std::filesystem::path& folder);

}  // namespace sculpt
