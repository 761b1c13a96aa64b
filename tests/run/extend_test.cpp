// A finished run can be extended, and the files of an earlier run can be put aside. The result is
// that of an uninterrupted run, and a kill at any moment loses nothing.

#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/earlier_run.h"
#include "engine/run/run_folder.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using Json = nlohmann::json;

namespace fs = std::filesystem;

namespace {

constexpr const char* kShort = "aaaaaaaaaaaaaaaa";
constexpr const char* kLong = "bbbbbbbbbbbbbbbb";

Plan beginning(const Plan& plan, size_t steps) {
  return {plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(steps)};
}

struct Result {
  std::vector<std::byte> final;
  std::vector<Json> metrics;
  std::vector<Json> layers;  ///< empty if the run has not pruned
  std::vector<Json> summary;
  bool operator==(const Result&) const = default;
};

Result result_of(const fs::path& folder) {
  const RunFolder run(folder);
  return {final_of(folder), timeless(lines_of(run.metrics())),
          fs::exists(run.layers()) ? lines_of(run.layers()) : std::vector<Json>{},
          timeless({summary_of(folder)})};
}

void run_whole(const fs::path& folder, const Plan& plan, const char* hash) {
  TinyRun run(folder, plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(), hash);
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
}

/// Extends a run and trains up to the question of the trainer with the number `moment`. Returns
/// true if the run was interrupted.
bool extend(const fs::path& folder, const Plan& done, const Plan& plan, const char* hash_before,
            const char* hash, int64_t moment) {
  TinyRun run(folder, plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(), hash);
  run.stop_at_question(moment);
  run.store().require_extensible(done, hash_before, plan);
  run.store().extend(run.network().parameters(), hash_before, "");
  std::vector<std::string> warnings;
  run.trainer().resume(warnings);
  CHECK(warnings.empty());
  return run.trainer().run() == RunOutcome::interrupted;
}

const Plan kCycles = {Cycle{2}, Cycle{2}, Cycle{2}};
const Plan kCyclic = {PruneStep{"random", "erk", 0.5}, Cycle{2}, Cycle{1}, Cycle{2}};
const Plan kRewinds = {Cycle{2},    PruneStep{"magnitude", "global", 0.5}, RewindStep{1},
                       Cycle{2, 1}, PruneStep{"snip", "erk", 0.25},        RewindStep{1},
                       Cycle{2}};

}  // namespace

TEST_CASE("extend: the result is that of the longer run, bit for bit") {
  for (const Plan& plan : {kCycles, kCyclic, kRewinds}) {
    TemporaryFolder whole;
    run_whole(whole.path(), plan, kLong);
    const Result expected = result_of(whole.path());
    for (size_t steps = 1; steps < plan.size(); ++steps) {
      const Plan done = beginning(plan, steps);
      if (cycle_count(done) == 0) continue;
      // A rewind state that the shorter plan did not need is missing.
      if (plan == kRewinds && steps < 3) continue;
      CAPTURE(steps);
      TemporaryFolder folder;
      run_whole(folder.path(), done, kShort);
      const Result before = result_of(folder.path());
      CHECK_FALSE(extend(folder.path(), done, plan, kShort, kLong, -1));
      CHECK((result_of(folder.path()) == expected));
      // The results of the shorter run are still there.
      CHECK((final_of(folder / "earlier-1") == before.final));
      CHECK((timeless({summary_of(folder / "earlier-1")}) == before.summary));
    }
  }
}

TEST_CASE("extend: interrupted anywhere, and more than once") {
  TemporaryFolder whole;
  run_whole(whole.path(), kRewinds, kLong);
  const Result expected = result_of(whole.path());
  const Plan done = beginning(kRewinds, 4);
  bool interrupted = true;
  for (int64_t moment = 0; interrupted; moment += 3) {
    CAPTURE(moment);
    TemporaryFolder folder;
    run_whole(folder.path(), done, kShort);
    interrupted = extend(folder.path(), done, kRewinds, kShort, kLong, moment);
    if (interrupted) {
      CHECK_FALSE(RunFolder(folder.path()).finished());
      TinyRun run(folder.path(), kRewinds, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                  kLong);
      std::vector<std::string> warnings;
      run.trainer().resume(warnings);
      run.trainer().run();
    }
    CHECK((result_of(folder.path()) == expected));
    REQUIRE(moment < 100);
  }

  // A run can be extended twice. The second extension still finds the rewind state of the first
  // run.
  TemporaryFolder folder;
  const Plan middle = beginning(kRewinds, 5);
  run_whole(folder.path(), done, kShort);
  CHECK_FALSE(extend(folder.path(), done, middle, kShort, "cccccccccccccccc", -1));
  CHECK_FALSE(extend(folder.path(), middle, kRewinds, "cccccccccccccccc", kLong, -1));
  CHECK((result_of(folder.path()) == expected));
  CHECK(fs::exists(folder / "earlier-2"));
}

