// The keys that the tables declare as read are the keys that change a plan, a learning rate, a
// network or a data set.

#include "apps/sculpt_run/unused_settings.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <map>

#include "data/registry.h"
#include "engine/config/config_text.h"
#include "engine/core/error.h"
#include "engine/optim/lr_schedule.h"

using namespace sculpt;
using Texts = std::vector<std::string>;

namespace {

/// Other values for each key that some row of a table reads.
const std::map<std::string, Texts>& other_values() {
  static const std::map<std::string, Texts> values = {
      {"plan", {"['train 3']"}},
      {"prune.criterion", {"snip"}},
      {"prune.allocation", {"erk"}},
      {"prune.sparsity", {"0.8"}},
      {"prune.initial_sparsity", {"0.3"}},
      {"prune.final_criterion", {"random"}},
      {"prune.rate", {"0.4"}},
      {"cycles.rewind_epoch", {"3"}},
      {"cycles.schedule_restart", {"rewind_epoch"}},
      {"cycles.count", {"5"}},
      {"cycles.final", {"2"}},
      {"cycles.spread", {"linear_increase"}},
      {"cycles.total_epochs", {"277"}},
      {"optim.warmup", {"0.4"}},
      {"optim.warmup_start", {"0.6"}},
      {"optim.milestones", {"[0.3]"}},
      {"optim.milestone_factor", {"0.7"}},
      {"optim.cooldown", {"0.5"}},
      {"model.stem", {"imagenet"}},
      {"model.dropout", {"0.5"}},
      {"model.init_fan", {"fan_in"}},
      {"model.init_distribution", {"uniform"}},
      {"model.init_nonlinearity", {"linear"}},
      {"prune.first_conv", {"false"}},
      {"data.synthetic_train", {"70"}},
      {"data.synthetic_test", {"60"}},
      {"data.synthetic_seed", {"4"}},
  };
  return values;
}

/// Reads settings. A later setting of a key replaces an earlier one, which a command line may not
/// have.
RunOptions options_of(const Texts& settings) {
  std::map<std::string, std::string> last;
  for (const std::string& setting : settings)
    last[setting.substr(0, setting.find('='))] = setting;
  ConfigDocument document;
  for (const auto& [key, setting] : last)
    document.set(setting);
  RunOptions options;
  read_config(document, options.sections());
  return options;
}

template <class Rows>
Texts keys_of(const Rows& rows) {
  Texts keys;
  for (const auto& row : rows) {
    std::string text(row.reads);
    for (size_t end = 0; !text.empty(); text.erase(0, end + 1)) {
      end = std::min(text.find(' '), text.size() - 1);
      const std::string key = text.substr(0, text[end] == ' ' ? end : end + 1);
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    }
  }
  return keys;
}

bool reads(std::string_view list, const std::string& key) {
  return (" " + std::string(list) + " ").find(" " + key + " ") != std::string::npos;
}

/// Computes result(options) for the settings of a row, and again with each key of the table set to
/// another value. The result must change exactly for the keys that the row reads.
template <class Rows, class Result>
void check_table(const Rows& rows, const std::string& choice, const Texts& base,
                 const Texts& ignored, const Result& result) {
  for (const auto& row : rows) {
    const std::string name(row.name);
    CAPTURE(name);
    Texts settings = base;
    settings.push_back(choice + "=" + name);
    const auto expected = result(options_of(settings));
    for (const std::string& key : keys_of(rows)) {
      if (std::ranges::find(ignored, key) != ignored.end()) continue;
      CAPTURE(key);
      REQUIRE(other_values().contains(key));
      bool changed = false;
      for (const std::string& value : other_values().at(key)) {
        Texts more = settings;
        more.push_back(key + "=" + value);
        changed = changed || result(options_of(more)) != expected;
      }
      CHECK(changed == reads(row.reads, key));
    }
  }
}

/// Everything that initialisation decides, and the ops of the network.
struct NetworkFacts {
  Texts names;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<bool> prunable;
  std::vector<float> weights;
  bool operator==(const NetworkFacts&) const = default;
};

NetworkFacts facts_of(const RunOptions& options) {
  NetworkSpec spec;
  spec.model = models::make_model(options.model, 10);
  spec.image = {3, 32, 32};
  spec.prune_first_conv = options.prune.first_conv;
  Network network(spec, kernels::cpu_backend(), 1);
  network.initialise(3);
  NetworkFacts facts;
  for (const auto& node : network.graph().nodes())
    facts.names.push_back(node->info.name);
  for (const Parameter& p : network.parameters().parameters()) {
    facts.names.push_back(p.name);
    facts.shapes.push_back(p.shape);
    facts.prunable.push_back(p.prunable);
  }
  const auto weights = network.parameters().weights<float>();
  facts.weights.assign(weights.begin(), weights.end());
  return facts;
}

Texts unused_keys(const Texts& settings) {
  const RunOptions options = options_of(settings);
  Texts keys;
  for (const UnusedSetting& setting : unused_settings(options, options.plan())) {
    CHECK(!setting.reason.empty());
    keys.push_back(setting.key);
  }
  return keys;
}

}  // namespace

