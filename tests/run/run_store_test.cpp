// Checkpoints in a run folder are kept, damaged, missing, or belong to another config.

#include <doctest/doctest.h>

#include "engine/config/config.h"
#include "engine/core/files.h"
#include "engine/run/stored_config.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

const Plan kPlan = {Cycle{2}, PruneStep{"random", "uniform", 0.5}, Cycle{2}};

/// A run stopped in its second cycle.
void stop_in_second_cycle(const fs::path& folder) {
  TinyRun run(folder, kPlan);
  run.stop_after_step(7);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::interrupted);
  REQUIRE(run.trainer().state().cycle == 1);
}

std::vector<fs::path> states(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints"))
    if (entry.path().filename().string().starts_with("state-")) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::byte> finish(const fs::path& folder, std::vector<std::string>& warnings) {
  TinyRun run(folder, kPlan);
  run.trainer().resume(warnings);
  run.trainer().run();
  return read_file(RunFolder(folder).final_checkpoint());
}

void truncate(const fs::path& path) {
  fs::resize_file(path, fs::file_size(path) / 2);
}

}  // namespace

TEST_CASE("run store: two states are kept, and a damaged newest one is skipped by name") {
  TemporaryFolder whole;
  std::vector<std::string> none;
  const auto expected = finish(whole.path(), none);
  CHECK(none.empty());

  TemporaryFolder folder;
  stop_in_second_cycle(folder.path());
  const auto files = states(folder.path());
  REQUIRE(files.size() == 2);
  truncate(files[1]);
  std::vector<std::string> warnings;
  CHECK(finish(folder.path(), warnings) == expected);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], files[1].string()));
  CHECK(contains(warnings[0], "damaged"));
  // The records of the lost part occur once.
  const std::string metrics = read_text(RunFolder(folder.path()).metrics());
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 4);
}

TEST_CASE("run store: only damaged states is an error that names the folder") {
  TemporaryFolder folder;
  stop_in_second_cycle(folder.path());
  for (const fs::path& path : states(folder.path()))
    truncate(path);
  std::vector<std::string> warnings;
  const std::string message = error_of([&] { finish(folder.path(), warnings); });
  CHECK(contains(message, "no checkpoint in"));
  CHECK(contains(message, (folder.path() / "checkpoints").string()));
  CHECK(contains(message, "--restart"));
  CHECK(states(folder.path()).size() == 2);
}

TEST_CASE("run store: nothing is trained again in silence where a run has left something") {
  std::vector<std::string> warnings;
  TemporaryFolder folder;
  stop_in_second_cycle(folder.path());
  for (const fs::path& path : states(folder.path()))
    fs::remove(path);
  const std::string metrics = read_text(RunFolder(folder.path()).metrics());
  CHECK(contains(error_of([&] { finish(folder.path(), warnings); }), "no state (checkpoints/"));
  CHECK(read_text(RunFolder(folder.path()).metrics()) == metrics);

  for (const bool summary : {true, false}) {
    TemporaryFolder finished;
    finish(finished.path(), warnings);
    const RunFolder run(finished.path());
    fs::remove(run.metrics());
    fs::remove(run.layers());
    fs::remove(summary ? run.summary() : run.final_checkpoint());
    const std::string message = error_of([&] { finish(finished.path(), warnings); });
    CHECK(contains(message, summary ? "summary.json is missing" : "final.safetensors is missing"));
    CHECK(contains(message, "--restart"));
  }
  CHECK(warnings.empty());
}

TEST_CASE("run store: a run is there from its first state on, and starts again before") {
  std::vector<std::string> warnings;
  TemporaryFolder whole, folder;
  const auto expected = finish(whole.path(), warnings);
  {
    TinyRun run(folder.path(), kPlan);
    run.trainer().start();
  }
  REQUIRE(states(folder.path()).size() == 1);
  CHECK(finish(folder.path(), warnings) == expected);
  TemporaryFolder young;
  RunFolder(young.path()).prepare("");
  CHECK(finish(young.path(), warnings) == expected);
  CHECK(warnings.empty());
}

TEST_CASE("run store: damaged records do not make checkpoints unusable") {
  std::vector<std::string> warnings;
  TemporaryFolder whole, folder;
  const auto expected = finish(whole.path(), warnings);
  stop_in_second_cycle(folder.path());
  const RunFolder run(folder.path());
  std::string metrics = read_text(run.metrics());
  metrics.erase(metrics.find('\n'), 1);
  write_file(run.metrics(), metrics);
  write_file(run.layers(), std::string_view("{\"plan_step\": 1, \n"));
  CHECK(finish(folder.path(), warnings) == expected);
  REQUIRE(warnings.size() == 2);
  CHECK(contains(warnings[0], "metrics.jsonl"));
  CHECK(contains(warnings[0], "repaired"));
  CHECK(contains(warnings[1], "layers.damaged-1.jsonl"));
  const std::string after = read_text(run.metrics());
  CHECK(std::count(after.begin(), after.end(), '\n') == 4);
}

