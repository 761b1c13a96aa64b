#include "engine/run/run_reader.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "engine/config/config.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/json_format.h"
#include "engine/run/lock_holder.h"
#include "engine/run/record_lines.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_lock.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr FileFormat kEnvironment{"sculpt-environment", 1}, kAnalysis{"sculpt-analysis", 1};

/// Returns "2, 5 to 7 and 9" for ascending numbers.
std::string ranges_text(const std::vector<int64_t>& numbers) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1)
      ++last;
    parts.push_back(last == i ? fmt::format("{}", numbers[i])
                              : fmt::format("{} to {}", numbers[i], numbers[last]));
    i = last + 1;
  }
  if (parts.size() < 2) return parts.empty() ? "" : parts[0];
  const std::string end = parts.back();
  parts.pop_back();
  return fmt::format("{} and {}", fmt::join(parts, ", "), end);
}

/// Reads one run folder into its records.
class Reader {
 public:
  Reader(const fs::path& folder, RenamedKeys renamed) : files_(folder), renamed_(renamed) {
    run_.folder = folder;
  }

  RunRecords read(ReadRecords what) {
    run_.status = status();
    read_config();
    read_environment();
    if (run_.finished()) read_summary();
    if (run_.finished()) complete_config();
    read_analyses();
    if (what == ReadRecords::all) {
      const size_t problems = run_.problems.size();
      run_.epochs = read_epochs(files_.metrics(), run_.finished(), run_.problems);
      if (run_.finished())
        require_all_epochs(static_cast<int64_t>(run_.problems.size() - problems));
      run_.layers = read_layers(files_.layers(), run_.finished(), run_.problems);
      run_.prunes = read_prunes(files_.prunes(), run_.finished(), run_.problems);
    }
    return std::move(run_);
  }

 private:
  void problem(const fs::path& file, const std::string& what) {
    run_.problems.push_back(fmt::format("{} {}.", file.string(), what));
  }

  RunStatus status() const {
    if (files_.finished()) return RunStatus::finished;
    return is_locked(files_.root()) ? RunStatus::running : RunStatus::stopped;
  }

  void read_config() {
    try {
      run_.config = flatten_config(read_text(files_.config()), files_.config().string(), renamed_);
    } catch (const NewerFormat&) {
      throw;
    } catch (const Error& error) {
      run_.config_is_whole = false;
      run_.problems.push_back(
          fmt::format("The settings of the run are missing: {}.", error.what()));
    }
    for (auto& [key, value] : run_.config) {
      if (value.empty() || value.front() != '"') continue;
      const Json plain = Json::parse(value, nullptr, /*allow_exceptions=*/false);
      value = plain.is_string() ? plain.get<std::string>() : value.substr(1, value.size() - 2);
    }
  }

  /// Gives the config of a finished run the values that summary.json has, too, where it lacks them.
  /// A config that sculpt_run has written has every key.
  void complete_config() {
    std::vector<std::string> lacking;
    for (const char* key :
         {"method", "seed", "model.name", "data.name", "train.epochs", "optim.lr"})
      if (!run_.config.contains(key)) lacking.emplace_back(key);
    if (lacking.empty()) return;
    if (run_.config_is_whole)
      problem(files_.config(), fmt::format("is damaged, so settings of the run are missing: it has "
                                           "no {}",
                                           fmt::join(lacking, ", ")));
    run_.config_is_whole = false;
    const auto take = [&](const char* key, const char* from) {
      const auto found = run_.summary_texts.find(from);
      if (found != run_.summary_texts.end()) run_.config.emplace(key, found->second);
    };
    take("method", "method");
    take("model.name", "model");
    take("data.name", "data");
    if (const double seed = run_.result("seed"); std::isfinite(seed))
      run_.config.emplace("seed", fmt::format("{:.0f}", seed));
  }

  /// Notes epochs of a finished run that have no record, unless damaged lines explain them.
  void require_all_epochs(int64_t damaged_lines) {
    const double epochs = run_.result("epochs");
    if (!std::isfinite(epochs) || epochs > 1e7) return;
    std::vector<bool> seen(static_cast<size_t>(std::max(0.0, epochs)) + 1);
    for (const EpochMetrics& epoch : run_.epochs)
      if (epoch.epoch > 0 && static_cast<size_t>(epoch.epoch) < seen.size())
        seen[static_cast<size_t>(epoch.epoch)] = true;
    std::vector<int64_t> missing;
    for (size_t epoch = 1; epoch < seen.size(); ++epoch)
      if (!seen[epoch]) missing.push_back(static_cast<int64_t>(epoch));
    if (static_cast<int64_t>(missing.size()) <= damaged_lines) return;
    problem(files_.metrics(),
            fmt::format("is damaged or missing: it has no record of epoch{} {}, so curves lack {}",
                        missing.size() == 1 ? "" : "s", ranges_text(missing),
                        missing.size() == 1 ? "it" : "them"));
  }

  /// Returns the object in a JSON file. Returns an empty object, and notes the problem with what is
  /// missing without the file, if the file is missing or damaged.
  Json read_object(const fs::path& file, const FileFormat& format, const std::string& missing) {
    Json object = Json::object();
    try {
      object = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
    } catch (const Error& error) {
      problem(file, fmt::format("cannot be read, so {}: {}", missing, error.what()));
      return Json::object();
    }
    if (!object.is_object()) {
      problem(file, fmt::format("is damaged, so {}: it is not a JSON object", missing));
      return Json::object();
    }
    const std::string written = format_of(object);
    if (age_of(written, format) == FormatAge::newer) require_known(written, format, file.string());
    return object;
  }

