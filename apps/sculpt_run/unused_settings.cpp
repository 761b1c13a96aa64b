#include "apps/sculpt_run/unused_settings.h"

#include <algorithm>
#include <optional>
#include <set>

#include "data/registry.h"
#include "engine/config/config_text.h"
#include "engine/core/error.h"
#include "engine/masks/mask_rule.h"
#include "engine/optim/lr_schedule.h"
#include "engine/sparse/criteria.h"

namespace sculpt {
namespace {

using Keys = std::set<std::string, std::less<>>;

Keys words_of(std::string_view text) {
  Keys words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

/// The keys of a table some of whose rows the run uses. A key that rows of the table read is unused
/// if no used row reads it.
struct TableUse {
  Keys by_any;
  Keys by_used;
  std::string reason;  ///< reason why the other rows are not used
};

template <class Rows, class Used>
TableUse table_use(const Rows& rows, const Used& used, std::string reason) {
  TableUse use;
  use.reason = std::move(reason);
  for (const auto& row : rows) {
    const Keys keys = words_of(row.reads);
    use.by_any.insert(keys.begin(), keys.end());
    if (used(row)) use.by_used.insert(keys.begin(), keys.end());
  }
  return use;
}

bool prunes_by(const Plan& plan, std::string_view criterion) {
  return std::ranges::any_of(plan, [&](const PlanStep& step) {
    const auto* prune = std::get_if<PruneStep>(&step);
    return prune != nullptr && prune->criterion == criterion;
  });
}

std::string criteria_of(const Plan& plan) {
  Keys names;
  for (const PlanStep& step : plan)
    if (const auto* prune = std::get_if<PruneStep>(&step)) names.insert(prune->criterion);
  if (names.empty()) return "the plan prunes nothing";
  return fmt::format("the plan prunes by {}", fmt::join(names, ", "));
}

bool trains_with(const Plan& plan, std::string_view rule) {
  return std::ranges::any_of(plan, [&](const PlanStep& step) {
    const auto* cycle = std::get_if<Cycle>(&step);
    return cycle != nullptr && cycle->rule == rule;
  });
}

std::string rules_of(const Plan& plan) {
  Keys names;
  for (const PlanStep& step : plan)
    if (const auto* cycle = std::get_if<Cycle>(&step); cycle != nullptr && !cycle->rule.empty())
      names.insert(cycle->rule);
  if (names.empty()) return "no cycle of the plan has a rule";
  return fmt::format("cycles of the plan train with {}", fmt::join(names, ", "));
}

std::vector<TableUse> table_uses(const RunOptions& options, const Plan& plan) {
  const auto named = [](const std::string& name) {
    return [&name](const auto& row) { return row.name == name; };
  };
  const auto is = [](const char* key, const std::string& value) {
    return fmt::format("{} = {}", key, toml_text(value));
  };
  const std::string& method = options.method.method;
  TableUse of_method = table_use(methods(), named(method), is("method", method));
  // masks.rule may take the cycles of a method that prunes nothing to a density.
  if (method == "dense" && has_rule_with_density(plan)) of_method.by_used.insert("prune.sparsity");
  // cycles.count = 0 takes the number of cycles from the levels of iterative methods.
  if ((method == "cyclic" || method == "sculpt") && options.cycles.count == 0)
    of_method.by_used.insert("prune.rate");
  return {
      of_method,
      table_use(
          criteria(), [&](const Criterion& row) { return prunes_by(plan, row.name); },
          criteria_of(plan)),
      table_use(
          mask_rules(), [&](const MaskRule& row) { return trains_with(plan, row.name); },
          rules_of(plan)),
      table_use(lr_schedules(), named(options.train.optim.schedule),
                is("optim.schedule", options.train.optim.schedule)),
      table_use(data::dataset_table(), named(options.data.name),
                is("data.name", options.data.name)),
      table_use(models::model_table(), named(options.model.name),
                is("model.name", options.model.name)),
  };
}

/// A key that another setting can switch off.
struct Rule {
  std::string_view key;
  bool (*read)(const RunOptions& options, const Plan& plan);
  std::string_view reason;
};

bool prunes(const RunOptions&, const Plan& plan) {
  return std::ranges::any_of(
      plan, [](const PlanStep& step) { return std::holds_alternative<PruneStep>(step); });
}

bool removes(const RunOptions&, const Plan& plan) {
  return removes_weights(plan);
}

bool prunes_first(const RunOptions&, const Plan& plan) {
  const auto trains = [](const PlanStep& step) { return std::holds_alternative<Cycle>(step); };
  const auto first_cycle = std::ranges::find_if(plan, trains);
  return std::any_of(plan.begin(), first_cycle,
                     [](const PlanStep& step) { return std::holds_alternative<PruneStep>(step); });
}

bool measures_on_test_images(const RunOptions& options, const Plan&) {
  return options.data.val_split == 0;
}

bool uses_sgd(const RunOptions& options, const Plan&) {
  return options.train.optim.rule == "sgd";
}

bool uses_adamw(const RunOptions& options, const Plan&) {
  return options.train.optim.rule == "adamw";
}

bool uses_ham(const RunOptions& options, const Plan&) {
  return options.train.optim.ham;
}

constexpr std::string_view kSgd = "optim.rule = \"sgd\"", kAdamW = "optim.rule = \"adamw\"";
constexpr std::string_view kHeldOut =
    "accuracy is measured on the validation images of data.val_split";
constexpr std::string_view kNoPrune = "the plan prunes nothing";

constexpr Rule kRules[] = {
    {"cycles.spread", [](const RunOptions& o, const Plan&) { return o.cycles.count > 1; },
     "cycles.count = 1"},
    {"data.test_limit", measures_on_test_images, kHeldOut},
    {"data.synthetic_test", measures_on_test_images, kHeldOut},
    {"data.crop_fill", [](const RunOptions& o, const Plan&) { return o.data.crop_padding > 0; },
     "data.crop_padding = 0"},
    {"data.label_noise_seed",
     [](const RunOptions& o, const Plan&) { return o.data.label_noise > 0; },
     "data.label_noise = 0"},
    {"prune.reestimate_batch_norm", prunes, kNoPrune},
    {"prune.rescale_to_kept_fan", prunes_first, "the plan prunes nothing before it trains"},
    {"model.init_parts",
     [](const RunOptions& o, const Plan&) { return !o.model.init_from.empty(); },
     "model.init_from is not set"},
    {"prune.first_conv", removes, kNoPrune},
    {"prune.classifier", removes, kNoPrune},
    {"prune.exempt", removes, kNoPrune},
    {"execution.dense_timing",
     [](const RunOptions& o, const Plan&) { return o.train.execution.sparse != "off"; },
     "execution.sparse = \"off\""},
    {"dist.logical_ranks", [](const RunOptions& o, const Plan&) { return o.dist.exact(); },
     "dist.reduction = \"fast\""},
    {"optim.warmup_start",
     [](const RunOptions& o, const Plan&) { return o.train.optim.warmup > 0; }, "optim.warmup = 0"},
    {"optim.milestone_factor",
     [](const RunOptions& o, const Plan&) { return !o.train.optim.milestones.empty(); },
     "optim.milestones = []"},
    {"optim.decay_norm_and_bias",
     [](const RunOptions& o, const Plan&) { return o.train.optim.weight_decay > 0; },
     "optim.weight_decay = 0"},
    {"optim.momentum", uses_sgd, kAdamW},
    {"optim.nesterov", uses_sgd, kAdamW},
    {"optim.beta1", uses_adamw, kSgd},
    {"optim.beta2", uses_adamw, kSgd},
    {"optim.epsilon", uses_adamw, kSgd},
    {"optim.ham_alpha", uses_ham, "optim.ham = false"},
    {"optim.ham_beta", uses_ham, "optim.ham = false"},
    {"optim.sign_in_beta",
     [](const RunOptions& o, const Plan&) { return o.train.optim.sign_in > 0; },
     "optim.sign_in = 0"},
};

/// Returns the reason why nothing reads the key; no value if something reads it.
std::optional<std::string> why_unused(const std::string& key, const RunOptions& options,
                                      const Plan& plan, const std::vector<TableUse>& tables) {
  for (const TableUse& table : tables)
    if (table.by_any.contains(key) && !table.by_used.contains(key)) return table.reason;
  for (const Rule& rule : kRules)
    if (rule.key == key && !rule.read(options, plan)) return std::string(rule.reason);
  return std::nullopt;
}

}  // namespace

std::vector<UnusedSetting> unused_settings(const RunOptions& options, const Plan& plan) {
  // sections() returns references to an object that is not const.
  RunOptions present = options, defaults;
  const auto values = flatten_config(write_config(present.sections()), "config");
  const auto usual = flatten_config(write_config(defaults.sections()), "config");
  const std::vector<TableUse> tables = table_uses(options, plan);
  std::vector<UnusedSetting> unused;
  for (const std::string& key : config_keys(present.sections())) {
    if (values.at(key) == usual.at(key)) continue;
    if (auto reason = why_unused(key, options, plan, tables))
      unused.push_back({key, std::move(*reason)});
  }
  return unused;
}

std::vector<std::string> warning_of(const std::vector<UnusedSetting>& unused) {
  std::string list;
  for (const auto& [key, reason] : unused)
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", key, reason);
  if (list.empty()) return {};
  return {"these settings have no effect: " + list};
}

bool read_conditionally(std::string_view key) {
  for (const TableUse& table : table_uses({}, {}))
    if (table.by_any.contains(key)) return true;
  return std::ranges::find(kRules, key, &Rule::key) != std::end(kRules);
}

const std::vector<std::string_view>& keys_always_read() {
  static const std::vector<std::string_view> keys = {
      "method",
      "seed",
      "masks.rule",
      "model.name",
      "model.width",
      "model.init_from",
      "data.name",
      "data.train_limit",
      "data.val_split",
      "data.crop_padding",
      "data.cutout",
      "data.label_noise",
      "train.epochs",
      "train.batch",
      "train.accumulate",
      "train.drop_last",
      "optim.rule",
      "execution.device",
      "execution.threads",
      "execution.precision",
      "execution.conv",
      "execution.sparse",
      "execution.winograd",
      "execution.step_graph",
      "dist.reduction",
      "dist.sync_batch_norm",
      "dist.exchange",
      "dist.bucket_mb",
      "dist.liveness_seconds",
      "dist.collective_seconds",
      "optim.lr",
      "optim.schedule",
      "optim.weight_decay",
      "optim.clip_norm",
      "optim.ham",
      "optim.sign_in",
      "optim.ema",
      "train.label_smoothing",
      "train.eval_every",
      "train.checkpoint_every",
      "train.checkpoint_steps",
      "train.keep",
  };
  return keys;
}

}  // namespace sculpt
