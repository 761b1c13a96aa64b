#include "engine/run/run_store.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <iterator>
#include <sstream>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/earlier_run.h"
#include "engine/run/kernel_choices.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtends = "extends";
constexpr const char* kSummary = "summary";
constexpr const char* kDataFingerprint = "data_fingerprint";
constexpr const char* kInitialFingerprint = "init_from_fingerprint";
/// The fingerprints of the files that the plan loads: a line "FINGERPRINT PATH" for each.
constexpr const char* kLoadedFingerprints = "loaded_fingerprints";
constexpr CheckpointContent kResumable{.masks = true, .optimizer = true};
constexpr CheckpointContent kFinal{.masks = true, .optimizer = false};
constexpr CheckpointContent kRewind{.masks = false, .optimizer = false};

/// Returns the config hashes of the shorter runs that the run of this file extends.
std::vector<std::string> extended_by(const safetensors::File& file) {
  const auto found = file.metadata().find(kExtends);
  if (found == file.metadata().end()) return {};
  std::istringstream words(found->second);
  return {std::istream_iterator<std::string>(words), {}};
}

constexpr const char* kRestart =
    "start over with --restart, which keeps the old run in a folder of its own";

RunInputs inputs_of(const safetensors::File& file) {
  const auto value = [&](std::string_view key) {
    const auto found = file.metadata().find(std::string(key));
    return found == file.metadata().end() ? std::string() : found->second;
  };
  RunInputs inputs;
  inputs.data = value(kDataFingerprint);
  inputs.initial = value(kInitialFingerprint);
  std::istringstream lines(value(kLoadedFingerprints));
  for (std::string fingerprint, path; lines >> fingerprint && std::getline(lines >> std::ws, path);)
    inputs.loaded[path] = fingerprint;
  return inputs;
}

}  // namespace

void RunStore::require_held() const {
  if (lock_ != nullptr) lock_->require_held();
}

safetensors::Metadata RunStore::base_metadata(const FileFormat& format) const {
  safetensors::Metadata metadata = {{"format", format.text()}, {"config_hash", config_hash_}};
  if (!inputs_.data.empty()) metadata[kDataFingerprint] = inputs_.data;
  if (!inputs_.initial.empty()) metadata[kInitialFingerprint] = inputs_.initial;
  std::string loaded;
  for (const auto& [path, fingerprint] : inputs_.loaded)
    loaded += fmt::format("{} {}\n", fingerprint, path);
  if (!loaded.empty()) metadata[kLoadedFingerprints] = loaded;
  return metadata;
}

safetensors::Metadata RunStore::state_metadata(const RunState& state) const {
  safetensors::Metadata metadata = to_metadata(state);
  metadata.merge(base_metadata(kStateFormat));
  if (!extended_hashes_.empty())
    metadata[kExtends] = fmt::format("{}", fmt::join(extended_hashes_, " "));
  return metadata;
}

safetensors::File RunStore::read(const fs::path& path, const FileFormat& format,
                                 const std::vector<std::string>& hashes) const {
  safetensors::File file = safetensors::File::read(path, /*require_checksum=*/true);
  const std::string& carried = file.metadata("format");
  if (age_of(carried, format) == FormatAge::newer) require_known(carried, format, path.string());
  if (carried != format.text())
    fail("{} has the format '{}', but this program reads '{}'", path.string(), carried,
         format.text());
  if (std::ranges::find(hashes, file.metadata("config_hash")) == hashes.end())
    fail("{} was written under another config", path.string());
  return file;
}

RecordFile RunStore::metrics_file() const {
  return {folder_.metrics(), metrics_format()};
}

RecordFile RunStore::layers_file() const {
  return {folder_.layers(), layers_format()};
}

RecordFile RunStore::prunes_file() const {
  return {folder_.prunes(), prunes_format()};
}

void RunStore::cut_records(RunState& state, std::vector<std::string>& warnings) const {
  state.metrics_lines = metrics_file().keep({state.metrics_lines, "epoch", state.epochs}, warnings);
  // If a prune was interrupted while it was measured, its layers are recorded already.
  const int64_t last_prune = state.plan_step - 1;
  state.layer_lines =
      layers_file().keep({state.layer_lines, "plan_step", last_prune + state.pruned}, warnings);
  state.prune_lines = prunes_file().keep({state.prune_lines, "plan_step", last_prune}, warnings);
}

void RunStore::require_known_records() const {
  for (const RecordFile& file : {metrics_file(), layers_file(), prunes_file()})
    file.require_known_format();
}

