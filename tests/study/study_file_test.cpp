// Study files: what they say, how sizes and commands change it, and what is refused.

#include "engine/study/study_file.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/report/verdict_table.h"
#include "engine/study/expand.h"
#include "tests/report/reported_runs.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

constexpr RenamedKey kRenamed[] = {{"train.lr", "optim.lr"}};

ConfigKeys keys() {
  return {{"method", "seed", "prune.sparsity", "train.epochs", "optim.lr", "cycles.count", "plan",
           "execution.threads"},
          kRenamed};
}

/// A folder with a study file and the base configs that it names.
class StudyText {
 public:
  StudyText() {
    write_file(folder_ / "base.toml", "method = \"dense\"\n");
    write_file(folder_ / "other.toml", "method = \"imp\"\n");
  }

  Study read(const std::string& text, const StudyChoices& choices = {}) const {
    const std::string file = (folder_ / "study.toml").string();
    write_file(file, text);
    return read_study_file(file, choices, keys());
  }

  std::string error(const std::string& text, const StudyChoices& choices = {}) const {
    return error_of([&] { read(text, choices); });
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kWhole = R"(
title = "Cyclic training"
base = "base.toml"
out = "runs/c2"
pool = "runs/pool"

[set]
train.epochs = 20
train.lr = 0.1

[vary]
seed = [1, 2, 3]
prune.sparsity = [0.9, 0.95]

[variant.lrr]
label = "LRR"
method = "lrr"

[variant.cyclic]
base = "other.toml"
method = "cyclic"
cycles.count = 4

[size.laptop]
train.epochs = 2
vary.seed = [1, 2]
variant.cyclic.cycles.count = 2

[size.gpu]
vary.cycles.count = [1, 2]

[[exclude]]
variant = "lrr"
prune.sparsity = 0.95

[[claim]]
id = "C2"
text = "Cyclic training is better."
better = "cyclic"
than = { variant = "lrr" }
metric = "train_loss"
direction = "lower"
over = ["prune.sparsity"]
where = { prune.sparsity = [0.9, 0.95] }

[[figure]]
name = "accuracy"
title = "Accuracy against sparsity"
x = "prune.sparsity"
log_x = true
)";

std::vector<std::string> texts(const StudyAxis& axis) {
  std::vector<std::string> all;
  for (const StudyValue& value : axis.values)
    all.push_back(value.text());
  return all;
}

std::string setting(const Study& study, const std::string& key) {
  const auto found = study.settings.find(key);
  return found == study.settings.end() ? "" : found->second.toml;
}

}  // namespace

TEST_CASE("study file: all parts are read") {
  const StudyText file;
  const Study study = file.read(kWhole);
  CHECK(study.title == "Cyclic training");
  CHECK(study.name == "study");
  CHECK(study.base == file.path("base.toml"));
  CHECK(study.folder == "runs/c2");
  CHECK(study.pool == "runs/pool");
  CHECK(study.size == "laptop");
  CHECK(study.sizes == std::vector<std::string>{"laptop", "gpu"});
  CHECK(setting(study, "train.epochs") == "2");
  CHECK(setting(study, "optim.lr") == "0.1");  // under the name of today
  CHECK(setting(study, "execution.threads") == "1");
  REQUIRE(study.axes.size() == 3);
  CHECK(study.axes[0].key == "variant");
  CHECK(texts(study.axes[0]) == std::vector<std::string>{"lrr", "cyclic"});
  CHECK(study.axes[1].key == "seed");
  CHECK(texts(study.axes[1]) == std::vector<std::string>{"1", "2"});
  CHECK(study.axes[2].key == "prune.sparsity");
  CHECK(texts(study.axes[2]) == std::vector<std::string>{"0.9", "0.95"});
  REQUIRE(study.variants.size() == 2);
  CHECK(study.variants[0].label == "LRR");
  CHECK(study.variants[1].label == "cyclic");
  CHECK(study.variants[1].base == file.path("other.toml"));
  CHECK(study.variants[1].settings.at("cycles.count").toml == "2");
  REQUIRE(study.claims.size() == 1);
  const StudyClaim& claim = study.claims[0];
  CHECK(claim.better.values.at("variant") == std::vector<std::string>{"cyclic"});
  CHECK(claim.than.values.at("variant") == std::vector<std::string>{"lrr"});
  CHECK(claim.metric == "train_loss");
  CHECK(claim.direction == "lower");
  CHECK(claim.over == std::vector<std::string>{"prune.sparsity"});
  CHECK(claim.where.values.at("prune.sparsity") == std::vector<std::string>{"0.9", "0.95"});
  REQUIRE(study.figures.size() == 1);
  CHECK(study.figures[0].x == "prune.sparsity");
  CHECK(study.figures[0].y == "test_accuracy");
  CHECK(study.figures[0].series == "variant");
  CHECK(study.figures[0].log_x);
  CHECK_FALSE(study.figures[0].log_y);
}

