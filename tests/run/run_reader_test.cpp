// Records that a run has written are read back, also from damaged and half-written folders.

#include "engine/run/run_reader.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/run_lock.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig =
    "format = \"sculpt-config-2\"\nmethod = \"lrr\"\nseed = 7\n[data]\nroot = \"a \\\"b\\\" c\"\n"
    "[prune]\nsparsity = 0.95\nexempt = [\"conv1\"]\n";

void write_run(const fs::path& folder) {
  fs::create_directories(folder);
  write_file(folder / "config.toml", kConfig);
  write_file(folder / "environment.json",
             "{\"format\": \"sculpt-environment-1\", \"commit\": \"abc\", \"processors\": 2, "
             "\"caches\": {\"l2\": 5}}");
}

/// Makes the run in the folder a finished one.
void write_finished(const fs::path& folder, int64_t epochs) {
  RunState state;
  state.test_accuracy = 0.5;
  state.epochs = epochs;
  RunIdentity identity;
  identity.method = "lrr";
  identity.model = "resnet20";
  identity.data = "cifar10";
  identity.seed = 5;
  write_file(folder / "summary.json", summary_json(identity, state, {}));
  fs::create_directories(folder / "checkpoints");
  for (const char* name : {"final.safetensors", "end.safetensors"})
    write_file(folder / "checkpoints" / name, "x");
}

EpochMetrics random_epoch(std::mt19937& random, int64_t epoch) {
  std::uniform_real_distribution<double> uniform(0, 1);
  EpochMetrics metrics;
  metrics.cycle = 1 + epoch / 3;
  metrics.cycle_epoch = 1 + epoch % 3;
  metrics.epoch = epoch;
  metrics.lr = uniform(random);
  metrics.train_loss = uniform(random);
  metrics.train_accuracy = uniform(random);
  if (epoch % 2 == 0) metrics.test_loss = metrics.test_accuracy = uniform(random);
  metrics.density = uniform(random);
  metrics.images_per_second = 1000 * uniform(random);
  metrics.seconds = uniform(random);
  return metrics;
}

bool same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

}  // namespace

TEST_CASE("run reader: epochs come back with all their bits") {
  TemporaryFolder folder;
  write_run(folder.path());
  std::mt19937 random(3);
  std::vector<EpochMetrics> epochs;
  std::string lines;
  for (int64_t epoch = 1; epoch <= 9; ++epoch) {
    epochs.push_back(random_epoch(random, epoch));
    lines += to_json_line(epochs.back());
  }
  EpochMetrics last = random_epoch(random, 10);
  last.train_loss = NAN;
  last.diverged = true;
  epochs.push_back(last);
  lines += to_json_line(last);
  write_file(folder / "metrics.jsonl", lines);

  const RunRecords run = read_run(folder.path());
  CHECK(run.problems.empty());
  CHECK(run.status == RunStatus::stopped);
  CHECK(run.diverged());
  REQUIRE(run.epochs.size() == epochs.size());
  for (size_t i = 0; i < epochs.size(); ++i) {
    const EpochMetrics &a = run.epochs[i], &b = epochs[i];
    CHECK(a.cycle == b.cycle);
    CHECK(a.cycle_epoch == b.cycle_epoch);
    CHECK(a.epoch == b.epoch);
    CHECK(same(a.lr, b.lr));
    CHECK(same(a.train_loss, b.train_loss));
    CHECK(same(a.train_accuracy, b.train_accuracy));
    CHECK(same(a.test_loss, b.test_loss));
    CHECK(same(a.test_accuracy, b.test_accuracy));
    CHECK(same(a.density, b.density));
    CHECK(same(a.images_per_second, b.images_per_second));
    CHECK(same(a.seconds, b.seconds));
    CHECK(a.diverged == b.diverged);
  }
}

TEST_CASE("run reader: settings are plain texts, prunes and layers keep their sources") {
  TemporaryFolder folder;
  write_run(folder.path());
  PruneReport report;
  report.step = {.criterion = "snip", .allocation = "global", .density = 0.25};
  report.layers = {{.name = "conv1.weight", .shape = {8, 3, 3, 3}, .count = 216, .kept = 54}};
  MaskReport masks;
  masks.changed_by = "rigl";
  masks.layers = report.layers;
  masks.layers[0].kept = 53;
  write_file(folder / "layers.jsonl", layer_lines(report, {}, 0, 2) + layer_lines(masks, {}, 4, 9));
  PruneMetrics prune;
  prune.step = report.step;
  prune.plan_step = 3;
  prune.prunable = 216;
  prune.kept = 54;
  prune.measured.now = {.loss = 1.5, .accuracy = 0.5};
  write_file(folder / "prunes.jsonl", to_json_line(prune));

  const RunRecords run = read_run(folder.path());
  CHECK(run.problems.empty());
  CHECK(run.setting("method") == "lrr");
  CHECK(run.setting("seed") == "7");
  CHECK(run.setting("data.root") == "a \"b\" c");
  CHECK(run.setting("prune.sparsity") == "0.95");
  CHECK(run.setting("prune.exempt") == "[\"conv1\"]");
  CHECK(run.setting("prune.other") == "");
  CHECK(run.environment.at("commit") == "abc");
  CHECK(run.environment.at("processors") == "2");
  REQUIRE(run.layers.size() == 2);
  CHECK(run.layers[0].is_prune);
  CHECK(run.layers[0].changed_by == "snip");
  CHECK(run.layers[0].kept == 54);
  CHECK_FALSE(run.layers[1].is_prune);
  CHECK(run.layers[1].changed_by == "rigl");
  CHECK(run.layers[1].plan_step == 4);
  CHECK(run.layers[1].epoch == 9);
  CHECK(run.layers[1].count == 216);
  REQUIRE(run.prunes.size() == 1);
  CHECK(run.prunes[0].plan_step == 3);
  CHECK(run.prunes[0].criterion == "snip");
  CHECK(run.prunes[0].kept == 54);
  CHECK(run.prunes[0].test_loss == 1.5);
  CHECK(read_run(folder.path(), ReadRecords::results).prunes.empty());
}

