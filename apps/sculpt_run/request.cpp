#include "apps/sculpt_run/request.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/sculpt_run/run_name.h"
#include "engine/core/files.h"
#include "engine/core/nearest_name.h"
#include "engine/run/earlier_run.h"
#include "engine/run/kernel_choices.h"
#include "engine/run/run_store.h"
#include "engine/run/stored_config.h"

namespace sculpt {

namespace {

namespace fs = std::filesystem;
using ConfigValues = std::map<std::string, std::string>;

std::optional<std::pair<int64_t, int64_t>> steps_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  long long first = 0, last = 0;
  int used = 0;
  const int read = std::sscanf(text.c_str(), "%lld:%lld%n", &first, &last, &used);
  if (read != 2 || static_cast<size_t>(used) != text.size() || first < 0 || last < first)
    fail(
        "--profile {} is not a range of steps; write FIRST:LAST, two step numbers counted from 0, "
        "e.g. 100:109",
        text);
  return std::pair<int64_t, int64_t>(first, last);
}

/// Throws Error with a hint if the path in the place of the config does not exist.
void require_config_exists(const CommandLine& line) {
  const fs::path path(line.config);
  std::error_code error;
  if (fs::exists(fs::status(path, error)) || error == std::errc::permission_denied) return;
  std::vector<std::string> names;
  const fs::path parent = path.parent_path().empty() ? "." : path.parent_path();
  for (const auto& entry : fs::directory_iterator(parent, error))
    names.push_back((path.parent_path() / entry.path().filename()).string());
  const std::string near = did_you_mean(line.config, names);
  if (!line.resume && !line.restart)
    fail("there is no config {}{}; give the path of a TOML file", line.config, near);
  fail(
      "there is no run folder {}{}; give the folder that the run was started in (its last line "
      "names it), or start a run with sculpt_run CONFIG.toml --out {}",
      line.config, near, line.config);
}

/// Returns the run folder that stands in the place of the config; nothing if that path is a file.
std::optional<RunFolder> folder_as_config(const CommandLine& line) {
  std::error_code error;
  if (!fs::is_directory(line.config, error)) return std::nullopt;
  const RunFolder folder(line.config);
  if (!fs::exists(folder.config()))
    fail("{} is a folder without config.toml, so it is not a run folder; give a config file",
         line.config);
  if (!line.out.empty())
    fail("{} is a run folder, and --out names another; give {} to repeat the run there",
         line.config, folder.config().string());
  const bool runs = !line.plan && !line.describe;
  if (runs && !line.resume && !line.restart)
    fail("{} is a run folder; go on with --resume, or start over with --restart", line.config);
  stored_config(folder);  // throws if the file is empty or damaged
  return folder;
}

/// The run in the folder, as the folder's config describes it.
struct PresentRun {
  std::string hash;  ///< hash of the folder's config
  RunStore store;
  bool ended;  ///< true if all results exist, except perhaps a summary.json that can be written
               ///< again
  bool lost_summary;  ///< true if that summary.json is missing
};

/// Throws Error if config.toml is not the config that the run was trained with, or if a file is
/// missing or damaged without which the run can neither go on nor show its result.
PresentRun present_run(const RunFolder& folder, const ConfigValues& values) {
  const ConfigValues stored = stored_config(folder);
  const std::string hash = hash_config(stored, keys_without_effect());
  require_config_of_checkpoints(folder, hash, stored, values);
  PresentRun run{hash, RunStore(folder, hash), false, false};
  run.lost_summary = !fs::exists(folder.summary()) && run.store.has_ended();
  run.ended = folder.finished() || run.lost_summary;
  if (!run.ended) run.store.require_resumable();
  return run;
}

/// Throws Error if the finished run cannot be extended under the config of the request.
void require_extensible(const PresentRun& run, const Request& request, const ConfigValues& values) {
  const RunFolder& folder = request.folder;
  std::set<std::string> ignored = keys_without_effect();
  ignored.insert(keys_of_the_plan().begin(), keys_of_the_plan().end());
  require_same_config(folder, values, ignored);
  if (run.lost_summary)
    run.store.check_final_checkpoint();
  else
    run.store.check_result();
  const Plan done = read_options(folder.config().string(), {}).plan();
  run.store.require_extensible(done, run.hash, request.plan);
}

/// Decides how a run uses a folder that is not empty.
void choose_start(Request& request, const CommandLine& line, const ConfigValues& values) {
  const RunFolder& folder = request.folder;
  const std::string name = folder.root().string();
  if (!fs::exists(folder.config()))
    fail("{} is not empty and is not a run folder; choose another folder with --out", name);
  if (line.restart) {
    request.start = Start::restart;
    return;
  }
  if (!line.resume)
    fail(
        "{} holds a run already; go on with --resume, start over with --restart, or choose "
        "another folder with --out",
        name);
  const PresentRun run = present_run(folder, values);
  const auto differences = config_differences(folder, values, keys_without_effect());
  if (!differences.empty() && run.ended) {
    require_extensible(run, request, values);
    request.extended_hash = run.hash;
    request.start = Start::extend;
    return;
  }
  const bool plan_differs = std::ranges::any_of(
      differences, [](const auto& key) { return keys_of_the_plan().count(key.first) > 0; });
  try {
    require_same_config(folder, values, keys_without_effect());
  } catch (const Error& error) {
    fail("{}{}", error.what(),
         plan_differs ? "; a run can be given more steps once it has finished" : "");
  }
  request.start = run.ended ? Start::show_result : Start::go_on;
}

/// Reads the file model.init_from. A run that goes on does not need the file, so it may be missing
/// then.
std::optional<InitialNetwork> read_initial(const models::ModelOptions& model, Start start) {
  if (model.init_from.empty()) return std::nullopt;
  std::error_code error;
  if (!fs::exists(model.init_from, error)) {
    if (start != Start::fresh && start != Start::restart) return std::nullopt;
    fail("model.init_from: there is no file {}; give the path of a safetensors file",
         model.init_from);
  }
  const InitialParts parts = model.init_parts == "weights" ? InitialParts::weights
                             : model.init_parts == "masks" ? InitialParts::masks
                                                           : InitialParts::both;
  return InitialNetwork::read(model.init_from, parts);
}

/// Finds the recorded choices of kernels if the config lets kernels be timed. Kernels that a rule
/// chooses need no record.
void find_kernel_choices(const CommandLine& line, Request& request) {
  const TrainOptions& train = request.options.train;
  if (train.sparse != "tuned" && train.conv != "auto") return;
  const fs::path beside_config =
      fs::path(line.config).parent_path() / request.folder.kernel_choices().filename();
  for (const fs::path& path : {request.folder.kernel_choices(), beside_config}) {
    if (!fs::exists(path)) continue;
    request.kernel_choices = read_kernel_choices(path);
    request.kernel_choices_file = path;
    return;
  }
}

}  // namespace

