#include "apps/sculpt_run/key_names.h"

#include <algorithm>
#include <fmt/ranges.h>

#include "apps/sculpt_run/run_options.h"

namespace sculpt {
namespace {

/// Keys of version 1 that have another name now.
constexpr RenamedKey kRenamed[] = {
    {"model.prune_first_conv", "prune.first_conv"},
    {"model.prune_classifier", "prune.classifier"},
    {"train.precision", "execution.precision"},
    {"train.conv", "execution.conv"},
    {"train.sparse", "execution.sparse"},
    {"train.winograd", "execution.winograd"},
    {"train.step_graph", "execution.step_graph"},
    {"train.dense_timing", "execution.dense_timing"},
    {"train.lr", "optim.lr"},
    {"train.schedule", "optim.schedule"},
    {"train.warmup", "optim.warmup"},
    {"train.warmup_start", "optim.warmup_start"},
    {"train.milestones", "optim.milestones"},
    {"train.decay_factor", "optim.milestone_factor"},
    {"train.cooldown", "optim.cooldown"},
    {"train.momentum", "optim.momentum"},
    {"train.nesterov", "optim.nesterov"},
    {"train.weight_decay", "optim.weight_decay"},
    {"train.decay_norm_and_bias", "optim.decay_norm_and_bias"},
    {"train.clip_norm", "optim.clip_norm"},
    {"wr.rewind_epoch", "cycles.rewind_epoch"},
    {"wr.schedule_restart", "cycles.schedule_restart"},
};

/// Keys of version 1 that have kept their names. This list never grows.
constexpr std::string_view kUnchanged[] = {
    "method",
    "plan",
    "seed",
    "model.name",
    "model.width",
    "model.stem",
    "model.dropout",
    "model.init_fan",
    "model.init_distribution",
    "model.init_nonlinearity",
    "model.init_from",
    "model.init_parts",
    "data.name",
    "data.root",
    "data.train_limit",
    "data.test_limit",
    "data.val_split",
    "data.crop_padding",
    "data.flip",
    "data.cutout",
    "data.synthetic_train",
    "data.synthetic_test",
    "data.synthetic_seed",
    "train.epochs",
    "train.batch",
    "train.drop_last",
    "train.label_smoothing",
    "train.eval_every",
    "train.checkpoint_every",
    "train.checkpoint_steps",
    "prune.criterion",
    "prune.allocation",
    "prune.sparsity",
    "prune.initial_sparsity",
    "prune.rate",
    "prune.score_images_per_class",
    "prune.score_batches",
    "prune.synflow_iterations",
    "prune.reestimate_batch_norm",
    "cycles.count",
    "cycles.final",
    "cycles.spread",
    "cycles.total_epochs",
};

/// The value that runs had in effect before there was the key. Keys that are not listed had the
/// default of today in effect.
struct EarlierValue {
  std::string_view key;
  std::string_view toml;
};
constexpr EarlierValue kEarlier[] = {
    {"execution.sparse", "\"off\""},
    {"execution.winograd", "\"off\""},
};

std::string section_of(const std::string& key) {
  return key.substr(0, key.find('.'));
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

}  // namespace

RenamedKeys renamed_keys() {
  return kRenamed;
}

std::string first_name(const std::string& key) {
  const auto found = std::ranges::find(kRenamed, key, &RenamedKey::now);
  return found == std::end(kRenamed) ? key : std::string(found->before);
}

bool is_key_of_version_1(const std::string& key) {
  return std::ranges::find(kRenamed, key, &RenamedKey::now) != std::end(kRenamed) ||
         std::ranges::find(kUnchanged, key) != std::end(kUnchanged);
}

std::string value_before_key(const std::string& key, const std::string& fallback) {
  const auto found = std::ranges::find(kEarlier, key, &EarlierValue::key);
  return found == std::end(kEarlier) ? fallback : std::string(found->toml);
}

std::string config_hash(const ConfigValues& values) {
  static const ConfigValues defaults = [] {
    RunOptions options;
    return flatten_config(write_config(options.sections()), "defaults");
  }();
  ConfigValues hashed;
  for (const auto& [key, value] : values) {
    if (keys_without_effect().count(key) > 0) continue;
    const auto usual = defaults.find(key);
    const bool at_default = usual != defaults.end() && usual->second == value;
    if (is_key_of_version_1(key) || !at_default) hashed[first_name(key)] = value;
  }
  return hash_config(hashed, {});
}

std::string old_names_note(const std::map<std::string, std::string>& old_names) {
  if (old_names.empty()) return "";
  // Keys that only moved into another section share one text.
  std::map<std::string, std::vector<std::string>> groups;
  for (const auto& [before, now] : old_names) {
    const bool moved = last_part(before) == last_part(now);
    groups[moved ? fmt::format("in [{}] now", section_of(now)) : now + " now"].push_back(before);
  }
  std::vector<std::string> parts;
  for (const auto& [place, keys] : groups)
    parts.push_back(fmt::format("{} ({})", fmt::join(keys, ", "), place));
  return fmt::format("settings under their old names, which are still read: {}",
                     fmt::join(parts, "; "));
}

}  // namespace sculpt