TEST_CASE("run store: a damaged result is noticed, and the advice helps") {
  std::vector<std::string> warnings;
  TemporaryFolder folder;
  finish(folder.path(), warnings);
  const RunFolder files(folder.path());
  TinyRun run(folder.path(), kPlan);
  const std::string summary = read_text(files.summary());
  CHECK(run.store().check_result().epochs == 4);
  for (const std::string& bad : {std::string(), summary.substr(0, summary.size() / 2),
                                 std::string("3"), std::string("{}"), summary + "x"}) {
    CAPTURE(bad);
    write_file(files.summary(), bad);
    const std::string message = error_of([&] { run.store().check_result(); });
    CHECK(contains(message, files.summary().string() + " is damaged"));
    CHECK(contains(message, "move the file away and give --resume"));
  }
  std::string other = summary;
  const auto place = other.find("\"kept\": ");
  other.replace(place, 8, "\"kept\": 1");
  write_file(files.summary(), other);
  CHECK(contains(error_of([&] { run.store().check_result(); }), "weights are kept"));
  fs::remove(files.summary());
  CHECK(run.store().has_ended());
  run.store().restore_summary();
  CHECK(read_text(files.summary()) == summary);

  auto weights = read_file(files.final_checkpoint());
  weights[weights.size() / 2] ^= std::byte{1};
  const Bytes part = weights;
  write_file(files.final_checkpoint(), std::span(&part, 1));
  const std::string message = error_of([&] { run.store().check_result(); });
  CHECK(contains(message, "final.safetensors is damaged"));
  CHECK(contains(message, "--restart"));
}

TEST_CASE("run store: a state of another config is refused") {
  TemporaryFolder folder;
  stop_in_second_cycle(folder.path());
  RunStore other(RunFolder(folder.path()), "another");
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  std::vector<std::string> warnings;
  CHECK(
      contains(error_of([&] { other.restore(network.parameters(), warnings); }), "another config"));
}

TEST_CASE("run store: a damaged rewind state is an error that names it") {
  TemporaryFolder folder;
  const Plan plan = {Cycle{2}, RewindStep{1}, Cycle{2}};
  {
    TinyRun run(folder.path(), plan);
    run.stop_after_step(4);
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::interrupted);
    REQUIRE(run.trainer().state().epochs == 1);
  }
  truncate(RunFolder(folder.path()).rewind_checkpoint(1));
  TinyRun run(folder.path(), plan);
  std::vector<std::string> warnings;
  run.trainer().resume(warnings);
  const std::string message = error_of([&] { run.trainer().run(); });
  CHECK(contains(message, "cannot rewind to epoch 1"));
  CHECK(contains(message, "rewind-epoch-1.safetensors"));
}

TEST_CASE("run folder: configs are compared key by key") {
  TemporaryFolder folder;
  const RunFolder run(folder.path());
  run.prepare("method = \"imp\"\n[train]\nlr = 0.1\nbatch = 8\n[data]\nroot = \"a\"\n");
  const auto values = [](const char* toml) { return flatten_config(toml, "x"); };
  const char* same = "method = 'imp'\n[train]\nbatch = 8\nlr = 0.1\n[data]\nroot = 'b'\n";
  CHECK(error_of([&] {
          require_same_config(run, stored_config(run), values(same), {"data.root"});
        }).empty());
  const std::string message = error_of([&] {
    require_same_config(run, stored_config(run),
                        values("method = 'wr'\n[train]\nlr = 0.2\nnew = 1\n"), {"data.root"});
  });
  CHECK(contains(message, folder.path().string()));
  CHECK(contains(message, "method: \"imp\" in the folder, \"wr\" now"));
  CHECK(contains(message, "train.lr: 0.1 in the folder, 0.2 now"));
  CHECK(contains(message, "train.batch: 8 in the folder, unknown now"));
  CHECK(contains(message, "train.new: not set in the folder, 1 now"));
  CHECK_FALSE(contains(message, "data.root"));
}

TEST_CASE("run folder: empty, used, finished, half-written") {
  TemporaryFolder parent;
  const RunFolder run(parent / "deep/er");
  CHECK(run.empty());
  run.prepare("method = \"imp\"\n");
  CHECK_FALSE(run.empty());
  CHECK_FALSE(run.finished());
  const std::string half = std::string(kTemporarySuffix);
  const std::vector<fs::path> ours = {run.root() / ("metrics.jsonl" + half),
                                      run.root() / ("summary.json" + half),
                                      run.checkpoints() / ("state-000001.safetensors" + half),
                                      run.checkpoints() / ("rewind-epoch-12.safetensors" + half),
                                      run.checkpoints() / ("final.safetensors" + half)};
  // Files of others keep their content, whatever they are called.
  const std::vector<fs::path> foreign = {
      run.checkpoints() / "state-1.safetensors",
      run.checkpoints() / "state-x.safetensors",
      run.checkpoints() / ("state-1.safetensors" + half),
      run.checkpoints() / ("rewind-epoch-012.safetensors" + half),
      run.checkpoints() / "state-000001.safetensors.tmp",
      run.root() / "config.toml.tmp",
      run.root() / "thesis.tmp",
      run.root() / ("thesis" + half)};
  for (const auto* list : {&ours, &foreign})
    for (const fs::path& path : *list)
      write_file(path, std::string_view("half"));
  run.prepare("method = \"imp\"\n");
  for (const fs::path& path : ours)
    CHECK_FALSE(fs::exists(path));
  for (const fs::path& path : foreign)
    CHECK(read_text(path) == "half");
  CHECK(run.states().empty());

  // Killed before the first file was complete.
  fs::create_directories(parent / "young");
  write_file(parent / ("young/config.toml" + half), std::string_view("meth"));
  CHECK(RunFolder(parent / "young").empty());
  write_file(parent / "young/notes.tmp", std::string_view("mine"));
  CHECK_FALSE(RunFolder(parent / "young").empty());
  write_file(parent / "file", std::string_view("x"));
  CHECK(contains(error_of([&] { RunFolder(parent / "file").empty(); }), "not a folder"));
}