TEST_CASE("unused settings: every key of a config is classified, and none twice") {
  RunOptions options;
  const auto& always = keys_always_read();
  for (const std::string& key : config_keys(options.sections())) {
    CAPTURE(key);
    const bool unconditional = std::ranges::find(always, key) != always.end();
    CHECK(unconditional != read_conditionally(key));
  }
  for (const std::string_view key : always)
    CHECK(std::ranges::count(always, key) == 1);
}

TEST_CASE("unused settings: methods read the keys that change their plan, and no others") {
  const auto plan_of = [](RunOptions options) {
    // `plan` with another method is an error of its own.
    if (options.method.method == "custom" && options.method.plan.empty())
      options.method.plan = {"train 20"};
    return options.plan();
  };
  check_table(methods(), "method", {"train.epochs=100", "cycles.count=3"}, {"plan"}, plan_of);
}

TEST_CASE("unused settings: schedules read the keys that change the learning rate") {
  const auto curve = [](const RunOptions& options) {
    std::vector<double> rates;
    for (int64_t step = 0; step < 60; ++step)
      rates.push_back(learning_rate(step, 60, options.train.optim));
    return rates;
  };
  check_table(lr_schedules(), "optim.schedule", {}, {}, curve);
}

TEST_CASE("unused settings: models read the keys that change the network") {
  check_table(models::model_table(), "model.name", {"model.width=0.05"}, {}, facts_of);
}

TEST_CASE("unused settings: data sets read the keys that change their images") {
  const auto labels = [](const RunOptions& options) {
    const data::TrainTest sets = data::blank_dataset(options.data);
    return std::pair(sets.train.labels, sets.test.size());
  };
  // Read with the files.
  const Texts with_files = {"data.root", "data.flip"};
  check_table(data::dataset_table(), "data.name",
              {"data.synthetic_train=50", "data.synthetic_test=50"}, with_files, labels);
}