TEST_CASE("extend: refused, naming the step, where the plans differ or a file is missing") {
  TemporaryFolder folder;
  const Plan done = {Cycle{2}, PruneStep{"magnitude", "global", 0.5}, Cycle{2}};
  run_whole(folder.path(), done, kShort);
  RunStore store(RunFolder(folder.path()), kLong);
  const auto refusal = [&](const Plan& plan) {
    return error_of([&] { store.require_extensible(done, kShort, plan); });
  };
  Plan longer = done;
  longer.push_back(Cycle{1});
  CHECK(refusal(longer).empty());
  CHECK(contains(refusal(done), "no further step"));
  CHECK(contains(refusal(beginning(done, 2)), "the plan ends before step 3, \"train 2\""));
  longer[1] = PruneStep{"magnitude", "global", 0.4};
  const std::string message = refusal(longer);
  CHECK(contains(message, "differ from step 2 on"));
  CHECK(contains(message, "\"prune magnitude global 0.5\" was done"));
  CHECK(contains(message, "\"prune magnitude global 0.4\""));
  longer = done;
  longer.push_back(RewindStep{1});
  CHECK(contains(refusal(longer), "rewind-epoch-1.safetensors"));
  CHECK(contains(error_of([&] { store.require_extensible(done, "another", kCycles); }), "differ"));
  longer.back() = Cycle{1};
  CHECK(contains(error_of([&] { store.require_extensible(done, "another", longer); }),
                 "another config"));
  fs::remove(RunFolder(folder.path()).end_state());
  CHECK(contains(refusal(longer), "end.safetensors"));
}

namespace {

/// Returns every file below a folder with its content.
std::map<std::string, std::string> tree(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[entry.path().lexically_relative(folder).string()] = read_text(entry.path());
  return files;
}

}  // namespace

TEST_CASE("earlier run: killed at any moment while files are put aside, everything is put back") {
  TemporaryFolder folder;
  const RunFolder run(folder / "run");
  run.prepare("old");
  write_file(run.metrics(), std::string_view("records"));
  write_file(run.summary(), std::string_view("summary"));
  write_file(run.final_checkpoint(), std::string_view("weights"));
  write_file(run.root() / "notes.txt", std::string_view("mine"));
  const auto before = tree(run.root());
  int copies = 0;
  const auto killed_now = [&] {  // what a kill would leave, put back
    const RunFolder copy(folder / ("copy-" + std::to_string(copies++)));
    fs::copy(run.root(), copy.root(), fs::copy_options::recursive);
    EarlierRun::roll_back(copy);
    CHECK(tree(copy.root()) == before);
    CHECK_FALSE(fs::exists(copy.root() / "earlier-1.partial"));
  };
  {
    EarlierRun undone(run);
    undone.move(run.summary());
    undone.copy(run.config());
    write_file(run.config(), std::string_view("new"));
  }
  CHECK(tree(run.root()) == before);

  EarlierRun earlier(run);
  killed_now();
  earlier.move(run.summary());
  killed_now();
  earlier.move(run.metrics());
  earlier.copy(run.final_checkpoint());
  killed_now();
  earlier.copy(run.config());
  killed_now();
  write_file(run.config(), std::string_view("new"));
  killed_now();
  CHECK(earlier.keep() == run.root() / "earlier-1");
  EarlierRun::roll_back(run);
  const auto after = tree(run.root());
  CHECK(after ==
        std::map<std::string, std::string>{{"config.toml", "new"},
                                           {"notes.txt", "mine"},
                                           {"checkpoints/final.safetensors", "weights"},
                                           {"earlier-1/config.toml", "old"},
                                           {"earlier-1/metrics.jsonl", "records"},
                                           {"earlier-1/summary.json", "summary"},
                                           {"earlier-1/checkpoints/final.safetensors", "weights"}});

  CHECK(restart(run, "third") == run.root() / "earlier-2");
  CHECK(tree(run.root() / "earlier-2") ==
        std::map<std::string, std::string>{{"config.toml", "new"},
                                           {"checkpoints/final.safetensors", "weights"}});
  CHECK(read_text(run.root() / "notes.txt") == "mine");
  CHECK(read_text(run.config()) == "third");
}
