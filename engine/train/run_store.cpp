#include <algorithm>
#include <charconv>

#include "engine/core/error.h"
#include "engine/train/kernel_choices.h"
#include "engine/train/run_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "sculpt-checkpoint-2";
constexpr std::string_view kStatePrefix = "state-";
constexpr std::string_view kExtension = ".safetensors";
constexpr CheckpointContent kResumable{.masks = true, .momentum = true};
constexpr CheckpointContent kFinal{.masks = true, .momentum = false};
constexpr CheckpointContent kRewind{.masks = false, .momentum = false};

/// The number in "state-000012.safetensors"; -1 for other names.
int64_t state_number(const std::string& name) {
  if (!name.starts_with(kStatePrefix) || !name.ends_with(kExtension)) return -1;
  const char* begin = name.data() + kStatePrefix.size();
  const char* end = name.data() + name.size() - kExtension.size();
  int64_t number = -1;
  const auto result = std::from_chars(begin, end, number);
  return result.ec == std::errc() && result.ptr == end ? number : -1;
}

}  // namespace

fs::path RunStore::state_path(int64_t number) const {
  return folder_.checkpoints() / fmt::format("{}{:06}{}", kStatePrefix, number, kExtension);
}

std::vector<std::pair<int64_t, fs::path>> RunStore::states() const {
  std::vector<std::pair<int64_t, fs::path>> found;
  if (!fs::is_directory(folder_.checkpoints())) return found;
  for (const auto& entry : fs::directory_iterator(folder_.checkpoints())) {
    const int64_t number = state_number(entry.path().filename().string());
    if (number >= 0) found.emplace_back(number, entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

safetensors::Metadata RunStore::base_metadata() const {
  return {{"format", std::string(kFormat)}, {"config_hash", config_hash_}};
}

safetensors::File RunStore::read(const fs::path& path) const {
  safetensors::File file = safetensors::File::read(path, /*require_checksum=*/true);
  if (file.metadata("format") != kFormat)
    fail("{} has the format '{}', this program reads '{}'", path.string(), file.metadata("format"),
         kFormat);
  if (file.metadata("config_hash") != config_hash_)
    fail("{} was written under another config", path.string());
  return file;
}

std::optional<RunState> RunStore::restore(ParameterArena& parameters,
                                          std::vector<std::string>& warnings) {
  std::string last;
  for (const auto& [number, path] : states()) {
    try {
      const safetensors::File file = read(path);
      const RunState state = state_from(file);
      read_checkpoint(file, parameters, kResumable);
      LineFile(folder_.metrics()).truncate(static_cast<size_t>(state.metrics_lines));
      LineFile(folder_.layers()).truncate(static_cast<size_t>(state.layer_lines));
      LineFile(folder_.prunes()).truncate(static_cast<size_t>(state.prune_lines));
      return state;
    } catch (const Error& error) {
      last = error.what();
      warnings.push_back(fmt::format("{}; going back to the checkpoint before it", last));
    }
  }
  if (last.empty()) return std::nullopt;
  warnings.clear();
  fail("no checkpoint in {} can be used: {}; delete {} and start again",
       folder_.checkpoints().string(), last, folder_.root().string());
}

void RunStore::reset() {
  LineFile(folder_.metrics()).truncate(0);
  LineFile(folder_.layers()).truncate(0);
  LineFile(folder_.prunes()).truncate(0);
}

void RunStore::save(ParameterArena& parameters, RunState& state) {
  ++state.saves;
  safetensors::Metadata metadata = to_metadata(state);
  metadata.merge(base_metadata());
  write_checkpoint(state_path(state.saves), parameters, kResumable, metadata);
  std::error_code ignored;  // an old file too many does no harm
  for (const auto& [number, path] : states())
    if (number != state.saves && number != state.saves - 1) fs::remove(path, ignored);
}

void RunStore::save_rewind(ParameterArena& parameters, int64_t epoch) {
  safetensors::Metadata metadata = base_metadata();
  metadata["epoch"] = fmt::format("{}", epoch);
  write_checkpoint(folder_.rewind_checkpoint(epoch), parameters, kRewind, metadata);
}

void RunStore::load_rewind(ParameterArena& parameters, int64_t epoch) {
  const fs::path path = folder_.rewind_checkpoint(epoch);
  try {
    read_checkpoint(read(path), parameters, kRewind);
  } catch (const Error& error) {
    fail("cannot rewind to epoch {}: {}; delete {} and start again", epoch, error.what(),
         folder_.root().string());
  }
  parameters.apply_masks();
}

void RunStore::save_kernel_choices(const kernels::Choices& choices) {
  if (choices == saved_choices_) return;
  write_file(folder_.kernel_choices(), kernel_choices_json(choices));
  saved_choices_ = choices;
}

void RunStore::add_metrics(const EpochMetrics& metrics, RunState& state) {
  LineFile(folder_.metrics()).append(to_json_line(metrics));
  ++state.metrics_lines;
}

void RunStore::add_layers(const PruneReport& report, const LayerKernels& kernels, RunState& state) {
  LineFile(folder_.layers()).append(layer_lines(report, kernels, state.plan_step, state.epochs));
  state.layer_lines += static_cast<int64_t>(report.layers.size());
}

void RunStore::add_prune(const PruneMetrics& metrics, RunState& state) {
  LineFile(folder_.prunes()).append(to_json_line(metrics));
  ++state.prune_lines;
}

void RunStore::finish(ParameterArena& parameters, const RunState& state,
                      const RunIdentity& identity, const RunCost& cost) {
  safetensors::Metadata metadata = base_metadata();
  metadata["method"] = identity.method;
  metadata["model"] = identity.model;
  metadata["data"] = identity.data;
  metadata["seed"] = fmt::format("{}", identity.seed);
  metadata["epochs"] = fmt::format("{}", state.epochs);
  metadata["steps"] = fmt::format("{}", state.steps);
  metadata["prunable"] = fmt::format("{}", cost.prunable);
  metadata["kept"] = fmt::format("{}", cost.kept);
  write_checkpoint(folder_.final_checkpoint(), parameters, kFinal, metadata);
  write_file(folder_.summary(), summary_json(identity, state, cost));
  std::error_code ignored;
  for (const auto& [number, path] : states())
    fs::remove(path, ignored);
}

}  // namespace sculpt