Request make_request(const CommandLine& line) try {
  const bool runs = !line.plan && !line.describe;
  Request request{.options = {},
                  .plan = {},
                  .config_toml = "",
                  .config_hash = "",
                  .folder = RunFolder(""),
                  .profiled_steps = {},
                  .extended_hash = "",
                  .lock = nullptr,
                  .initial = {},
                  .kernel_choices = {},
                  .kernel_choices_file = {}};
  request.profiled_steps = steps_of(line.profile);
  const auto lock = [&] {
    if (!runs) return;
    request.lock = std::make_unique<RunLock>(request.folder.root());
    EarlierRun::roll_back(request.folder);
  };
  RunOptions& options = request.options;
  require_config_exists(line);
  if (const auto folder = folder_as_config(line)) {
    request.folder = *folder;
    lock();
    options = read_options(folder->config().string(), line.settings);
  } else {
    options = read_options(line.config, line.settings);
  }
  request.plan = options.plan();
  request.config_toml = write_config(options.sections());
  const auto values = flatten_config(request.config_toml, "config");
  request.config_hash = hash_config(values, keys_without_effect());
  if (request.folder.root().empty()) {
    request.folder = RunFolder(line.out.empty() ? default_folder(line) : line.out);
    if (!line.describe) request.folder.require_writable();
    lock();
  }
  if (line.plan && line.resume && !request.folder.empty()) request.start = Start::go_on;
  if (runs && !request.folder.empty()) choose_start(request, line, values);
  find_kernel_choices(line, request);
  request.initial = read_initial(options.model, request.start);
  return request;
} catch (const Error& error) {
  throw UsageError(error.what());
}

}  // namespace sculpt
