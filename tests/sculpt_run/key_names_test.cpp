// Names of config keys in all versions: every key of version 1 is read under its old name, and the
// hash of a config does not depend on names.

#include "apps/sculpt_run/key_names.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <set>

#include "apps/sculpt_run/run_options.h"
#include "engine/config/config_text.h"
#include "engine/core/files.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using sculpt::testing::contains;
using sculpt::testing::error_of;

namespace {

/// A key of version 1, the name that it has now, and a value that is not its default.
struct OldKey {
  std::string before;
  std::string now;
  std::string value;
};

// Written down from the documentation of version 1, and not from the table of the program.
const std::vector<OldKey> kOldKeys = {
    {"method", "method", "dense"},
    {"plan", "plan", "['train 3']"},
    {"seed", "seed", "5"},
    {"model.name", "model.name", "lenet"},
    {"model.width", "model.width", "0.5"},
    {"model.stem", "model.stem", "imagenet"},
    {"model.dropout", "model.dropout", "0.25"},
    {"model.init_fan", "model.init_fan", "fan_in"},
    {"model.init_distribution", "model.init_distribution", "uniform"},
    {"model.init_nonlinearity", "model.init_nonlinearity", "linear"},
    {"model.prune_first_conv", "prune.first_conv", "false"},
    {"model.prune_classifier", "prune.classifier", "false"},
    {"model.init_from", "model.init_from", "x.safetensors"},
    {"model.init_parts", "model.init_parts", "masks"},
    {"data.name", "data.name", "mnist"},
    {"data.root", "data.root", "r"},
    {"data.train_limit", "data.train_limit", "7"},
    {"data.test_limit", "data.test_limit", "7"},
    {"data.val_split", "data.val_split", "0.5"},
    {"data.crop_padding", "data.crop_padding", "2"},
    {"data.flip", "data.flip", "false"},
    {"data.cutout", "data.cutout", "3"},
    {"data.synthetic_train", "data.synthetic_train", "99"},
    {"data.synthetic_test", "data.synthetic_test", "99"},
    {"data.synthetic_seed", "data.synthetic_seed", "3"},
    {"train.epochs", "train.epochs", "3"},
    {"train.batch", "train.batch", "9"},
    {"train.drop_last", "train.drop_last", "true"},
    {"train.precision", "execution.precision", "fp32"},
    {"train.conv", "execution.conv", "auto"},
    {"train.sparse", "execution.sparse", "on"},
    {"train.dense_timing", "execution.dense_timing", "false"},
    {"train.winograd", "execution.winograd", "off"},
    {"train.step_graph", "execution.step_graph", "false"},
    {"train.lr", "optim.lr", "0.5"},
    {"train.schedule", "optim.schedule", "cosine"},
    {"train.warmup", "optim.warmup", "0.5"},
    {"train.warmup_start", "optim.warmup_start", "0.5"},
    {"train.milestones", "optim.milestones", "[0.25]"},
    {"train.decay_factor", "optim.milestone_factor", "0.5"},
    {"train.cooldown", "optim.cooldown", "0.5"},
    {"train.momentum", "optim.momentum", "0.5"},
    {"train.nesterov", "optim.nesterov", "true"},
    {"train.weight_decay", "optim.weight_decay", "0.5"},
    {"train.decay_norm_and_bias", "optim.decay_norm_and_bias", "false"},
    {"train.clip_norm", "optim.clip_norm", "2.0"},
    {"train.label_smoothing", "train.label_smoothing", "0.5"},
    {"train.eval_every", "train.eval_every", "3"},
    {"train.checkpoint_every", "train.checkpoint_every", "3"},
    {"train.checkpoint_steps", "train.checkpoint_steps", "3"},
    {"prune.criterion", "prune.criterion", "snip"},
    {"prune.allocation", "prune.allocation", "erk"},
    {"prune.sparsity", "prune.sparsity", "0.25"},
    {"prune.initial_sparsity", "prune.initial_sparsity", "0.25"},
    {"prune.rate", "prune.rate", "0.25"},
    {"prune.score_images_per_class", "prune.score_images_per_class", "3"},
    {"prune.score_batches", "prune.score_batches", "3"},
    {"prune.synflow_iterations", "prune.synflow_iterations", "3"},
    {"prune.reestimate_batch_norm", "prune.reestimate_batch_norm", "64"},
    {"cycles.count", "cycles.count", "7"},
    {"cycles.final", "cycles.final", "7"},
    {"cycles.spread", "cycles.spread", "peak"},
    {"cycles.total_epochs", "cycles.total_epochs", "77"},
    {"wr.rewind_epoch", "cycles.rewind_epoch", "3"},
    {"wr.schedule_restart", "cycles.schedule_restart", "rewind_epoch"},
};

struct Resolved {
  std::string toml;
  std::map<std::string, std::string> old_names;
  ConfigValues values;
};

Resolved resolve(const std::vector<Setting>& settings, const std::string& text = "") {
  const testing::TemporaryFolder folder;
  write_file(folder / "c.toml", text);
  ReadOptions read = read_options((folder / "c.toml").string(), settings);
  Resolved resolved;
  resolved.toml = write_config(read.options.sections());
  resolved.old_names = read.old_names;
  resolved.values = flatten_config(resolved.toml, "c");
  return resolved;
}

/// "train.lr = 0.5" as a file has it; bare words get quotes.
std::string line_of(const std::string& key, const std::string& value) {
  const bool bare = value.find_first_not_of("0123456789.") != std::string::npos &&
                    value.front() != '[' && value != "true" && value != "false";
  return key + " = " + (bare ? "'" + value + "'" : value) + "\n";
}

}  // namespace

