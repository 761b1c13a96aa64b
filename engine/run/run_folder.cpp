#include "engine/run/run_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <unistd.h>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/record_file.h"
#include "engine/run/records.h"
#include "engine/run/run_lock.h"

namespace sculpt {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kRewind = "rewind-epoch-";
constexpr std::string_view kState = "state-";
constexpr std::string_view kCycle = "cycle-";
constexpr std::string_view kExtension = ".safetensors";

std::string rewind_name(int64_t epoch) {
  return fmt::format("{}{}{}", kRewind, epoch, kExtension);
}

std::string cycle_name(int64_t cycle) {
  return fmt::format("{}{}{}", kCycle, cycle, kExtension);
}

std::string state_name(int64_t number) {
  return fmt::format("{}{:06}{}", kState, number, kExtension);
}

/// Returns the number in a name like "state-000012.safetensors", or -1 for a name that `name_of`
/// never produces.
template <class NameOf>
int64_t number_in(const std::string& name, std::string_view prefix, const NameOf& name_of) {
  if (!name.starts_with(prefix)) return -1;
  int64_t number = -1;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  return number >= 0 && name_of(number) == name ? number : -1;
}

/// Removes the suffix that marks a file as being written.
std::string complete_name(std::string name) {
  if (name.ends_with(kTemporarySuffix)) name.resize(name.size() - kTemporarySuffix.size());
  return name;
}

bool is_temporary(const fs::path& path) {
  return path.filename().string().ends_with(kTemporarySuffix);
}

/// Returns the entries of a folder whose complete name satisfies `is_ours`, or none if the folder
/// does not exist.
template <class IsOurs>
std::vector<fs::path> our_entries(const fs::path& folder, const IsOurs& is_ours) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (is_ours(complete_name(entry.path().filename().string()))) found.push_back(entry.path());
  return found;
}

/// Returns (number, path) of the files in a folder whose names `name_of` produces.
template <class NameOf>
std::vector<std::pair<int64_t, fs::path>> numbered_files(const fs::path& folder,
                                                         std::string_view prefix,
                                                         const NameOf& name_of) {
  std::vector<std::pair<int64_t, fs::path>> found;
  for (const fs::path& path : our_entries(folder, [](const auto&) { return true; })) {
    const int64_t number = number_in(path.filename().string(), prefix, name_of);
    if (number >= 0) found.emplace_back(number, path);
  }
  return found;
}

/// Returns the files in a run folder that Sculpt has written, including temporary files.
std::vector<fs::path> our_files(const RunFolder& run) {
  const std::vector<fs::path> names = {run.config(),         run.environment(), run.metrics(),
                                       run.layers(),         run.prunes(),      run.summary(),
                                       run.kernel_choices(), run.report(),      run.report_data()};
  auto found = our_entries(run.root(), [&](const std::string& name) {
    return std::ranges::any_of(names, [&](const fs::path& p) { return p.filename() == name; });
  });
  const auto checkpoints = our_entries(run.checkpoints(), [&](const std::string& name) {
    return name == run.final_checkpoint().filename() || name == run.end_state().filename() ||
           number_in(name, kRewind, rewind_name) >= 0 || number_in(name, kCycle, cycle_name) >= 0 ||
           number_in(name, kState, state_name) >= 0;
  });
  found.insert(found.end(), checkpoints.begin(), checkpoints.end());
  if (fs::is_directory(run.analysis())) found.push_back(run.analysis());
  return found;
}

}  // namespace

fs::path RunFolder::rewind_checkpoint(int64_t epoch) const {
  return checkpoints() / rewind_name(epoch);
}

fs::path RunFolder::state(int64_t number) const {
  return checkpoints() / state_name(number);
}

fs::path RunFolder::cycle_checkpoint(int64_t cycle) const {
  return checkpoints() / cycle_name(cycle);
}

std::vector<std::pair<int64_t, fs::path>> RunFolder::cycle_checkpoints() const {
  auto found = numbered_files(checkpoints(), kCycle, cycle_name);
  std::ranges::sort(found);
  return found;
}