TEST_CASE("run reader: a finished run has its results") {
  TemporaryFolder folder;
  write_run(folder.path());
  RunState state;
  state.test_accuracy = 0.625;
  state.steps = 4;
  RunIdentity identity;
  identity.method = "lrr";
  identity.model = "resnet20";
  RunCost cost;
  cost.prunable = 8;
  cost.kept = 2;
  write_file(folder / "summary.json", summary_json(identity, state, cost));
  fs::create_directories(folder / "checkpoints");
  for (const char* name : {"final.safetensors", "end.safetensors"})
    write_file(folder.path() / "checkpoints" / name, "x");
  const RunRecords run = read_run(folder.path());
  CHECK(run.finished());
  CHECK(run.result("test_accuracy") == 0.625);
  CHECK(run.result("sparsity") == 0.75);
  CHECK(std::isnan(run.result("seconds_dense")));
  CHECK(std::isnan(run.result("no such result")));
  CHECK(run.summary_texts.at("model") == "resnet20");
  // A damaged result is no result.
  for (const char* damaged :
       {"{\"format\": \"sculpt-summary-1\", \"test_accuracy\": \"NaN\"}", "{\"test_acc"}) {
    write_file(folder / "summary.json", damaged);
    const RunRecords other = read_run(folder.path());
    CHECK(other.status == RunStatus::stopped);
    REQUIRE(other.problems.size() == 1);
    CHECK(other.problems[0].find("summary.json is damaged") != std::string::npos);
  }
}

TEST_CASE("run reader: the values of analyses have the names of their files") {
  TemporaryFolder folder;
  write_run(folder.path());
  fs::create_directories(folder / "analysis");
  write_file(
      folder / "analysis/flips.json",
      "{\"format\": \"sculpt-analysis-1\", \"values\": {\"flipped.1-2\": 0.25, \"x\": null}}");
  write_file(folder / "analysis/broken.json", "{");
  const RunRecords run = read_run(folder.path());
  CHECK(run.analyses == std::map<std::string, double>{{"flips.flipped.1-2", 0.25}});
  CHECK(run.problems.empty());
  const std::vector<std::string> problems = run.all_problems();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("broken.json is damaged") != std::string::npos);
}

TEST_CASE("run reader: damaged records are named, and the others are read") {
  TemporaryFolder folder;
  write_run(folder.path());
  std::mt19937 random(5);
  const std::string good = to_json_line(random_epoch(random, 1));
  write_file(folder / "metrics.jsonl", good + "{\"epoch\": 2, \n" +
                                           to_json_line(random_epoch(random, 3)) +
                                           good.substr(0, good.size() / 2));
  write_file(folder / "environment.json", "{");
  const RunRecords run = read_run(folder.path());
  REQUIRE(run.epochs.size() == 2);
  CHECK(run.epochs[1].epoch == 3);
  // The last line has no end, so a process may be writing it.
  REQUIRE(run.problems.size() == 2);
  CHECK(run.problems[0].find("environment.json is damaged") != std::string::npos);
  CHECK(run.problems[1].find("metrics.jsonl, line 2 is damaged") != std::string::npos);
}

