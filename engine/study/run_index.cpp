#include "engine/study/run_index.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/study/index_file.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns a text that changes whenever the results of a run may have changed.
std::string stamp_of(const fs::path& folder) {
  std::string stamp;
  for (const char* name : {"config.toml", "environment.json", "summary.json"}) {
    std::error_code error;
    const fs::file_time_type time = fs::last_write_time(folder / name, error);
    if (error) {
      stamp += "-;";
      continue;
    }
    const std::uintmax_t size = fs::file_size(folder / name, error);
    stamp += fmt::format("{}:{};", time.time_since_epoch().count(), size);
  }
  return stamp;
}

/// Returns the path of a run folder as the index stores it.
std::string stored_path(const fs::path& folder, const fs::path& index) {
  return fs::absolute(folder)
      .lexically_normal()
      .lexically_proximate(fs::absolute(index).lexically_normal().parent_path())
      .string();
}

}  // namespace

IndexedRuns indexed_runs(const fs::path& index, const std::vector<fs::path>& folders,
                         RenamedKeys renamed) {
  IndexedRuns runs;
  IndexEntries before;
  try {
    before = read_index(index);
  } catch (const Error&) {
    // A damaged index is no loss: it is made again below.
  }
  IndexEntries now;
  bool changed = before.empty();
  for (const fs::path& folder : folders) {
    const std::string path = stored_path(folder, index);
    IndexEntry entry;
    entry.stamp = stamp_of(folder);
    const auto found = before.find(path);
    // Only a finished run stays as it is. Whether another is at work can change at any time.
    if (found != before.end() && found->second.stamp == entry.stamp &&
        found->second.row.status == name_of(RunStatus::finished)) {
      entry.row = found->second.row;
      entry.row.folder = folder.string();
      entry.row.real_folder = real_path(entry.row.folder);
    } else {
      try {
        const RunRecords records = read_run(folder, ReadRecords::results, renamed);
        runs.problems.insert(runs.problems.end(), records.problems.begin(), records.problems.end());
        entry.row = row_of(records);
      } catch (const Error& error) {
        runs.problems.push_back(fmt::format("{}.", error.what()));
        continue;
      }
      ++runs.read;
      changed = true;
    }
    runs.rows.push_back(entry.row);
    now.emplace(path, std::move(entry));
  }
  changed = changed || now.size() != before.size();
  if (!changed) return runs;
  try {
    write_index(index, now);
  } catch (const Error& error) {
    runs.not_written = error.what();
    runs.problems.push_back(fmt::format("{}.", error.what()));
  }
  return runs;
}

}  // namespace sculpt