std::vector<std::pair<int64_t, fs::path>> RunFolder::states() const {
  auto found = numbered_files(checkpoints(), kState, state_name);
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::vector<fs::path> RunFolder::files() const {
  std::vector<fs::path> found = our_files(*this);
  std::erase_if(found, is_temporary);
  return found;
}

bool RunFolder::empty() const {
  std::error_code error;
  const fs::file_status status = fs::status(root_, error);
  if (!fs::exists(status)) return true;
  if (!fs::is_directory(status))
    fail("{} is not a folder; choose another with --out", root_.string());
  const std::vector<fs::path> ours = our_files(*this);
  try {
    for (const auto& entry : fs::directory_iterator(root_)) {
      const bool half_written =
          is_temporary(entry.path()) && std::ranges::find(ours, entry.path()) != ours.end();
      if (!half_written && !RunLock::is_lock_name(entry.path().filename().string())) return false;
    }
  } catch (const fs::filesystem_error& e) {
    fail("cannot list the folder {}: {}", root_.string(), e.code().message());
  }
  return true;
}

bool RunFolder::finished() const {
  return fs::exists(summary()) && fs::exists(final_checkpoint());
}

bool RunFolder::has_records() const {
  return !RecordFile(metrics(), metrics_format()).empty() ||
         !RecordFile(layers(), layers_format()).empty() ||
         !RecordFile(prunes(), prunes_format()).empty();
}

void RunFolder::require_writable() const {
  fs::path nearest = fs::absolute(root_);
  std::error_code error;
  while (!fs::exists(fs::symlink_status(nearest, error)) && nearest.has_relative_path()) {
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory)
      fail("cannot make the folder {}: {}; choose another with --out", root_.string(),
           error.message());
    nearest = nearest.parent_path();
  }
  if (!fs::is_directory(nearest, error))
    fail("cannot make the folder {}: {} is not a folder; choose another with --out", root_.string(),
         nearest.string());
  if (access(nearest.c_str(), W_OK | X_OK) != 0)
    fail("cannot write to the folder {}: {}; choose another with --out", nearest.string(),
         std::generic_category().message(errno));
}

void RunFolder::prepare(const std::string& config_toml) const {
  const auto make = [](const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error)
      fail("cannot make the folder {}: {}; make its parent folder writable", folder.string(),
           error.message());
  };
  // The config is written first, so that whatever else lies in the folder can be assigned to its
  // run.
  make(root_);
  write_file(config(), config_toml);
  make(checkpoints());
  std::error_code ignored;  // a temporary file that stays behind does no harm
  for (const fs::path& path : our_files(*this))
    if (is_temporary(path)) fs::remove(path, ignored);
}

std::map<std::string, std::string> config_differences(
    const std::map<std::string, std::string>& stored,
    const std::map<std::string, std::string>& values, const std::set<std::string>& ignored) {
  std::map<std::string, std::string> differences;
  const auto compare = [&](const std::string& key, const std::string& before,
                           const std::string& now) {
    if (before != now && !ignored.count(key))
      differences[key] = fmt::format("{}: {} in the folder, {} now", key, before, now);
  };
  for (const auto& [key, now] : values) {
    const auto found = stored.find(key);
    compare(key, found == stored.end() ? "not set" : found->second, now);
  }
  for (const auto& [key, before] : stored)
    if (!values.count(key)) compare(key, before, "unknown");
  return differences;
}

void require_same_config(const RunFolder& folder, const std::map<std::string, std::string>& stored,
                         const std::map<std::string, std::string>& values,
                         const std::set<std::string>& ignored) {
  std::string lines;
  for (const auto& [key, line] : config_differences(stored, values, ignored))
    lines += "\n  " + line;
  if (!lines.empty())
    fail("{} belongs to another config:{}\ngive the same config, or another folder with --out",
         folder.root().string(), lines);
}

void require_same_inputs(const RunInputs& recorded, const RunInputs& now) {
  const auto compare = [](const std::string& what, const std::string& before,
                          const std::string& after, const std::string& fix) {
    if (before.empty() || after.empty() || before == after) return;
    throw OtherInputs(fmt::format(
        "{} has changed since the run was started: its fingerprint is {} now and was {} then; {}, "
        "or start a new run in another folder with --out",
        what, after, before, fix));
  };
  compare("the data set " + now.data_name, recorded.data, now.data,
          now.data_is_made ? "the program makes this data set, so use the program that the run was "
                             "started with"
                           : "restore the files in data.root");
  compare("the file of model.init_from, " + now.initial_path + ",", recorded.initial, now.initial,
          "restore the file");
  for (const auto& [path, fingerprint] : now.loaded)
    if (const auto found = recorded.loaded.find(path); found != recorded.loaded.end())
      compare("the file that the plan loads from " + path, found->second, fingerprint,
              "restore the file");
}

}  // namespace sculpt