TEST_CASE("study file: another size has its own values and its own folder") {
  const StudyText file;
  StudyChoices choices;
  choices.size = "gpu";
  const Study study = file.read(kWhole, choices);
  CHECK(study.folder == "runs/c2-gpu");
  CHECK(setting(study, "train.epochs") == "20");
  CHECK(study.variants[1].settings.at("cycles.count").toml == "4");
  CHECK(texts(study.axes[1]) == std::vector<std::string>{"1", "2", "3"});
  CHECK(study.axes.back().key == "cycles.count");
  choices.size = "gpuu";
  CHECK(contains(file.error(kWhole, choices), "no such size, did you mean \"gpu\"?"));
}

TEST_CASE("study file: a command sets keys for all runs, and the values of axes") {
  const StudyText file;
  StudyChoices choices;
  choices.settings = {"train.epochs=1", "cycles.count=7", "vary.seed=[5]", "method=imp"};
  choices.out = "elsewhere";
  const Study study = file.read(kWhole, choices);
  CHECK(setting(study, "train.epochs") == "1");
  CHECK(setting(study, "method") == "\"imp\"");
  CHECK(study.variants[1].settings.count("cycles.count") == 0);
  CHECK(study.variants[0].settings.count("method") == 0);
  CHECK(texts(study.axes[1]) == std::vector<std::string>{"5"});
  CHECK(study.folder == "elsewhere");
  choices.settings = {"seed=4"};
  CHECK(contains(file.error(kWhole, choices), "write --set vary.seed=[4]"));
  choices.settings = {"sede=4"};
  CHECK(
      contains(file.error(kWhole, choices), "--set sede=4: there is no key 'sede', did you mean"));
}

TEST_CASE("study file: mistakes name file, line, key and what was meant") {
  const StudyText file;
  const std::string base = "base = \"base.toml\"\n";
  struct Case {
    std::string text, part;
  };
  const std::vector<Case> cases = {
      {base + "[set]\nprune.sparsty = 0.9\n",
       "study.toml:3: there is no key 'prune.sparsty', did you mean \"prune.sparsity\"?"},
      {base + "[vary]\nsedes = [1]\n", "study.toml:3: there is no key 'sedes'"},
      {base + "[variant.a]\nmetod = \"imp\"\n", "study.toml:3: there is no key 'metod'"},
      {base + "[size.a]\nvary.sed = [1]\n", "study.toml:3: there is no key 'sed'"},
      {base + "titel = \"x\"\n", "study.toml:2: a study file has no key 'titel', did you mean"},
      {base + "method = \"imp\"\n", "keys of the config stand in the table [set]"},
      {base + "[vary]\nseed = 3\n", "study.toml:3: seed must be a list, such as [3]"},
      {base + "[vary]\nseed = []\n", "seed has no value"},
      {base + "[vary]\nprune.sparsity = [0.9, 0.90]\n", "has the value 0.9 twice"},
      {base + "[set]\nseed = 1\n[vary]\nseed = [1]\n", "seed has a list of values in [vary], too"},
      {base + "[vary]\nvariant = [\"b\"]\n[variant.a]\nmethod = \"imp\"\n",
       "study.toml:3: there is no variant \"b\""},
      {base + "[size.a]\nvariant.b.seed = 1\n", "study.toml:3: there is no variant 'b'"},
      {base + "[variant.\"a b\"]\nmethod = \"imp\"\n",
       "the name 'a b' becomes part of folder names"},
      {"base = \"missing.toml\"\n", "study.toml:1: there is no config"},
      {"[vary]\nseed = [1]\n", "there is no base config"},
      {"[variant.a]\nseed = 1\n", "variant a has no base config"},
      {base + "[set]\nseed = 1979-05-27\n", "study.toml:3: seed must be a number"},
      {base + "[[exclude]]\n", "names no key"},
      {base + "[exclude]\nseed = 1\n", "write [[exclude]] with double brackets"},
      {base + "[vary]\nseed = [1]\n[[exclude]]\nseed = 2\n", "study.toml:5: there is no seed 2"},
      {base + "[[claim]]\nid = \"C\"\n", "[[claim]] needs the key text"},
      {base + "[[claim]]\nid = \"C\"\ntext = \"t\"\nbetter = \"a\"\nthan = \"b\"\n",
       "study.toml:5: there is no variant \"a\""},
      {base + "[[claim]]\nid = \"C\"\ntext = \"t\"\nbeter = \"a\"\n",
       "study.toml:5: [[claim]] has no key 'beter', did you mean \"better\"?"},
      {base + "[[figure]]\nname = \"a\"\nx = \"sparsty\"\n",
       "study.toml:4: there is no metric 'sparsty', did you mean \"sparsity\"?"},
      {base + "[[figure]]\nname = \"A b\"\nx = \"sparsity\"\n", "becomes part of file names"},
      {base + "[[figure]]\nname = \"a\"\nx = \"sparsity\"\ny = \"seed\"\n", "no metric 'seed'"},
      {base + "[[figure]]\nname = \"a\"\nx = \"sparsity\"\nlog_x = 1\n", "must be true or false"},
      {"format = \"sculpt-study-2\"\n" + base, "newer"},
      {base + "[set\n", "study.toml:2"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.text);
    const std::string message = file.error(one.text);
    CAPTURE(message);
    CHECK(contains(message, one.part));
  }
  StudyChoices choices;
  choices.size = "a";
  CHECK(contains(file.error(base, choices), "has no sizes"));
  CHECK(contains(error_of([&] { read_study_file(file.path("none.toml"), {}, keys()); }),
                 "there is no study file"));
}

