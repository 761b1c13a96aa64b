#include "apps/sculpt_run/request.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/sculpt_run/key_names.h"
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
  const bool names_config = !line.out.empty() || fs::path(line.config).extension() == ".toml";
  if (names_config || (!line.resume && !line.restart))
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
  stored_config(folder, renamed_keys());  // throws if the file is empty or damaged
  return folder;
}

/// Reads the options of a run folder. A value that the file cannot have had when it was written is
/// damage, which another copy of the file mends.
ReadOptions options_of_folder(const RunFolder& folder, const CommandLine& line) try {
  return read_stored_options(folder.config().string(), line.settings);
} catch (const Error& error) {
  const std::string text = error.what();
  if (!text.starts_with(folder.config().string())) throw;
  fail("{}; put a good copy of the file back, and give changes with --set", text);
}

/// The config of a run folder.
struct StoredConfig {
  std::string hash;     ///< of the keys that the file has
  ConfigValues values;  ///< with what was in effect for keys that the file lacks
  /// Keys that the file lacks and that count in the hash even at their default. The file must go on
  /// without them, since checkpoints record the hash.
  std::set<std::string> missing;
};

StoredConfig complete(const ConfigValues& stored) {
  StoredConfig config{config_hash(stored), stored, {}};
  RunOptions defaults;
  for (const auto& [key, value] : flatten_config(write_config(defaults.sections()), "defaults")) {
    const bool missing = config.values.emplace(key, value_before_key(key, value)).second;
    if (missing && is_key_of_version_1(key) && keys_without_effect().count(key) == 0)
      config.missing.insert(key);
  }
  return config;
}

/// The run in the folder, as the folder's config describes it.
struct PresentRun {
  StoredConfig config;
  RunStore store;
  bool ended;  ///< true if all results exist, except perhaps a summary.json that can be written
               ///< again
  bool lost_summary;  ///< true if that summary.json is missing
};

/// Throws Error if config.toml is not the config that the run was trained with, or if a file is
/// missing or damaged without which the run can neither go on nor show its result.
PresentRun present_run(const RunFolder& folder) {
  const ConfigValues stored = stored_config(folder, renamed_keys());
  const StoredConfig config = complete(stored);
  require_config_of_checkpoints(folder, config.hash, config.missing);
  PresentRun run{config, RunStore(folder, config.hash), false, false};
  run.lost_summary = !fs::exists(folder.summary()) && run.store.has_ended();
  run.ended = folder.finished() || run.lost_summary;
  if (run.ended)
    run.store.require_known_records();
  else
    run.store.require_resumable();
  return run;
}

/// Throws Error if the finished run cannot be extended under the config of the request.
void require_extensible(const PresentRun& run, const Request& request, const ConfigValues& values) {
  const RunFolder& folder = request.folder;
  std::set<std::string> ignored = keys_without_effect();
  ignored.insert(keys_of_the_plan().begin(), keys_of_the_plan().end());
  require_same_config(folder, run.config.values, values, ignored);
  if (run.lost_summary)
    run.store.check_final_checkpoint();
  else
    run.store.check_result();
  const Plan done = read_stored_options(folder.config().string(), {}).options.plan();
  run.store.require_extensible(done, run.config.hash, request.plan);
}

/// A run that goes on keeps the keys of its config, and so the hash that its checkpoints record.
void keep_config_of(const StoredConfig& stored, Request& request) {
  request.config_toml = write_config(request.options.sections(), stored.missing);
  request.config_hash = stored.hash;
}

/// Decides how a run uses a folder that is not empty.
void choose_start(Request& request, const CommandLine& line, const ConfigValues& values) {
  const RunFolder& folder = request.folder;
  const std::string name = folder.root().string();
  if (!fs::exists(folder.config())) {
    if (fs::exists(folder.metrics()) || fs::exists(folder.checkpoints()))
      fail(
          "{} holds a run, but its config.toml is missing; put the file back (a study keeps a copy "
          "of it in its folder configs), or choose another folder with --out",
          name);
    fail("{} is not empty and is not a run folder; choose another folder with --out", name);
  }
  if (line.restart) {
    request.start = Start::restart;
    return;
  }
  if (!line.resume)
    fail(
        "{} holds a run already; go on with --resume, start over with --restart, or choose "
        "another folder with --out",
        name);
  const PresentRun run = present_run(folder);
  const auto differences = config_differences(run.config.values, values, keys_without_effect());
  if (!differences.empty() && run.ended) {
    require_extensible(run, request, values);
    request.extended_hash = run.config.hash;
    request.start = Start::extend;
    return;
  }
  const bool plan_differs = std::ranges::any_of(
      differences, [](const auto& key) { return keys_of_the_plan().count(key.first) > 0; });
  try {
    require_same_config(folder, run.config.values, values, keys_without_effect());
  } catch (const Error& error) {
    fail("{}{}", error.what(),
         plan_differs ? "; a run can be given more steps once it has finished" : "");
  }
  request.start = run.ended ? Start::show_result : Start::go_on;
  keep_config_of(run.config, request);
}

