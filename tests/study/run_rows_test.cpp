// Filters, order, groups and statistics of runs, against plain loops.

#include "engine/study/run_rows.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Rows with random settings and results. A row lacks a value now and then.
std::vector<RunRow> random_rows(std::mt19937& random, int count) {
  const std::vector<std::string> methods = {"lrr", "imp", "cyclic"};
  std::vector<RunRow> rows;
  for (int i = 0; i < count; ++i) {
    RunRow row;
    row.folder = "run-" + std::to_string(i);
    row.status = random() % 4 == 0 ? "stopped" : "finished";
    row.settings["method"] = methods[random() % 3];
    row.settings["seed"] = std::to_string(random() % 5);
    row.settings["prune.sparsity"] = random() % 2 == 0 ? "0.9" : "0.95";
    row.settings["cycles.count"] = "4";
    if (row.status == "finished")
      row.results["test_accuracy"] = std::uniform_real_distribution<double>(0, 1)(random);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

TEST_CASE("run rows: conditions are read, and mistakes are named") {
  const Condition condition = parse_condition(" prune.sparsity >= 0.9");
  CHECK(condition.name == "prune.sparsity");
  CHECK(condition.comparison == ">=");
  CHECK(condition.value == "0.9");
  CHECK(parse_condition("method==lrr").comparison == "=");
  CHECK(parse_condition("method!='lrr'").value == "lrr");
  for (const char* wrong : {"", "sparsity", "=0.9", "sparsity=", "a=>b", "a<<b", "a=!b"}) {
    CAPTURE(wrong);
    CHECK(contains(error_of([&] { parse_condition(wrong); }), "is not a condition"));
  }
}

TEST_CASE("run rows: conditions choose what a plain comparison chooses") {
  std::mt19937 random(5);
  const std::vector<RunRow> rows = random_rows(random, 200);
  const auto count = [&](const std::string& text) {
    const Condition condition = parse_condition(text);
    return std::ranges::count_if(rows, [&](const RunRow& row) { return fulfils(row, condition); });
  };
  const auto expected = [&](const auto& test) { return std::ranges::count_if(rows, test); };
  const auto accuracy = [](const RunRow& row) {
    return row.results.count("test_accuracy") > 0 ? row.results.at("test_accuracy") : NAN;
  };
  CHECK(count("test_accuracy<0.3") == expected([&](const RunRow& r) { return accuracy(r) < 0.3; }));
  CHECK(count("test_accuracy>=0.3") ==
        expected([&](const RunRow& r) { return accuracy(r) >= 0.3; }));
  CHECK(count("prune.sparsity=0.90") ==
        expected([](const RunRow& r) { return r.settings.at("prune.sparsity") == "0.9"; }));
  CHECK(count("prune.sparsity>0.90") ==
        expected([](const RunRow& r) { return r.settings.at("prune.sparsity") == "0.95"; }));
  CHECK(count("method!=lrr") ==
        expected([](const RunRow& r) { return r.settings.at("method") != "lrr"; }));
  CHECK(count("method<=imp") ==
        expected([](const RunRow& r) { return r.settings.at("method") <= "imp"; }));
  CHECK(count("status=stopped") == expected([](const RunRow& r) { return r.status == "stopped"; }));
  CHECK(count("test_accuracy!=7") == static_cast<int64_t>(rows.size()));
  CHECK(count("method<0.5") == 0);  // a text and a number do not compare
}

TEST_CASE("run rows: names may be short where they are clear") {
  RunRow row;
  row.settings = {{"prune.sparsity", "0.9"}, {"a.rate", "1"}, {"b.rate", "2"}, {"seed", "1"}};
  row.results = {{"test_accuracy", 0.5}, {"sparsity", 0.91}};
  const std::vector<RunRow> rows = {row};
  CHECK(full_name("prune.sparsity", rows) == "prune.sparsity");
  CHECK(full_name("sparsity", rows) == "sparsity");  // the result
  CHECK(full_name("folder", rows) == "folder");
  CHECK(contains(error_of([&] { full_name("rate", rows); }), "a.rate or b.rate"));
  CHECK(contains(error_of([&] { full_name("test_acuracy", rows); }),
                 "did you mean \"test_accuracy\"?"));
  RunRow without = row;
  without.results.clear();
  CHECK(full_name("sparsity", {without}) == "prune.sparsity");
}

TEST_CASE("run rows: sorting is stable, and rows without a value come last") {
  std::mt19937 random(6);
  for (const bool descending : {false, true}) {
    std::vector<RunRow> rows = random_rows(random, 60);
    sort_rows(rows, "test_accuracy", descending);
    const auto measured = std::ranges::count_if(
        rows, [](const RunRow& row) { return row.results.count("test_accuracy") > 0; });
    for (size_t i = 0; i + 1 < rows.size(); ++i) {
      const bool has = i < static_cast<size_t>(measured);
      REQUIRE((rows[i].results.count("test_accuracy") > 0) == has);
      if (i + 1 >= static_cast<size_t>(measured)) continue;
      const double a = rows[i].results.at("test_accuracy"),
                   b = rows[i + 1].results.at("test_accuracy");
      CHECK((descending ? a >= b : a <= b));
    }
    sort_rows(rows, "cycles.count");  // all the same, so nothing moves
    CHECK(std::ranges::count_if(rows.begin(), rows.begin() + measured, [](const RunRow& row) {
            return row.results.count("test_accuracy") > 0;
          }) == measured);
  }
  std::vector<RunRow> rows(3);
  rows[0].settings["k"] = "10";
  rows[1].settings["k"] = "9";
  rows[2].settings["k"] = "x";
  sort_rows(rows, "k");
  CHECK(rows[0].settings["k"] == "9");
  CHECK(rows[2].settings["k"] == "x");
}

TEST_CASE("run rows: groups and their statistics, against sums in long double") {
  std::mt19937 random(7);
  const std::vector<RunRow> rows = random_rows(random, 150);
  const std::vector<std::string> names = {"method", "prune.sparsity"};
  size_t members = 0;
  for (const RowGroup& group : group_rows(rows, names)) {
    long double sum = 0, squares = 0;
    int64_t count = 0, all = 0;
    for (const RunRow& row : rows) {
      if (row.settings.at("method") != group.values[0] ||
          row.settings.at("prune.sparsity") != group.values[1])
        continue;
      ++all;
      if (row.results.count("test_accuracy") == 0) continue;
      ++count;
      sum += row.results.at("test_accuracy");
    }
    for (const RunRow& row : group.rows)
      if (row.results.count("test_accuracy") > 0)
        squares += (row.results.at("test_accuracy") - sum / count) *
                   (row.results.at("test_accuracy") - sum / count);
    CHECK(static_cast<int64_t>(group.rows.size()) == all);
    members += group.rows.size();
    const Sample found = sample_of(group.rows, "test_accuracy");
    REQUIRE(found.n == count);
    REQUIRE(count > 2);
    CHECK(found.mean == doctest::Approx(static_cast<double>(sum / count)).epsilon(1e-12));
    CHECK(found.deviation ==
          doctest::Approx(static_cast<double>(sqrtl(squares / (count - 1)))).epsilon(1e-12));
  }
  CHECK(members == rows.size());
}

TEST_CASE("run rows: a shared run has a row for each variant, and counts once in a group") {
  std::mt19937 random(8);
  for (int repeat = 0; repeat < 50; ++repeat) {
    std::vector<RunRow> rows = random_rows(random, 30);
    for (RunRow& row : rows) {
      const auto folder = random() % 6;
      row.real_folder = folder == 5 ? "" : "/pool/" + std::to_string(folder);
      row.variant = random() % 3 == 0 ? "" : random() % 2 == 0 ? "a" : "b";
      row.settings["method"] = folder % 2 == 0 ? "lrr" : "imp";
    }
    // A row stays unless a plain search over all rows finds why not.
    std::vector<std::string> expected, found;
    for (size_t i = 0; i < rows.size(); ++i) {
      bool stays = true;
      for (size_t j = 0; j < rows.size(); ++j) {
        if (rows[i].real_folder.empty() || rows[j].real_folder != rows[i].real_folder) continue;
        if (j < i && rows[j].variant == rows[i].variant) stays = false;
        if (rows[i].variant.empty() && !rows[j].variant.empty()) stays = false;
      }
      if (stays) expected.push_back(rows[i].folder);
    }
    const std::vector<RunRow> kept = without_repeats(rows);
    for (const RunRow& row : kept)
      found.push_back(row.folder);
    CHECK(found == expected);
    for (const RowGroup& group : group_rows(kept, {"method"})) {
      std::multiset<std::string> members;
      for (const RunRow& row : group.rows)
        if (!row.real_folder.empty()) members.insert(row.real_folder);
      CHECK(std::set<std::string>(members.begin(), members.end()).size() == members.size());
    }
  }
}

TEST_CASE("run rows: a statistic of few or missing values") {
  CHECK(describe({}).n == 0);
  CHECK(std::isnan(describe({}).mean));
  const Sample one = describe(std::vector<double>{NAN, 3, INFINITY});
  CHECK(one.n == 1);
  CHECK(one.mean == 3);
  CHECK(std::isnan(one.deviation));
  CHECK(describe(std::vector<double>{1, 3}).deviation == doctest::Approx(std::sqrt(2)));
}

TEST_CASE("run rows: varying keys, and differences of two runs") {
  RunRow a, b;
  a.settings = {{"method", "lrr"}, {"seed", "1"}, {"x", "0.9"}, {"same", "5"}};
  b.settings = {{"method", "imp"}, {"seed", "2"}, {"x", "0.90"}, {"same", "5"}};
  CHECK(varying_keys({a, b}, {"seed"}) == std::vector<std::string>{"method"});
  a.variant = "one";
  CHECK(varying_keys({a, b}, {}) == std::vector<std::string>{"variant", "method", "seed"});
  b.settings["new"] = "1";
  const std::vector<Difference> found = differences(a.settings, b.settings);
  REQUIRE(found.size() == 3);
  CHECK(found[0].name == "method");
  CHECK(found[1].name == "new");
  CHECK(found[1].first == "");
  CHECK(found[1].second == "1");
  CHECK(found[2].name == "seed");
}
