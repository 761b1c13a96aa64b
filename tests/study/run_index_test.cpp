// The index of runs is a cache: it says what the folders say, whatever happens to it.

#include "engine/study/run_index.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <random>

#include "engine/core/files.h"
#include "engine/study/index_file.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

void write_run(const fs::path& folder, int seed, double accuracy, bool finished = true) {
  fs::create_directories(folder);
  write_file(folder / "config.toml",
             "format = \"sculpt-config-2\"\nmethod = \"lrr\"\nseed = " + std::to_string(seed) +
                 "\n[model]\nname = \"mlp\"\n[data]\nname = \"cifar10\"\n"
                 "[train]\nepochs = 2\n[optim]\nlr = 0.1\n[prune]\nsparsity = 0.9\n");
  write_file(folder / "environment.json", "{\"format\": \"sculpt-environment-1\"}");
  if (!finished) return;
  fs::create_directories(folder / "checkpoints");
  write_file(folder / "checkpoints" / "final.safetensors", "");
  write_file(folder / "summary.json", "{\"format\": \"sculpt-summary-1\", \"test_accuracy\": " +
                                          std::to_string(accuracy) + "}");
}

/// Some run folders, the last of them not finished.
struct Runs {
  TemporaryFolder root;
  std::vector<fs::path> folders;
  fs::path index = root / "index.sqlite";

  explicit Runs(int count) {
    for (int i = 0; i < count; ++i) {
      folders.push_back(root / ("run-" + std::to_string(i)));
      write_run(folders.back(), i, 0.25 + i, i + 1 < count);
    }
  }
};

void require_same(const std::vector<RunRow>& rows, const std::vector<fs::path>& folders) {
  REQUIRE(rows.size() == folders.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const RunRow expected = row_of(read_run(folders[i], ReadRecords::results));
    CHECK(rows[i].folder == expected.folder);
    CHECK(rows[i].status == expected.status);
    CHECK(rows[i].settings == expected.settings);
    CHECK(rows[i].results == expected.results);
  }
}

const auto needs_sqlite = doctest::skip(!has_sqlite());

}  // namespace

TEST_CASE("run index: only folders that have changed are read again" * needs_sqlite) {
  Runs runs(6);
  const IndexedRuns first = indexed_runs(runs.index, runs.folders);
  CHECK(first.read == 6);
  CHECK(first.not_written == "");
  CHECK(first.problems.empty());
  require_same(first.rows, runs.folders);
  const IndexedRuns second = indexed_runs(runs.index, runs.folders);
  CHECK(second.read == 1);  // the run that has not finished may go on at any time
  require_same(second.rows, runs.folders);

  write_run(runs.folders[2], 2, 0.77777);
  write_run(runs.folders[5], 5, 0.5);
  const IndexedRuns third = indexed_runs(runs.index, runs.folders);
  CHECK(third.read == 2);
  require_same(third.rows, runs.folders);
  CHECK(indexed_runs(runs.index, runs.folders).read == 0);
}

TEST_CASE("run index: runs that are gone leave it, in random orders" * needs_sqlite) {
  Runs runs(8);
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 10; ++repeat) {
    std::vector<fs::path> some;
    for (const fs::path& folder : runs.folders)
      if (random() % 2 == 0) some.push_back(folder);
    std::shuffle(some.begin(), some.end(), random);
    require_same(indexed_runs(runs.index, some).rows, some);
    const IndexEntries entries = read_index(runs.index);
    CHECK(entries.size() == some.size());
    for (const fs::path& folder : some)
      CHECK(entries.count(folder.filename().string()) == 1);
  }
}

TEST_CASE("run index: a damaged index is made again" * needs_sqlite) {
  Runs runs(4);
  indexed_runs(runs.index, runs.folders);
  const std::string good = read_text(runs.index);
  std::mt19937 random(9);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::string bad = good.substr(0, random() % good.size());
    if (repeat % 2 == 0) {
      bad = good;
      // A page of noise.
      const size_t begin = random() % (good.size() - 512);
      for (size_t i = begin; i < begin + 512; ++i)
        bad[i] = static_cast<char>(random());
    }
    if (repeat == 1) bad = "this is no database";
    write_file(runs.index, bad);
    const IndexedRuns again = indexed_runs(runs.index, runs.folders);
    // Noise may leave a good index behind if it hits nothing that is read; then rows are right,
    // too.
    REQUIRE(again.rows.size() == runs.folders.size());
    CHECK(again.rows[0].folder == runs.folders[0].string());
    fs::remove(runs.index);
    require_same(indexed_runs(runs.index, runs.folders).rows, runs.folders);
  }
}

TEST_CASE("run index: a folder that cannot be written still lists its runs") {
  Runs runs(3);
  const IndexedRuns found = indexed_runs(runs.root / "missing" / "index.sqlite", runs.folders);
  require_same(found.rows, runs.folders);
  if (has_sqlite()) {
    REQUIRE(found.problems.size() == 1);
    CHECK(contains(found.problems[0], "index.sqlite"));
    CHECK(contains(found.not_written, "cannot be written"));
  }
}

TEST_CASE("run index: a folder that is not a run is named, and the others are listed") {
  Runs runs(3);
  std::vector<fs::path> folders = runs.folders;
  folders.push_back(runs.root / "none");
  const IndexedRuns found = indexed_runs(runs.index, folders);
  CHECK(found.rows.size() == 3);
  REQUIRE(found.problems.size() == 1);
  CHECK(contains(found.problems[0], "none"));
}