/// Reads the file model.init_from. A run that goes on does not need the file, so it may be missing
/// then.
std::optional<NetworkFile> read_initial(const models::ModelOptions& model, Start start) {
  if (model.init_from.empty()) return std::nullopt;
  std::error_code error;
  if (!fs::exists(model.init_from, error)) {
    if (start != Start::fresh && start != Start::restart) return std::nullopt;
    fail("model.init_from: there is no file {}; give the path of a safetensors file",
         model.init_from);
  }
  const NetworkParts parts = model.init_parts == "weights" ? NetworkParts::weights
                             : model.init_parts == "masks" ? NetworkParts::masks
                                                           : NetworkParts::both;
  return NetworkFile::read(model.init_from, parts);
}

/// Throws Error if a step of the plan, from step `first` on, loads from the folder of the run. The
/// files in this folder change with the run, so a resume would not find what the run has loaded.
void require_loads_from_elsewhere(const Request& request, size_t first) {
  std::error_code error;
  const fs::path own = fs::weakly_canonical(request.folder.root(), error);
  for (size_t i = first; i < request.plan.size(); ++i) {
    const auto* step = std::get_if<Intervention>(&request.plan[i]);
    if (step == nullptr || step->path.empty() || own.empty()) continue;
    const fs::path from = fs::weakly_canonical(step->path, error);
    if (std::mismatch(own.begin(), own.end(), from.begin(), from.end()).first != own.end())
      continue;
    fail(
        "step {} of the plan, \"{}\", loads from the folder of the run itself, whose files the run "
        "replaces; copy {} to another folder, and load the copy",
        i + 1, describe(*step), file_to_load(step->path).string());
  }
}

/// Reads the files that the steps of the plan that are not done yet load.
std::unique_ptr<PlanFiles> read_plan_files(const Request& request) {
  size_t first = 0;
  if (request.start == Start::show_result) first = request.plan.size();
  if (request.start == Start::extend)
    first = read_stored_options(request.folder.config().string(), {}).options.plan().size();
  if (request.start == Start::go_on)
    if (const auto newest = RunStore(request.folder, request.config_hash).newest_good_state())
      first = static_cast<size_t>(newest->second.plan_step);
  require_loads_from_elsewhere(request, first);
  return std::make_unique<PlanFiles>(PlanFiles::read(request.plan, first));
}

/// Finds the recorded choices of kernels if the config lets kernels be timed. Kernels that a rule
/// chooses need no record.
void find_kernel_choices(const CommandLine& line, Request& request) {
  const ExecutionOptions& execution = request.options.train.execution;
  if (execution.sparse != "tuned" && execution.conv != "auto") return;
  const fs::path beside_config =
      fs::path(line.config).parent_path() / request.folder.kernel_choices().filename();
  for (const fs::path& path : {request.folder.kernel_choices(), beside_config}) {
    if (!fs::exists(path)) continue;
    request.kernel_choices = read_kernel_choices(path);
    request.kernel_choices_file = path;
    return;
  }
}

Request make_request(const CommandLine& line, const Decided* decided) try {
  const bool runs = !line.plan && !line.describe && decided == nullptr;
  Request request;
  request.profiled_steps = steps_of(line.profile);
  request.report = !line.no_report;
  const auto take = [&](ReadOptions read) {
    request.options = std::move(read.options);
    request.places = std::move(read.places);
    request.old_names_note = old_names_note(read.old_names);
  };
  const auto lock = [&] {
    if (!runs) return;
    request.lock = std::make_unique<RunLock>(request.folder.root());
    EarlierRun::roll_back(request.folder);
  };
  require_config_exists(line);
  if (const auto folder = folder_as_config(line)) {
    request.folder = *folder;
    lock();
    take(options_of_folder(*folder, line));
  } else {
    take(read_options(line.config, line.settings));
  }
  RunOptions& options = request.options;
  request.plan = options.plan();
  request.config_toml = write_config(options.sections());
  const auto values = flatten_config(request.config_toml, "config");
  request.config_hash = config_hash(values);
  if (decided != nullptr) {
    request.folder = RunFolder(decided->folder);
    request.start = decided->start;
  }
  if (request.folder.root().empty()) {
    request.folder = RunFolder(line.out.empty() ? default_folder(line) : line.out);
    if (!line.describe) request.folder.require_writable();
    lock();
  }
  if (line.plan && line.resume && fs::exists(request.folder.config())) {
    request.start = Start::go_on;
    const StoredConfig stored = complete(stored_config(request.folder, renamed_keys()));
    if (config_differences(stored.values, values, keys_without_effect()).empty())
      keep_config_of(stored, request);
  }
  if (runs && !request.folder.empty()) choose_start(request, line, values);
  find_kernel_choices(line, request);
  request.initial = read_initial(options.model, request.start);
  if (decided == nullptr && !line.describe) request.files = read_plan_files(request);
  return request;
} catch (const Error& error) {
  throw UsageError(error.what());
}

}  // namespace

DistOptions dist_options(const CommandLine& line) try {
  require_config_exists(line);
  if (const auto folder = folder_as_config(line))
    return options_of_folder(*folder, line).options.dist;
  return read_options(line.config, line.settings).options.dist;
} catch (const Error& error) {
  throw UsageError(error.what());
}

Request make_request(const CommandLine& line) {
  return make_request(line, nullptr);
}

Request make_request(const CommandLine& line, const Decided& decided) {
  return make_request(line, &decided);
}

}  // namespace sculpt