TEST_CASE("study file: a value that only another size has may be named") {
  const StudyText file;
  const std::string text = R"(
base = "base.toml"
[vary]
prune.sparsity = [0.5, 0.6]
[variant.pruned]
[variant.dense]
prune.sparsity = 0.1
[size.a]
[size.b]
vary.prune.sparsity = [0.7]
[[exclude]]
prune.sparsity = VALUE
)";
  for (const char* value : {"0.5", "0.70", "0.1"}) {
    std::string named = text;
    CHECK(file.error(named.replace(named.find("VALUE"), 5, value)) == "");
  }
  std::string other = text;
  CHECK(contains(file.error(other.replace(other.find("VALUE"), 5, "0.8")),
                 "there is no prune.sparsity 0.8 in the study"));
}

TEST_CASE("study file: an exclusion names only keys to which the study gives a value") {
  const StudyText file;
  const std::string text = R"(
base = "base.toml"
[vary]
seed = [1, 2]
[variant.a]
optim.lr = 0.1
[variant.b]
[size.small]
train.epochs = 2
[size.large]
train.epochs = 9
vary.seed = [3]
)";
  const auto excluded = [&](const std::string& exclusion, const StudyChoices& choices = {}) {
    return file.read(text + "[[exclude]]\n" + exclusion, choices).excluded.size();
  };
  // The base config sets the method, and its value is not compared.
  CHECK(contains(file.error(text + "[[exclude]]\nmethod = \"dense\"\n"),
                 "study.toml:13: [[exclude]] names method, to which the study itself gives no"));
  CHECK(excluded("optim.lr = 0.1\n") == 1);
  CHECK(excluded("train.epochs = 2\nseed = 2\n") == 1);
  // These belong to the other size, or to a value that the command has replaced.
  CHECK(excluded("seed = 3\n") == 0);
  CHECK(excluded("train.epochs = 9\n") == 0);
  StudyChoices choices;
  choices.settings = {"vary.seed=[1]"};
  CHECK(excluded("seed = 2\n", choices) == 0);
  CHECK(excluded("seed = 1\n", choices) == 1);
  choices.settings = {"optim.lr=0.5"};
  CHECK(excluded("optim.lr = 0.1\n", choices) == 0);
  // A value that the study has nowhere stays, so that somebody warns of it.
  CHECK(excluded("optim.lr = 0.7\n") == 1);
  choices.settings = {"vary.variant=[\"b\"]"};
  CHECK(excluded("variant = \"a\"\n", choices) == 1);
}