std::optional<RunState> RunStore::restore(ParameterArena& parameters,
                                          std::vector<std::string>& warnings) {
  const auto states = folder_.states();
  if (states.empty()) {
    require_resumable();
    return std::nullopt;
  }
  std::string last;
  bool newer = false;
  for (const auto& [number, path] : states) {
    RunState state;
    try {
      const safetensors::File file = read(path, kStateFormat, {config_hash_});
      state = state_from(file);
      const RunInputs recorded = inputs_of(file);
      require_same_inputs(recorded, inputs_);
      read_checkpoint(file, parameters, kResumable);
      extended_hashes_ = extended_by(file);
      // The files may be missing by now.
      if (inputs_.initial.empty()) inputs_.initial = recorded.initial;
      inputs_.loaded.insert(recorded.loaded.begin(), recorded.loaded.end());
    } catch (const OtherInputs&) {
      throw;
    } catch (const Error& error) {
      last = error.what();
      newer = dynamic_cast<const NewerFormat*>(&error) != nullptr;
      warnings.push_back(fmt::format("{}; going back to the checkpoint before it", last));
      continue;
    }
    require_held();
    cut_records(state, warnings);
    return state;
  }
  warnings.clear();
  fail_without_good_state(last, newer);
}

void RunStore::fail_without_good_state(const std::string& reason, bool newer) const {
  if (newer)
    throw NewerFormat(
        fmt::format("no checkpoint in {} can be used: {}", folder_.checkpoints().string(), reason));
  fail("no checkpoint in {} can be used: {}; put a good copy of one back, or {}",
       folder_.checkpoints().string(), reason, kRestart);
}

void RunStore::require_resumable() const {
  require_known_records();
  std::string reason;
  bool newer = false;
  for (const auto& [number, path] : folder_.states()) {
    try {
      state_from(read(path, kStateFormat, {config_hash_}));
      return;
    } catch (const Error& error) {
      reason = error.what();
      newer = dynamic_cast<const NewerFormat*>(&error) != nullptr;
    }
  }
  if (!reason.empty()) fail_without_good_state(reason, newer);
  std::string missing;
  for (const fs::path& path : {folder_.final_checkpoint(), folder_.summary()})
    if (!fs::exists(path))
      missing += (missing.empty() ? "" : ", ") + path.lexically_relative(folder_.root()).string();
  if (fs::exists(folder_.summary()) || fs::exists(folder_.final_checkpoint()))
    fail("{} holds a finished run, but {} is missing{}; put a copy of the missing file back, or {}",
         folder_.root().string(), missing, why_not_restorable(), kRestart);
  if (folder_.has_records())
    fail(
        "{} holds records of a run, but no state (checkpoints/state-<n>.safetensors) from which it "
        "could go on; put a state back, or {}",
        folder_.root().string(), kRestart);
}

std::string RunStore::why_not_restorable() const try {
  if (fs::exists(folder_.summary()) || !fs::exists(folder_.end_state())) return "";
  read(folder_.end_state(), kStateFormat, {config_hash_});
  return "";
} catch (const Error& error) {
  return fmt::format(", and it cannot be written again: {}", error.what());
}

std::optional<std::pair<fs::path, RunState>> RunStore::newest_good_state() const {
  for (const auto& [number, path] : folder_.states()) {
    try {
      return std::pair(path, state_from(read(path, kStateFormat, {config_hash_})));
    } catch (const Error&) {  // try the state before it
    }
  }
  return std::nullopt;
}

void RunStore::save(ParameterArena& parameters, RunState& state) {
  require_held();
  ++state.saves;
  if (!writes_) return;
  write_checkpoint(folder_.state(state.saves), parameters, kResumable, state_metadata(state));
  std::error_code ignored;  // an old file that stays behind does no harm
  for (const auto& [number, path] : folder_.states())
    if (number != state.saves && number != state.saves - 1) fs::remove(path, ignored);
}

void RunStore::save_rewind(ParameterArena& parameters, int64_t epoch) {
  require_held();
  if (!writes_) return;
  safetensors::Metadata metadata = base_metadata(kCheckpointFormat);
  metadata["epoch"] = fmt::format("{}", epoch);
  write_checkpoint(folder_.rewind_checkpoint(epoch), parameters, kRewind, metadata);
}

void RunStore::save_cycle(ParameterArena& parameters, const RunState& state, int64_t kept) {
  require_held();
  if (!writes_) return;
  safetensors::Metadata metadata = base_metadata(kCheckpointFormat);
  metadata["cycle"] = fmt::format("{}", state.cycle);
  metadata["epochs"] = fmt::format("{}", state.epochs);
  metadata["steps"] = fmt::format("{}", state.steps);
  write_checkpoint(folder_.cycle_checkpoint(state.cycle), parameters, kFinal, metadata);
  std::error_code ignored;  // an old file that stays behind does no harm
  for (const auto& [cycle, path] : folder_.cycle_checkpoints())
    if (cycle <= state.cycle - kept) fs::remove(path, ignored);
}

