// Runs that repeat others, against a plain search over all pairs.

#include "engine/study/repeats.h"

#include <doctest/doctest.h>
#include <random>

#include "engine/study/run_rows.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

using Config = std::map<std::string, std::string>;

std::string training(const Config& config) {
  return training_of(config, {{"seed", "1"}, {"optim.ham", "false"}}, {"data.root"});
}

}  // namespace

TEST_CASE("repeats: a training is told by its settings and its seed") {
  const Config plain = {
      {"method", "lrr"}, {"seed", "1"}, {"train.epochs", "9"}, {"optim.lr", "0.1"}};
  const auto with = [&](const char* key, const char* value) {
    Config config = plain;
    config[key] = value;
    return training(config);
  };
  CHECK(training(plain) == with("data.root", "/elsewhere"));
  CHECK(training(plain) == with("optim.ham", "false"));  // an older config lacks the key
  CHECK(training(plain) != with("optim.ham", "true"));
  CHECK(training(plain) != with("optim.lr", "0.2"));
  CHECK(training(plain) != with("seed", "2"));
  CHECK(training(plain) != with("method", "imp"));
  // A damaged config tells nothing, so its run repeats no other one.
  for (const auto& [key, value] : plain) {
    Config damaged = plain;
    damaged.erase(key);
    CHECK(training(damaged) == "");
  }
  CHECK(training_of(plain, plain, {}) != "");  // a config of defaults only is whole
}

TEST_CASE("repeats: each training of a group counts once") {
  std::mt19937 random(31);
  for (int round = 0; round < 200; ++round) {
    std::vector<ComparedRun> runs;
    for (int i = 0; i < 12; ++i) {
      const auto kind = random() % 5;
      runs.push_back({"run-" + std::to_string(i), random() % 2 == 0 ? "a" : "b",
                      kind == 0 ? "" : "training " + std::to_string(kind), random() % 3 != 0,
                      0.25 * static_cast<double>(random() % 2), 1.5});
    }
    std::vector<Repeat> found = find_repeats(runs);
    size_t next = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      // The run that counts is the first finished one of the same training, or else the first one.
      size_t counted = i;
      bool finished = false;
      for (size_t j = 0; j < runs.size() && !runs[i].training.empty(); ++j) {
        if (runs[j].group != runs[i].group || runs[j].training != runs[i].training) continue;
        if (!finished && (runs[j].finished || j < counted)) counted = j;
        finished = finished || runs[j].finished;
      }
      if (counted == i) continue;
      REQUIRE(next < found.size());
      const Repeat& repeat = found[next++];
      CHECK(repeat.run == i);
      CHECK(repeat.counted == counted);
      CHECK(repeat.name == runs[i].name);
      CHECK(repeat.counted_name == runs[counted].name);
      CHECK(repeat.differs == (runs[i].finished && runs[counted].finished &&
                               runs[i].accuracy != runs[counted].accuracy));
    }
    CHECK(next == found.size());
  }
}

TEST_CASE("repeats: a sentence says what does not count") {
  CHECK(repeats_sentence({}) == "");
  CHECK(repeats_sentence({{1, 0, "b", "a", false}}) ==
        "One run has the settings and the seed of another one, and does not count in means: b "
        "(repeats a).");
  CHECK(repeats_sentence({{1, 0, "b", "a", false}, {2, 0, "c", "a", true}}) ==
        "2 runs have the settings and the seed of another one, and do not count in means: b "
        "(repeats a), c (repeats a, with another result).");
}

TEST_CASE("repeats: a group of rows has each training once") {
  std::vector<RunRow> rows;
  const auto add = [&](const char* folder, const char* method, const char* seed, double accuracy) {
    RunRow row;
    row.folder = row.real_folder = folder;
    row.status = "finished";
    row.settings = {{"method", method}, {"seed", seed}, {"train.epochs", "9"}, {"optim.lr", "0.1"}};
    row.results = {{"test_accuracy", accuracy}};
    row.training = training(row.settings);
    rows.push_back(row);
  };
  add("one", "lrr", "1", 0.5);
  add("one-again", "lrr", "1", 0.5);
  add("two", "lrr", "2", 0.75);
  add("imp", "imp", "1", 0.25);
  add("one-elsewhere", "lrr", "1", 0.625);
  const std::vector<RowGroup> groups = group_rows(rows, {"method"});
  REQUIRE(groups.size() == 2);
  REQUIRE(groups[0].rows.size() == 2);
  CHECK(groups[0].rows[0].folder == "one");
  CHECK(groups[0].rows[1].folder == "two");
  CHECK(sample_of(groups[0].rows, "test_accuracy").n == 2);
  CHECK(sample_of(groups[0].rows, "test_accuracy").mean == 0.625);
  REQUIRE(groups[0].repeats.size() == 2);
  CHECK(groups[0].repeats[0].name == "one-again");
  CHECK(!groups[0].repeats[0].differs);
  CHECK(groups[0].repeats[1].name == "one-elsewhere");
  CHECK(groups[0].repeats[1].differs);
  CHECK(groups[1].repeats.empty());
}
