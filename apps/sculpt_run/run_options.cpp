#include "apps/sculpt_run/run_options.h"

#include "apps/sculpt_run/paths.h"
#include "engine/optim/lr_schedule.h"

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
          {"train", "One training cycle: its length, optimizer and learning rate.", section(train)},
          {"prune", "How weights are removed.", section(prune)},
          {"cycles", "How often the cycle is repeated.", section(cycles)},
          {"wr", "Weight rewinding (method = \"wr\").", section(wr)}};
}

Plan RunOptions::plan() const {
  validate(train.optim);
  MethodSettings settings;
  settings.method = method;
  settings.epochs = train.epochs;
  settings.prune = prune;
  settings.cycles = cycles;
  settings.wr = wr;
  return expand_method(settings);
}

RunOptions read_options(const std::string& config_path, const std::vector<std::string>& settings) {
  ConfigDocument document = ConfigDocument::from_file(config_path);
  for (const std::string& setting : settings)
    document.set(setting);
  RunOptions options;
  read_config(document, options.sections());
  options.data.root = expand_home(options.data.root);
  options.model.init_from = expand_home(options.model.init_from);
  return options;
}

const std::set<std::string>& keys_without_effect() {
  static const std::set<std::string> keys = {"data.root", "train.checkpoint_every",
                                             "train.checkpoint_steps", "train.step_graph",
                                             "train.dense_timing",
                                             // Changes only the last bits, as the device does
                                             // (environment.h).
                                             "train.conv"};
  return keys;
}

const std::set<std::string>& keys_of_the_plan() {
  static const std::set<std::string> keys = {"method",
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
                                             "wr.rewind_epoch",
                                             "wr.schedule_restart"};
  return keys;
}

std::string config_page() {
  RunOptions defaults;
  return "# Config reference\n\n"
         "A config is a TOML file with the keys below; all of them are optional. On the command\n"
         "line `--set section.key=value` sets one key. Keys, defaults and ranges are those of the\n"
         "option structs: this page is the output of `sculpt_run --help-config markdown`, and a\n"
         "test compares the two.\n\n"
         "A config may begin with `base = \"FILE.toml\"`, a path from its own folder: every "
         "setting\n"
         "that the config does not have comes from that file, which may have a base, too.\n\n" +
         describe_config_markdown(defaults.sections());
}

}  // namespace sculpt