TEST_CASE("study file: a misspelt key of a size that is not chosen is named") {
  const StudyText file;
  const std::string base = "base = \"base.toml\"\n[variant.a]\n[size.small]\n[size.large]\n";
  CHECK(contains(file.error(base + "train.epoch = 3\n"), "study.toml:5: there is no key"));
  CHECK(
      contains(file.error(base + "variant.a.train.epoch = 3\n"), "study.toml:5: there is no key"));
}

TEST_CASE("study file: a figure cannot have the name of a table of the report") {
  const StudyText file;
  StudyPage page;
  for (int seed = 1; seed <= 2; ++seed) {
    page.runs.push_back(finished_run("lrr", 0.9, seed, 0.5));
    page.runs.push_back(finished_run("imp", 0.5, seed, 0.5));
    page.runs.back().records.config["optim.lr"] = "0.3";
  }
  page.verdicts.push_back(verdict_table({}));
  size_t tables = 0;
  for (const Section& section : study_report(page, context()).sections)
    for (const Table& table : section.tables) {
      CAPTURE(table.name);
      ++tables;
      CHECK(contains(file.error("base = \"base.toml\"\n[[figure]]\nname = \"" + table.name +
                                "\"\nx = \"sparsity\"\n"),
                     "study.toml:3: a figure cannot have the name '" + table.name + "'"));
    }
  CHECK(tables >= 5);
}

TEST_CASE("study file: the written file expands to the same runs") {
  const StudyText file;
  for (const char* size : {"laptop", "gpu"}) {
    StudyChoices choices;
    choices.size = size;
    const Study study = file.read(kWhole, choices);
    TemporaryFolder out;
    write_file(out / "base.toml", "method = \"dense\"\n");
    write_file(out / "base-cyclic.toml", "method = \"imp\"\n");
    write_file(out / "study.toml", to_toml(study, {{file.path("base.toml"), "base.toml"},
                                                   {file.path("other.toml"), "base-cyclic.toml"}}));
    const Study again = read_study_folder(out.path());
    CHECK(again.title == study.title);
    CHECK(again.size == size);
    CHECK(again.source == study.file);
    CHECK(again.pool == study.pool);
    const std::vector<StudyRun> a = expand(study), b = expand(again);
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i].name == b[i].name);
      CHECK(a[i].label == b[i].label);
      CHECK(a[i].axes == b[i].axes);
      REQUIRE(a[i].settings.size() == b[i].settings.size());
      for (const auto& [key, value] : a[i].settings)
        CHECK(value.toml == b[i].settings.at(key).toml);
      CHECK(b[i].folder == out.path() / a[i].name);
    }
    REQUIRE(again.claims.size() == 1);
    CHECK(again.claims[0].better.values == study.claims[0].better.values);
    CHECK(again.claims[0].where.values == study.claims[0].where.values);
    CHECK(again.claims[0].direction == "lower");
    CHECK(again.claims[0].over == study.claims[0].over);
    REQUIRE(again.figures.size() == 1);
    CHECK(again.figures[0].log_x);
  }
}

TEST_CASE("study file: analyses are read, written, and checked by name") {
  const StudyText file;
  const std::string text = "base = \"base.toml\"\nanalyze = [\"flips\", \"hessian --top 3\"]\n";
  const Study study = file.read(text);
  CHECK(study.analyses == std::vector<std::string>{"flips", "hessian --top 3"});
  TemporaryFolder out;
  write_file(out / "base.toml", "method = \"dense\"\n");
  write_file(out / "study.toml", to_toml(study, {{file.path("base.toml"), "base.toml"}}));
  CHECK(read_study_folder(out.path()).analyses == study.analyses);
  CHECK(contains(file.error("base = \"base.toml\"\nanalyze = [\"hesian\"]\n"),
                 "no analysis of runs 'hesian', did you mean \"hessian\"?"));
  CHECK(contains(file.error("base = \"base.toml\"\nanalyze = \"flips\"\n"), "must be a list"));
}

TEST_CASE("study file: a folder without one is refused") {
  TemporaryFolder folder;
  CHECK(contains(error_of([&] { read_study_folder(folder.path()); }), "not the folder of a study"));
}
