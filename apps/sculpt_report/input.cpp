#include "apps/sculpt_report/input.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "apps/sculpt_run/key_names.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

struct Attempt {
  std::optional<RunRecords> run;
  std::string error;
};

Attempt try_to_read(const fs::path& folder, const RenamedKeys& renamed) {
  try {
    return {read_run(folder, ReadRecords::all, renamed), ""};
  } catch (const std::exception& error) {
    return {std::nullopt, error.what()};
  }
}

}  // namespace

std::vector<fs::path> run_folders(const std::vector<std::string>& inputs) {
  std::vector<fs::path> folders;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& folder) {
    std::error_code error;
    if (seen.insert(fs::canonical(folder, error)).second) folders.push_back(folder);
  };
  for (const std::string& input : inputs) {
    if (is_run_folder(input)) {
      add(input);
      continue;
    }
    const std::vector<fs::path> inside = find_runs(input);
    if (inside.empty())
      fail("there is no run in {}; give a run folder, or a folder with run folders in it", input);
    std::ranges::for_each(inside, add);
  }
  return folders;
}

ReadRuns read_runs(const std::vector<fs::path>& folders) {
  std::vector<Attempt> attempts(folders.size());
  std::atomic<size_t> next = 0;
  const RenamedKeys renamed = renamed_keys();
  const auto work = [&] {
    for (size_t i = next++; i < folders.size(); i = next++)
      attempts[i] = try_to_read(folders[i], renamed);
  };
  const size_t workers =
      std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()), folders.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread& thread : threads)
    thread.join();
  ReadRuns read;
  for (Attempt& attempt : attempts)
    if (attempt.run)
      read.runs.push_back(std::move(*attempt.run));
    else
      read.problems.push_back(fmt::format("A run is left out: {}.", attempt.error));
  if (read.runs.empty()) fail("{}", attempts.at(0).error);
  return read;
}

}  // namespace sculpt
