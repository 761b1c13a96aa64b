#include "apps/sculpt_run/run_options.h"

#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/paths.h"
#include "engine/config/config_text.h"
#include "engine/masks/mask_checks.h"
#include "engine/optim/lr_schedule.h"
#include "engine/optim/soft_thresholds.h"

namespace sculpt {

ConfigSections RunOptions::sections() {
  const auto top = [this](OptionVisitor& v) {
    method.visit(v);
    v.integer("seed", seed, {0, int64_t{1} << 62},
              "decides initial weights, masks, data order, augmentation and dropout");
  };
  const auto section = [](auto& options) {
    return [&options](OptionVisitor& v) { options.visit(v); };
  };
  return {{"", "What the run does.", top},
          {"model", "The network.", section(model)},
          {"data", "What it is trained and measured on.", section(data)},
          {"train", "One training cycle: its epochs, evaluations and checkpoints.", section(train)},
          {"optim", "The optimizer, and the learning rate within a cycle.", section(train.optim)},
          {"execution", "The device, and the kernels that run on it.", section(train.execution)},
          {"dist", "Runs on several ranks.", section(dist)},
          {"cycles", "How often the cycle is repeated, and from where.", section(cycles)},
          {"prune", "How weights are removed.", section(prune)},
          {"masks", "How rules change masks during a cycle.", section(masks)}};
}

Plan RunOptions::plan() const {
  validate(train.optim);
  validate(masks);
  MethodSettings settings;
  settings.method = method;
  settings.epochs = train.epochs;
  settings.prune = prune;
  settings.cycles = cycles;
  settings.masks = masks;
  Plan plan = expand_method(settings);
  if (trains_thresholds(plan)) require_soft_thresholds(train.optim);
  for (PlanStep& step : plan)
    if (auto* const intervention = std::get_if<Intervention>(&step))
      intervention->path = expand_home(intervention->path);
  return plan;
}

namespace {

ReadOptions options_of(const ConfigDocument& document) {
  ReadOptions read;
  RunOptions& options = read.options;
  read_config(document, options.sections());
  options.data.root = expand_home(options.data.root);
  options.model.init_from = expand_home(options.model.init_from);
  read.old_names = document.old_names();
  for (const auto& [key, value] : document.values())
    read.places[key] = value.source;
  return read;
}

ConfigDocument document_of(const std::string& config_path, const std::vector<Setting>& settings) {
  ConfigDocument document = ConfigDocument::from_file(config_path, renamed_keys());
  for (const Setting& setting : settings)
    document.set(setting);
  return document;
}

}  // namespace

ReadOptions read_options(const std::string& config_path, const std::vector<Setting>& settings) {
  return options_of(document_of(config_path, settings));
}

ReadOptions read_stored_options(const std::string& config_path,
                                const std::vector<Setting>& settings) {
  ConfigDocument document = document_of(config_path, settings);
  RunOptions defaults;
  for (const std::string& key : config_keys(defaults.sections())) {
    const std::string value = value_before_key(key, "");
    if (!value.empty() && document.find(key) == nullptr) document.set(key + "=" + value);
  }
  return options_of(document);
}

const std::set<std::string>& keys_without_effect() {
  static const std::set<std::string> keys = {
      "data.root", "execution.device", "execution.threads", "train.checkpoint_every",
      "train.checkpoint_steps", "train.keep", "execution.step_graph", "execution.dense_timing",
      "dist.liveness_seconds", "dist.collective_seconds",
      // Changes only the last bits, as the device does
      // (environment.h).
      "execution.conv"};
  return keys;
}

const std::set<std::string>& keys_of_the_plan() {
  static const std::set<std::string> keys = {"method",
                                             "masks.rule",
                                             "plan",
                                             "cycles.count",
                                             "cycles.total_epochs",
                                             "cycles.spread",
                                             "cycles.final",
                                             "prune.criterion",
                                             "prune.allocation",
                                             "prune.sparsity",
                                             "prune.rate",
                                             "prune.initial_sparsity",
                                             "prune.final_criterion",
                                             "cycles.rewind_epoch",
                                             "cycles.schedule_restart"};
  return keys;
}

std::string config_page() {
  RunOptions defaults;
  return "# Config reference\n\n"
         "A config is a TOML file with the keys below; all of them are optional. On the command\n"
         "line `--set section.key=value` sets one key; two different values for one key are\n"
         "refused, also where one of them is an option such as `--threads`. Keys, defaults and\n"
         "ranges are those of the option structs: this page is the output of\n"
         "`sculpt_run --help-config markdown`, and a test compares the two.\n\n"
         "A config may begin with `base = \"FILE.toml\"`, a path from its own folder: every "
         "setting\n"
         "that the config does not have comes from that file, which may have a base, too.\n\n"
         "Configs of before may have older names of keys. They are read with a note that gives\n"
         "the new names; [run-folder.md](run-folder.md#formats-and-their-versions) lists "
         "them.\n\n" +
         describe_config_markdown(defaults.sections());
}

}  // namespace sculpt
