// train.keep leaves a checkpoint of the end of each cycle in the run folder.

#include <algorithm>
#include <doctest/doctest.h>
#include <map>

#include "engine/core/files.h"
#include "engine/formats/safetensors.h"
#include "engine/run/run_folder.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

const Plan kPlan = {Cycle{2}, PruneStep{"magnitude", "global", 0.6}, RewindStep{0},
                    Cycle{2}, PruneStep{"magnitude", "global", 0.3}, Cycle{2}};

TrainOptions keeping(const std::string& what) {
  TrainOptions options = TinyRun::tiny_options();
  options.keep = what;
  return options;
}

/// The bytes of the checkpoints of cycles, by file name.
std::map<std::string, std::vector<std::byte>> cycles_in(const fs::path& folder) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& [cycle, path] : RunFolder(folder).cycle_checkpoints())
    files[path.filename().string()] = read_file(path);
  return files;
}

std::map<std::string, std::vector<std::byte>> cycles_of_whole_run(const std::string& keep) {
  const TemporaryFolder folder;
  TinyRun run(folder.path(), kPlan, keeping(keep));
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  return cycles_in(folder.path());
}

std::vector<std::string> names_of(const std::map<std::string, std::vector<std::byte>>& files) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files)
    names.push_back(name);
  return names;
}

}  // namespace

TEST_CASE("keep cycles: none, all, or the last ones") {
  CHECK(cycles_of_whole_run("none").empty());
  const std::vector<std::string> all = {"cycle-1.safetensors", "cycle-2.safetensors",
                                        "cycle-3.safetensors"};
  const auto kept = cycles_of_whole_run("cycles");
  CHECK(names_of(kept) == all);
  const auto two = cycles_of_whole_run("2");
  CHECK(names_of(two) == std::vector(all.begin() + 1, all.end()));
  CHECK((two.at(all[2]) == kept.at(all[2])));
  CHECK((cycles_of_whole_run("7") == kept));
}

TEST_CASE("keep cycles: a file holds the network at the end of its cycle, before the next prune") {
  const TemporaryFolder folder;
  TinyRun whole(folder.path(), kPlan, keeping("cycles"));
  whole.trainer().start();
  REQUIRE(whole.trainer().run() == RunOutcome::finished);
  const int64_t ends[] = {1, 4, 6};  // the plan's steps after the cycles
  for (const int64_t cycle : {1, 2, 3}) {
    CAPTURE(cycle);
    const TemporaryFolder other;
    TinyRun stopped(other.path(), kPlan, keeping("none"));
    stopped.stop_before_plan_step(ends[cycle - 1]);
    stopped.trainer().start();
    stopped.trainer().run();
    ParameterArena& arena = stopped.network().parameters();
    arena.store_dense();
    const auto file =
        safetensors::File::read(RunFolder(folder.path()).cycle_checkpoint(cycle), true);
    CHECK(file.metadata("cycle") == std::to_string(cycle));
    CHECK(file.metadata("epochs") == std::to_string(2 * cycle));
    for (const Parameter& p : arena.parameters()) {
      std::vector<float> weights(static_cast<size_t>(p.count));
      file.get(p.name, safetensors::Dtype::f32, p.shape)
          .copy_to(std::as_writable_bytes(std::span(weights)));
      CHECK(std::ranges::equal(weights, ParameterArena::slice(arena.weights<float>(), p)));
      if (!p.prunable) continue;
      std::vector<uint8_t> mask(static_cast<size_t>(p.count));
      file.get(p.name + ".mask", safetensors::Dtype::u8, p.shape)
          .copy_to(std::as_writable_bytes(std::span(mask)));
      CHECK(std::ranges::equal(mask, ParameterArena::slice(arena.masks(), p)));
    }
  }
}

TEST_CASE("keep cycles: an interruption at any moment leaves the same files") {
  const auto expected_all = cycles_of_whole_run("cycles"), expected_two = cycles_of_whole_run("2");
  bool interrupted = true;
  for (int64_t moment = 0; interrupted; moment += 3) {
    CAPTURE(moment);
    for (const char* keep : {"cycles", "2"}) {
      const TemporaryFolder folder;
      {
        TinyRun first(folder.path(), kPlan, keeping(keep));
        first.stop_at_question(moment);
        first.trainer().start();
        interrupted = first.trainer().run() == RunOutcome::interrupted;
      }
      if (interrupted) {
        TinyRun next(folder.path(), kPlan, keeping(keep));
        std::vector<std::string> warnings;
        next.trainer().resume(warnings);
        REQUIRE(next.trainer().run() == RunOutcome::finished);
      }
      CHECK((cycles_in(folder.path()) == (keep == std::string("2") ? expected_two : expected_all)));
    }
    REQUIRE(moment < 300);
  }
}

TEST_CASE(
    "keep cycles: a run that was killed before the state after a cycle writes the file again") {
  const auto expected = cycles_of_whole_run("cycles");
  const TemporaryFolder folder;
  {
    TinyRun first(folder.path(), kPlan, keeping("cycles"));
    first.stop_after_step(11);  // the second cycle ends with step 12
    first.trainer().start();
    REQUIRE(first.trainer().run() == RunOutcome::interrupted);
  }
  REQUIRE(names_of(cycles_in(folder.path())) == std::vector<std::string>{"cycle-1.safetensors"});
  write_file(RunFolder(folder.path()).cycle_checkpoint(2), "not the file of this run");
  TinyRun next(folder.path(), kPlan, keeping("cycles"));
  std::vector<std::string> warnings;
  next.trainer().resume(warnings);
  REQUIRE(next.trainer().run() == RunOutcome::finished);
  CHECK((cycles_in(folder.path()) == expected));
}

TEST_CASE("keep cycles: the files belong to the run folder and may be switched on by a resume") {
  const TemporaryFolder folder;
  {
    TinyRun first(folder.path(), kPlan, keeping("none"));
    first.stop_before_plan_step(2);
    first.trainer().start();
    first.trainer().run();
  }
  TinyRun next(folder.path(), kPlan, keeping("cycles"));
  std::vector<std::string> warnings;
  next.trainer().resume(warnings);
  REQUIRE(next.trainer().run() == RunOutcome::finished);
  CHECK(names_of(cycles_in(folder.path())) ==
        std::vector<std::string>{"cycle-2.safetensors", "cycle-3.safetensors"});
  const RunFolder run(folder.path());
  const auto files = run.files();
  CHECK(std::ranges::find(files, run.cycle_checkpoint(2)) != files.end());
  // After --restart, they lie with the earlier run, and so do the analyses of it.
  fs::create_directory(run.analysis());
  write_file(run.analysis() / "flips.json", "{}");
  const fs::path earlier = restart(run, "");
  CHECK(run.cycle_checkpoints().empty());
  CHECK(fs::exists(RunFolder(earlier).cycle_checkpoint(3)));
  CHECK_FALSE(fs::exists(run.analysis()));
  CHECK(fs::exists(RunFolder(earlier).analysis() / "flips.json"));
}