TEST_CASE("key names: every key of version 1 is read under its old name and its new one") {
  RunOptions defaults;
  const std::vector<std::string> known = config_keys(defaults.sections());
  const std::string usual = resolve({}).toml;
  REQUIRE(kOldKeys.size() == 65);
  std::string all_old, all_new;
  for (const OldKey& key : kOldKeys) {
    CAPTURE(key.before);
    CHECK(std::ranges::find(known, key.now) != known.end());
    const Resolved old = resolve({key.before + "=" + key.value}),
                   now = resolve({key.now + "=" + key.value});
    CHECK(old.toml == now.toml);
    CHECK(old.toml != usual);
    CHECK(now.old_names.empty());
    CHECK(is_key_of_version_1(key.now));
    CHECK(first_name(key.now) == key.before);
    // A file, and one with both names.
    CHECK(resolve({}, line_of(key.before, key.value)).toml == now.toml);
    if (key.before == key.now) {
      CHECK(old.old_names.empty());
      continue;
    }
    CHECK(old.old_names == std::map<std::string, std::string>{{key.before, key.now}});
    CHECK(contains(old_names_note(old.old_names), key.before));
    const std::string both = error_of(
        [&] { resolve({}, line_of(key.before, key.value) + line_of(key.now, key.value)); });
    CHECK(contains(both, key.before + " is the old name of " + key.now));
    CHECK(contains(both, "c.toml:1"));
    CHECK(contains(both, "c.toml:2"));
  }
}

TEST_CASE("key names: no two keys share a name, and only renamed keys have two") {
  std::set<std::string_view> before, now;
  for (const RenamedKey& key : renamed_keys()) {
    CHECK(before.insert(key.before).second);
    CHECK(now.insert(key.now).second);
    CHECK(key.before != key.now);
  }
  RunOptions defaults;
  for (const std::string& key : config_keys(defaults.sections())) {
    CAPTURE(key);
    CHECK(before.count(key) == 0);
  }
}

TEST_CASE("key names: the note has the old names and where the keys are now") {
  CHECK(old_names_note({}).empty());
  CHECK(old_names_note({{"train.lr", "optim.lr"},
                        {"train.momentum", "optim.momentum"},
                        {"train.decay_factor", "optim.milestone_factor"}}) ==
        "settings under their old names, which are still read: train.lr, train.momentum (in "
        "[optim] now); train.decay_factor (optim.milestone_factor now)");
}

TEST_CASE("key names: the hash of a config is that of the version before keys moved") {
  // Recorded by the program of commit 816c47b, whose configs were of version 1.
  const std::vector<Setting> tiny = {"method=sculpt",
                                     "seed=7",
                                     "model.name=resnet20",
                                     "model.width=0.25",
                                     "data.synthetic_train=96",
                                     "data.synthetic_test=40",
                                     "train.epochs=2",
                                     "train.batch=32",
                                     "optim.schedule=triangular",
                                     "optim.lr=0.05",
                                     "execution.winograd=off",
                                     "prune.criterion=random",
                                     "prune.allocation=erk",
                                     "prune.sparsity=0.8",
                                     "cycles.count=2"};
  const ConfigValues values = resolve(tiny).values;
  CHECK(config_hash(values) == "f7a13db225e78cfb");
  const auto with = [&](const std::string& key, const std::string& value) {
    ConfigValues changed = values;
    changed[key] = value;
    return config_hash(changed);
  };
  // Keys without effect do not count, and neither does a new key at its default.
  CHECK(with("execution.threads", "3") == config_hash(values));
  CHECK(with("data.root", "\"elsewhere\"") == config_hash(values));
  CHECK(with("optim.rule", "\"sgd\"") == config_hash(values));
  CHECK(with("optim.rule", "\"other\"") != config_hash(values));
  CHECK(with("optim.lr", "0.06") != config_hash(values));
  ConfigValues less = values;
  less.erase("optim.rule");
  CHECK(config_hash(less) == config_hash(values));
  // A key of version 1 counts at its default: older checkpoints recorded the keys of their time.
  less = values;
  less.erase("train.drop_last");
  CHECK(config_hash(less) != config_hash(values));
}

TEST_CASE("key names: a key that a run folder lacks has the value that runs had then") {
  const testing::TemporaryFolder folder;
  const std::string path = (folder / "config.toml").string();
  write_file(path, "seed = 3\n[train]\nlr = 0.2\n");
  RunOptions options = read_stored_options(path, {}).options;
  CHECK(options.train.execution.winograd == "off");
  CHECK(options.train.execution.sparse == "off");
  CHECK_FALSE(options.train.drop_last);
  CHECK(options.train.optim.lr == 0.2);
  CHECK(read_options(path, {}).options.train.execution.winograd == "auto");
  // What the file or the command says comes first.
  CHECK(read_stored_options(path, {"train.winograd=auto"}).options.train.execution.winograd ==
        "auto");
  write_file(path, "[train]\nsparse = 'on'\n");
  CHECK(read_stored_options(path, {}).options.train.execution.sparse == "on");
}