safetensors::File RunStore::read_rewind(int64_t epoch,
                                        const std::vector<std::string>& extended) const {
  std::vector<std::string> hashes = extended;
  hashes.push_back(config_hash_);
  try {
    return read(folder_.rewind_checkpoint(epoch), kCheckpointFormat, hashes);
  } catch (const NewerFormat& error) {
    fail("cannot rewind to epoch {}: {}", epoch, error.what());
  } catch (const Error& error) {
    fail("cannot rewind to epoch {}: {}; put a good copy of the file back and give --resume, or {}",
         epoch, error.what(), kRestart);
  }
}

void RunStore::load_rewind(ParameterArena& parameters, int64_t epoch) {
  read_checkpoint(read_rewind(epoch, extended_hashes_), parameters, kRewind);
  parameters.zero_masked();
}

void RunStore::check_rewinds(const Plan& plan) const {
  std::vector<std::string> extended;
  const auto newest = [&]() -> std::optional<RunState> {
    for (const auto& [number, path] : folder_.states()) {
      try {
        const safetensors::File file = read(path, kStateFormat, {config_hash_});
        extended = extended_by(file);
        return state_from(file);
      } catch (const Error&) {
        // restore() reports what is wrong with the state.
      }
    }
    return std::nullopt;
  };
  const std::optional<RunState> state = newest();
  if (!state) return;
  for (auto i = static_cast<size_t>(state->plan_step); i < plan.size(); ++i) {
    const auto* rewind = std::get_if<RewindStep>(&plan[i]);
    if (rewind == nullptr) continue;
    const bool stored =
        state->cycle > 0 || rewind->epoch <= rewind_epoch_after(plan, state->epochs);
    if (stored) read_rewind(rewind->epoch, extended);
  }
}

void RunStore::save_kernel_choices(const kernels::Choices& choices) {
  if (choices == saved_choices_) return;
  require_held();
  if (!writes_) return;
  write_file(folder_.kernel_choices(), kernel_choices_json(choices));
  saved_choices_ = choices;
}

void RunStore::add_metrics(const EpochMetrics& metrics, RunState& state) {
  require_held();
  if (writes_) metrics_file().append(to_json_line(metrics));
  ++state.metrics_lines;
}

void RunStore::add_layers(const PruneReport& report, const LayerKernels& kernels, RunState& state) {
  require_held();
  if (writes_) layers_file().append(layer_lines(report, kernels, state.plan_step, state.epochs));
  state.layer_lines += static_cast<int64_t>(report.layers.size());
}

void RunStore::add_layers(const MaskReport& report, const LayerKernels& kernels, RunState& state) {
  require_held();
  if (writes_) layers_file().append(layer_lines(report, kernels, state.plan_step, state.epochs));
  state.layer_lines += static_cast<int64_t>(report.layers.size());
}

void RunStore::add_prune(const PruneMetrics& metrics, RunState& state) {
  require_held();
  if (writes_) prunes_file().append(to_json_line(metrics));
  ++state.prune_lines;
}

void RunStore::finish(ParameterArena& parameters, const RunState& end, const RunState& result,
                      const RunIdentity& identity, const RunCost& cost) {
  require_held();
  if (!writes_) return;
  const std::string summary = summary_json(identity, result, cost);
  safetensors::Metadata metadata = base_metadata(kCheckpointFormat);
  metadata["method"] = identity.method;
  metadata["model"] = identity.model;
  metadata["data"] = identity.data;
  metadata["seed"] = fmt::format("{}", identity.seed);
  metadata["epochs"] = fmt::format("{}", result.epochs);
  metadata["steps"] = fmt::format("{}", result.steps);
  metadata["prunable"] = fmt::format("{}", cost.prunable);
  metadata["kept"] = fmt::format("{}", cost.kept);
  write_checkpoint(folder_.final_checkpoint(), parameters, kFinal, metadata);

  safetensors::Metadata end_metadata = state_metadata(end);
  end_metadata[kSummary] = summary;
  safetensors::write(folder_.end_state(), {}, end_metadata);

  write_file(folder_.summary(), summary);
  std::error_code ignored;
  for (const auto& [number, path] : folder_.states())
    fs::remove(path, ignored);
}

bool RunStore::has_ended() const try {
  if (!fs::exists(folder_.final_checkpoint())) return false;
  read(folder_.end_state(), kStateFormat, {config_hash_});
  return true;
} catch (const Error&) {
  return false;  // the end state is missing, damaged, or belongs to the shorter run that this one
                 // extends
}