  void read_environment() {
    const Json values = read_object(files_.environment(), kEnvironment,
                                    "program, machine and data of the run are unknown");
    for (const auto& [key, value] : values.items()) {
      if (value.is_string())
        run_.environment[key] = value.get<std::string>();
      else if (value.is_number())
        run_.environment[key] = value.dump();
    }
  }

  void read_summary() {
    const size_t problems = run_.problems.size();
    const Json values =
        read_object(files_.summary(), summary_format(), "the run does not count as finished");
    for (const auto& [key, value] : values.items()) {
      if (value.is_string())
        run_.summary_texts[key] = value.get<std::string>();
      else if (value.is_number())
        run_.summary[key] = value.get<double>();
    }
    // Without its result, the run does not count as finished. sculpt_run --resume knows what to do.
    if (std::isfinite(run_.result("test_accuracy"))) return;
    run_.status = RunStatus::stopped;
    if (run_.problems.size() == problems)
      problem(files_.summary(),
              "is damaged, so the run does not count as finished: it has no test_accuracy");
  }

  void read_analyses() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(files_.root() / "analysis", error)) {
      const fs::path& file = entry.path();
      if (file.extension() != ".json") continue;
      const Json analysis = read_analysis(file);
      const auto values = analysis.find("values");
      if (values == analysis.end() || !values->is_object()) continue;
      for (const auto& [name, value] : values->items())
        if (value.is_number())
          run_.analyses[file.stem().string() + "." + name] = value.get<double>();
    }
  }

  /// Returns the object in an analysis file. A run is shown without an analysis that is damaged or
  /// that a newer program has made.
  Json read_analysis(const fs::path& file) {
    Json object;
    try {
      object = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
      if (!object.is_object()) fail("{} is damaged: it is not a JSON object", file.string());
      if (age_of(format_of(object), kAnalysis) == FormatAge::newer)
        require_known(format_of(object), kAnalysis, file.string());
    } catch (const Error& error) {
      run_.unread_analyses[file] = fmt::format("An analysis is left out: {}.", error.what());
      return Json::object();
    }
    return object;
  }

  RunFolder files_;
  RenamedKeys renamed_;
  RunRecords run_;
};

/// Adds the run folders in `folder` to `found`. `seen` has the folders that were visited, because
/// symbolic links may lead back to one of them.
void add_runs(const fs::path& folder, std::set<fs::path>& seen, std::vector<fs::path>& found) {
  std::error_code error;
  if (!seen.insert(fs::canonical(folder, error)).second) return;
  if (is_run_folder(folder)) {
    found.push_back(folder);
    return;
  }
  std::vector<fs::path> inner;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_directory(error)) inner.push_back(entry.path());
  // The order of a folder's entries differs between file systems.
  std::sort(inner.begin(), inner.end());
  for (const fs::path& path : inner)
    add_runs(path, seen, found);
}

}  // namespace

const char* name_of(RunStatus status) {
  switch (status) {
    case RunStatus::finished:
      return "finished";
    case RunStatus::running:
      return "running";
    case RunStatus::stopped:
      return "stopped";
  }
  return "";
}

std::vector<std::string> RunRecords::all_problems() const {
  std::vector<std::string> all = problems;
  for (const auto& [file, sentence] : unread_analyses)
    all.push_back(sentence);
  return all;
}

const std::string& RunRecords::setting(const std::string& key) const {
  static const std::string none;
  const auto found = config.find(key);
  return found == config.end() ? none : found->second;
}

double RunRecords::result(const std::string& key) const {
  const auto found = summary.find(key);
  return found == summary.end() ? NAN : found->second;
}

bool is_run_folder(const fs::path& folder) {
  const RunFolder files(folder);
  std::error_code error;
  if (!fs::is_regular_file(files.config(), error)) return false;
  const fs::path others[] = {files.environment(), files.metrics(), files.prunes(),
                             files.layers(),      files.summary(), files.checkpoints()};
  return std::any_of(std::begin(others), std::end(others),
                     [&](const fs::path& file) { return fs::exists(file, error); });
}

bool is_locked(const fs::path& folder) {
  const fs::path lock = folder / RunLock::kName;
  std::error_code error;
  const fs::file_time_type touched = fs::last_write_time(lock, error);
  if (error) return false;
  std::optional<LockHolder> holder;
  try {
    holder = parse_holder(read_text(lock));
  } catch (const Error&) {
    return false;  // the run has just released the lock
  }
  if (!holder) return false;
  const Life life = life_of(*holder);
  if (life != Life::unknown) return life == Life::alive;
  // A process on another machine touches the lock every few seconds. Clocks of two machines may
  // differ by a little, which moves this moment by as much.
  return fs::file_time_type::clock::now() - touched < LockTiming{}.stale;
}

RunRecords read_run(const fs::path& folder, ReadRecords what, RenamedKeys renamed) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    fail("there is no folder {}; give the folder of a run, which sculpt_run names at its end",
         folder.string());
  if (!is_run_folder(folder))
    fail(
        "{} is not a run folder: it has no config.toml with an environment.json or records "
        "beside it; give the folder of a run, which sculpt_run names at its end",
        folder.string());
  return Reader(folder, renamed).read(what);
}

std::vector<fs::path> find_runs(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) fail("there is no folder {}", folder.string());
  std::vector<fs::path> found;
  std::set<fs::path> seen;
  add_runs(folder, seen, found);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace sculpt