TEST_CASE("unused settings: named where they were changed, and only there") {
  CHECK(unused_keys({}).empty());
  CHECK(unused_keys({"method=dense", "prune.sparsity=0.5"}) == Texts{"prune.sparsity"});
  // The key has its default value, so it is not reported.
  CHECK(unused_keys({"method=dense", "prune.sparsity=0.9"}).empty());
  CHECK(unused_keys({"method=pai", "cycles.count=7"}) == Texts{"cycles.count"});
  CHECK(unused_keys({"method=imp", "prune.criterion=snip", "prune.score_batches=3"}) ==
        Texts{"prune.criterion", "prune.score_batches"});
  CHECK(unused_keys({"prune.criterion=synflow", "prune.synflow_iterations=7"}).empty());
  CHECK(unused_keys({"prune.criterion=snip", "prune.synflow_iterations=7"}) ==
        Texts{"prune.synflow_iterations"});
  CHECK(unused_keys({"method=custom", "plan=['train 2', 'prune grasp erk 0.5']",
                     "prune.score_batches=3", "prune.sparsity=0.5"}) == Texts{"prune.sparsity"});
  CHECK(unused_keys({"cycles.rewind_epoch=4"}) == Texts{"cycles.rewind_epoch"});
  CHECK(unused_keys({"method=wr", "cycles.rewind_epoch=4"}).empty());
  CHECK(unused_keys({"optim.schedule=triangular", "optim.warmup=0.3"}) == Texts{"optim.warmup"});
  CHECK(unused_keys({"optim.schedule=cosine", "optim.cooldown=0.3"}) == Texts{"optim.cooldown"});
  CHECK(unused_keys({"data.name=cifar10", "data.synthetic_train=20"}) ==
        Texts{"data.synthetic_train"});
  CHECK(unused_keys({"data.name=mnist", "data.root=x", "data.flip=false", "data.cutout=3"}) ==
        Texts{"data.flip"});
  CHECK(unused_keys({"data.root=x"}) == Texts{"data.root"});
  CHECK(unused_keys({"data.val_split=0.1", "data.test_limit=9"}) == Texts{"data.test_limit"});
  CHECK(unused_keys({"model.stem=imagenet"}) == Texts{"model.stem"});
  CHECK(unused_keys({"model.name=mlp", "model.init_fan=fan_in", "model.dropout=0.1"}) ==
        Texts{"model.init_fan"});
  CHECK(unused_keys({"method=dense", "prune.classifier=false"}) == Texts{"prune.classifier"});
  CHECK(unused_keys({"method=dense", "prune.sparsity=0.5", "masks.rule=gmp"}).empty());
  CHECK(unused_keys({"method=dense", "masks.rule=gmp", "prune.classifier=false"}).empty());
  CHECK(unused_keys({"method=dense", "prune.classifier=false"}) == Texts{"prune.classifier"});
  CHECK(unused_keys({"method=dense", "masks.rule=gmp", "prune.reestimate_batch_norm=100"}) ==
        Texts{"prune.reestimate_batch_norm"});
  CHECK(unused_keys({"method=dense", "masks.rule=str", "masks.str_init=-6"}).empty());
  CHECK(unused_keys({"method=dense", "masks.rule=gmp", "masks.str_init=-6"}) ==
        Texts{"masks.str_init"});
  CHECK(unused_keys({"method=dense", "prune.rescale_to_kept_fan=true"}) ==
        Texts{"prune.rescale_to_kept_fan"});
  CHECK(unused_keys({"method=lrr", "prune.rescale_to_kept_fan=true"}) ==
        Texts{"prune.rescale_to_kept_fan"});
  CHECK(unused_keys({"method=pai", "prune.rescale_to_kept_fan=true"}).empty());
  CHECK(unused_keys({"method=pai", "prune.final_criterion=snip"}) ==
        Texts{"prune.final_criterion"});
  CHECK(unused_keys({"data.label_noise_seed=3"}) == Texts{"data.label_noise_seed"});
  CHECK(unused_keys({"data.label_noise_seed=3", "data.label_noise=0.1"}).empty());
  CHECK(unused_keys({"data.crop_padding=0", "data.crop_fill=mean"}) == Texts{"data.crop_fill"});
  CHECK(unused_keys({"masks.interval=5"}) == Texts{"masks.interval"});
  CHECK(unused_keys({"method=pai", "masks.rule=rigl", "masks.interval=5", "masks.drop=0.2",
                     "masks.end=0.5", "masks.begin=0.1"}) == Texts{"masks.begin"});
  CHECK(unused_keys({"method=dense", "masks.rule=gmp", "masks.drop=0.2", "masks.begin=0.1",
                     "masks.sparse_from=[0.5]"}) == Texts{"masks.drop", "masks.sparse_from"});
  CHECK(unused_keys({"method=custom", "plan=['train 9 with acdc to 0.1']", "masks.interval=5",
                     "masks.sparse_from=[0.1, 0.5]", "masks.dense_from=[0.3]"}) ==
        Texts{"masks.interval"});
  CHECK(unused_keys({"optim.weight_decay=0", "optim.decay_norm_and_bias=false"}) ==
        Texts{"optim.decay_norm_and_bias"});
  CHECK(unused_keys({"optim.beta1=0.8", "optim.beta2=0.9", "optim.epsilon=1e-6"}) ==
        Texts{"optim.beta1", "optim.beta2", "optim.epsilon"});
  CHECK(unused_keys({"optim.rule=adamw", "optim.beta1=0.8", "optim.beta2=0.9", "optim.epsilon=1e-6",
                     "optim.momentum=0.5", "optim.nesterov=true"}) ==
        Texts{"optim.momentum", "optim.nesterov"});
  CHECK(unused_keys({"optim.ham_alpha=3", "optim.ham_beta=2", "optim.sign_in_beta=2"}) ==
        Texts{"optim.ham_alpha", "optim.ham_beta", "optim.sign_in_beta"});
  CHECK(unused_keys({"optim.ham=true", "optim.ham_alpha=3", "optim.ham_beta=2"}).empty());
  CHECK(unused_keys({"optim.sign_in=2", "optim.sign_in_beta=2"}).empty());
}

TEST_CASE("unused settings: the configs that come with the program have none") {
  int configs = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("configs")) {
    if (entry.path().extension() != ".toml") continue;
    // tests/app/study_test.py plans the studies.
    const bool is_study = entry.path().parent_path().filename() == "studies" &&
                          entry.path().filename() != "common.toml";
    if (is_study) continue;
    CAPTURE(entry.path().string());
    ++configs;
    const RunOptions options = read_options(entry.path().string(), {}).options;
    for (const UnusedSetting& setting : unused_settings(options, options.plan()))
      FAIL_CHECK(setting.key);
  }
  CHECK(configs > 20);
}