void RunStore::restore_summary() {
  require_held();
  write_file(folder_.summary(),
             read(folder_.end_state(), kStateFormat, {config_hash_}).metadata(kSummary));
}

safetensors::File RunStore::read_final() const {
  try {
    safetensors::File file = read(folder_.final_checkpoint(), kCheckpointFormat, {config_hash_});
    for (const char* key : {"kept", "prunable"})
      file.metadata(key);  // throws if it is missing
    return file;
  } catch (const NewerFormat&) {
    throw;
  } catch (const Error& error) {
    fail("{}; put a good copy of the file back, or {}", error.what(), kRestart);
  }
}

void RunStore::check_final_checkpoint() const {
  read_final();
}

RunSummary RunStore::check_result() const {
  const safetensors::File final = read_final();
  const std::string final_kept = final.metadata("kept"),
                    final_prunable = final.metadata("prunable");
  try {
    const RunSummary summary =
        parse_summary(read_text(folder_.summary()), folder_.summary().string());
    if (fmt::format("{}", summary.kept) != final_kept ||
        fmt::format("{}", summary.prunable) != final_prunable)
      fail("{} says that {} of {} weights are kept, but in the final checkpoint {} of {} are",
           folder_.summary().string(), summary.kept, summary.prunable, final_kept, final_prunable);
    return summary;
  } catch (const NewerFormat&) {
    throw;
  } catch (const Error& error) {
    fail("{}; {}", error.what(),
         has_ended() ? fmt::format("move the file away and give --resume, which writes it again "
                                   "from {}",
                                   folder_.end_state().string())
                     : fmt::format("put a good copy of the file back, or {}", kRestart));
  }
}

void RunStore::require_extensible(const Plan& done, const std::string& done_hash,
                                  const Plan& longer) const {
  const std::string name = folder_.root().string();
  const std::string difference = difference_from_extension(done, longer);
  if (!difference.empty())
    fail("the finished run in {} cannot be extended: {}; choose another folder with --out", name,
         difference);
  const Plan more(longer.begin() + static_cast<std::ptrdiff_t>(done.size()), longer.end());
  try {
    require_known_records();
    if (!fs::exists(folder_.end_state()))
      fail("there is no {}, which this version writes at the end of a run",
           folder_.end_state().string());
    const auto end = read(folder_.end_state(), kStateFormat, {done_hash});
    std::vector<std::string> hashes = extended_by(end);
    hashes.push_back(done_hash);
    read(folder_.final_checkpoint(), kCheckpointFormat, {done_hash});
    for (const int64_t epoch : rewind_epochs(more)) {
      const fs::path path = folder_.rewind_checkpoint(epoch);
      if (!fs::exists(path))
        fail("the longer plan rewinds to epoch {}, but there is no {}", epoch, path.string());
      read(path, kCheckpointFormat, hashes);
    }
  } catch (const NewerFormat& error) {
    throw NewerFormat(
        fmt::format("the finished run in {} cannot be extended: {}", name, error.what()));
  } catch (const Error& error) {
    fail("the finished run in {} cannot be extended: {}; choose another folder with --out", name,
         error.what());
  }
}

fs::path RunStore::extend(ParameterArena& parameters, const std::string& done_hash,
                          const std::string& config_toml) {
  const safetensors::File end = read(folder_.end_state(), kStateFormat, {done_hash});
  const safetensors::File weights =
      read(folder_.final_checkpoint(), kCheckpointFormat, {done_hash});
  RunState state = state_from(end);
  if (weights.metadata("steps") != fmt::format("{}", state.steps))
    fail("{} and {} belong to different runs", end.name(), weights.name());
  // Every cycle starts with zeroed optimizer arrays, so the final checkpoint lacks nothing.
  parameters.zero_optimizer_arrays();
  read_checkpoint(weights, parameters, kFinal);
  extended_hashes_ = extended_by(end);
  extended_hashes_.push_back(done_hash);
  save(parameters, state);

  EarlierRun earlier(folder_);
  if (fs::exists(folder_.analysis())) earlier.move(folder_.analysis());  // of the shorter run
  earlier.move(folder_.summary());
  earlier.move(folder_.end_state());
  earlier.copy(folder_.final_checkpoint());
  earlier.copy(folder_.config());
  for (const fs::path& path : {folder_.environment(), folder_.kernel_choices()})
    if (fs::exists(path)) earlier.copy(path);
  write_file(folder_.config(), config_toml);
  return earlier.keep();
}

fs::path restart(const RunFolder& folder, const std::string& config_toml) {
  EarlierRun earlier(folder);
  for (const fs::path& path : folder.files())
    if (path != folder.config()) earlier.move(path);
  earlier.copy(folder.config());
  write_file(folder.config(), config_toml);
  return earlier.keep();
}

}  // namespace sculpt