TEST_CASE("run reader: damage of a finished run is named with its line and with what is missing") {
  TemporaryFolder folder;
  write_run(folder.path());
  write_finished(folder.path(), 4);
  std::mt19937 random(11);
  std::vector<std::string> lines;
  for (int64_t epoch = 1; epoch <= 4; ++epoch)
    lines.push_back(to_json_line(random_epoch(random, epoch)));
  const auto problems_of = [&](const std::string& metrics) {
    write_file(folder / "metrics.jsonl", metrics);
    return read_run(folder.path()).problems;
  };
  const auto has = [](const std::vector<std::string>& problems, const std::string& text) {
    return std::ranges::any_of(problems,
                               [&](const auto& p) { return p.find(text) != std::string::npos; });
  };
  const std::vector<std::string> none = problems_of(lines[0] + lines[1] + lines[2] + lines[3]);
  CHECK_FALSE(has(none, "metrics.jsonl"));
  const auto two = problems_of(lines[0] + "{\n" + lines[2] + lines[3]);
  CHECK(has(two,
            "metrics.jsonl, line 2 is damaged and is left out, so the values of one epoch are "
            "missing"));
  CHECK(two.size() == none.size() + 1);
  // A value of another type, and a record of something else.
  std::string text = lines[1];
  text.replace(text.find("\"epoch\":2"), 9, "\"epoch\":\"\"");
  CHECK(has(problems_of(lines[0] + text + lines[2] + lines[3]), "line 2 is damaged"));
  CHECK(has(problems_of(lines[0] + "{\"format\":\"sculpt-metrics-1\"}\n"), "has no number as"));
  // A line of a finished run that was cut off, and records that are missing altogether.
  CHECK(has(problems_of(lines[0] + lines[1] + lines[2] + lines[3].substr(0, 40)),
            "metrics.jsonl, line 4 is damaged"));
  CHECK(has(problems_of(lines[1]),
            "metrics.jsonl is damaged or missing: it has no record of epochs 1 and 3 to 4, so "
            "curves lack them"));
  fs::remove(folder / "metrics.jsonl");
  CHECK(has(read_run(folder.path()).problems, "no record of epochs 1 to 4"));
}

TEST_CASE("run reader: records behind a link to a device are left out") {
  TemporaryFolder folder;
  write_run(folder.path());
  fs::create_symlink("/dev/zero", folder / "metrics.jsonl");  // has no end
  const RunRecords run = read_run(folder.path());
  CHECK(run.epochs.empty());
  REQUIRE(run.problems.size() == 1);
  CHECK(run.problems[0].find("metrics.jsonl is no ordinary file") != std::string::npos);
}

TEST_CASE("run reader: a finished run with a damaged config keeps what its summary says") {
  TemporaryFolder folder;
  write_run(folder.path());
  write_finished(folder.path(), 0);
  for (const char* config : {"method = [", "format = \"sculpt-config-2\"\n"}) {
    write_file(folder / "config.toml", config);
    const RunRecords run = read_run(folder.path());
    CHECK_FALSE(run.config_is_whole);
    REQUIRE(run.problems.size() == 1);
    CHECK(run.problems[0].find("config.toml") != std::string::npos);
    CHECK(run.problems[0].find("settings of the run are missing") != std::string::npos);
    CHECK(run.setting("method") == "lrr");
    CHECK(run.setting("model.name") == "resnet20");
    CHECK(run.setting("seed") == "5");
  }
}

TEST_CASE("run reader: an analysis of a newer program is left out, and the run is read") {
  TemporaryFolder folder;
  write_run(folder.path());
  fs::create_directories(folder / "analysis");
  write_file(folder / "analysis/flips.json", "{\"format\": \"sculpt-analysis-99\"}");
  const RunRecords run = read_run(folder.path());
  const std::vector<std::string> problems = run.all_problems();
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].find("flips.json") != std::string::npos);
  CHECK(problems[0].find("newer") != std::string::npos);
}

TEST_CASE("run reader: a folder of something else, and a newer program's folder, are errors") {
  TemporaryFolder folder;
  CHECK_THROWS_AS(read_run(folder / "missing"), Error);
  CHECK_THROWS_AS(read_run(folder.path()), Error);
  write_file(folder / "config.toml", kConfig);
  CHECK_FALSE(is_run_folder(folder.path()));  // any project may have a config.toml
  write_file(folder / "metrics.jsonl", "{\"format\":\"sculpt-metrics-99\"}\n");
  CHECK(is_run_folder(folder.path()));
  CHECK_THROWS_AS(read_run(folder.path()), NewerFormat);
}

TEST_CASE("run reader: a run with a lock is running") {
  TemporaryFolder folder;
  write_run(folder.path());
  CHECK(read_run(folder.path()).status == RunStatus::stopped);
  {
    const RunLock lock(folder.path());
    CHECK(read_run(folder.path()).status == RunStatus::running);
  }
  CHECK(read_run(folder.path()).status == RunStatus::stopped);
}

TEST_CASE("run reader: runs are found below a folder, once each") {
  TemporaryFolder folder;
  for (const char* name : {"b", "a/x", "a/x/earlier-1", "c/logs"})
    fs::create_directories(folder / name);
  write_run(folder / "b");
  write_run(folder / "a/x");
  write_run(folder / "a/x/earlier-1");
  fs::create_directory_symlink("../a", folder / "c/link");
  fs::create_directory_symlink("..", folder / "a/back");
  const auto found = find_runs(folder.path());
  REQUIRE(found.size() == 2);
  CHECK(fs::canonical(found[0]) == fs::canonical(folder / "a/x"));
  CHECK(found[1] == folder / "b");
  CHECK_THROWS_AS(find_runs(folder / "missing"), Error);
}
