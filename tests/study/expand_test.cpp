// The runs of a study: all combinations in order, exclusions, names, and runs that need others.

#include "engine/study/expand.h"

#include <doctest/doctest.h>
#include <functional>
#include <random>
#include <set>

#include "engine/study/selection.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

StudyAxis axis(const std::string& key, const std::vector<std::string>& values) {
  StudyAxis made{key, {}};
  for (const std::string& value : values)
    made.values.push_back({value, "study.toml:1"});
  return made;
}

StudyVariant variant(const std::string& name, const StudySettings& settings) {
  return {name, "label of " + name, "", settings};
}

Study study_with(const std::vector<StudyAxis>& axes) {
  Study study;
  study.name = "test";
  study.file = "study.toml";
  study.folder = "runs/test";
  study.base = "base.toml";
  study.axes = axes;
  return study;
}

std::vector<std::string> names(const std::vector<StudyRun>& runs) {
  std::vector<std::string> all;
  for (const StudyRun& run : runs)
    all.push_back(run.name);
  return all;
}

}  // namespace

TEST_CASE("expand: all combinations in a fixed order, against nested loops") {
  std::mt19937 random(11);
  for (int repeat = 0; repeat < 50; ++repeat) {
    Study study = study_with({});
    const size_t axes = 1 + random() % 4;
    for (size_t i = 0; i < axes; ++i) {
      StudyAxis one{std::string("k") + static_cast<char>('a' + i), {}};
      const size_t values = 1 + random() % 4;
      for (size_t v = 0; v < values; ++v)
        one.values.push_back({std::to_string(10 * i + v), ""});
      study.axes.push_back(one);
    }
    // One exclusion: some values of one or two keys.
    std::set<std::pair<std::string, std::string>> excluded;
    Selection selection;
    for (int i = 0; i < 2; ++i) {
      const StudyAxis& one = study.axes[random() % axes];
      const std::string value = one.values[random() % one.values.size()].toml;
      selection.values[one.key].push_back(value);
      excluded.emplace(one.key, value);
    }
    std::vector<std::map<std::string, std::string>> expected;
    std::function<void(size_t, std::map<std::string, std::string>)> add =
        [&](size_t depth, std::map<std::string, std::string> chosen) {
          if (depth < axes) {
            for (const StudyValue& value : study.axes[depth].values) {
              chosen[study.axes[depth].key] = value.toml;
              add(depth + 1, chosen);
            }
            return;
          }
          bool out = true;
          for (const auto& [key, values] : selection.values)
            out = out && excluded.count({key, chosen[key]}) > 0;
          if (!out) expected.push_back(chosen);
        };
    add(0, {});
    study.excluded.push_back(selection);
    if (expected.empty()) {
      CHECK(contains(error_of([&] { expand(study); }), "leaves no run"));
      continue;
    }
    const std::vector<StudyRun> runs = expand(study);
    REQUIRE(runs.size() == expected.size());
    std::set<std::string> different;
    for (size_t i = 0; i < runs.size(); ++i) {
      CHECK(runs[i].number == static_cast<int64_t>(i) + 1);
      CHECK(runs[i].axes == expected[i]);
      for (const auto& [key, value] : expected[i])
        CHECK(runs[i].settings.at(key).toml == value);
      different.insert(runs[i].name);
    }
    CHECK(different.size() == runs.size());
  }
}

TEST_CASE("expand: names say variant, values and seed") {
  Study study = study_with({axis("variant", {"\"lrr\""}), axis("seed", {"1", "2"}),
                            axis("prune.sparsity", {"0.9"}), axis("optim.schedule", {"\"step\""})});
  study.variants = {variant("lrr", {{"method", {"\"lrr\"", ""}}})};
  CHECK(names(expand(study)) == std::vector<std::string>{"001-lrr-sparsity0.9-schedule-step-s1",
                                                         "002-lrr-sparsity0.9-schedule-step-s2"});
  CHECK(names(expand(study_with({}))) == std::vector<std::string>{"001"});
  // Two keys with the same last part have their sections.
  CHECK(names(expand(study_with({axis("a.rate", {"1"}), axis("b.rate", {"2"})}))) ==
        std::vector<std::string>{"001-a.rate1-b.rate2"});
}

TEST_CASE("expand: long names are cut, and stay different") {
  std::vector<StudyAxis> axes;
  for (char c = 'a'; c < 'k'; ++c)
    axes.push_back(axis(std::string("section.a_long_key_") + c, {"0.123456", "0.123457"}));
  std::set<std::string> different;
  const std::vector<StudyRun> runs = expand(study_with(axes));
  CHECK(runs.size() == 1024);
  for (const StudyRun& run : runs) {
    CHECK(run.name.size() <= 110);
    different.insert(run.name.substr(run.name.find('-')));
  }
  CHECK(different.size() == runs.size());
  CHECK(runs.front().name.starts_with("0001-"));
}

TEST_CASE("expand: a study with more runs than anybody can train is refused at once") {
  std::vector<StudyAxis> axes;
  for (const char* key : {"a", "b", "c"}) {
    StudyAxis many{key, {}};
    for (int i = 0; i < 3000; ++i)
      many.values.push_back({std::to_string(i), "study.toml:1"});
    axes.push_back(std::move(many));
  }
  CHECK(contains(error_of([&] { expand(study_with(axes)); }), "2.7e+10 combinations"));
}

TEST_CASE("expand: values of axes come over variants, variants over the study") {
  Study study = study_with({axis("variant", {"\"a\"", "\"b\""}), axis("x", {"1", "2"})});
  study.settings = {{"x", {"0", ""}}, {"y", {"0", ""}}, {"z", {"0", ""}}};
  study.variants = {variant("a", {{"y", {"5", ""}}}), variant("b", {{"x", {"9", ""}}})};
  study.variants[1].base = "other.toml";
  const std::vector<StudyRun> runs = expand(study);
  // Variant b has its own x, so it is there once.
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].value("x") == "1");
  CHECK(runs[1].value("x") == "2");
  CHECK(runs[0].value("y") == "5");
  CHECK(runs[0].value("z") == "0");
  CHECK(runs[0].label == "label of a");
  CHECK(runs[0].base == "base.toml");
  CHECK(runs[2].value("variant") == "b");
  CHECK(runs[2].value("x") == "9");
  CHECK(runs[2].axes.at("x") == "9");
  CHECK(runs[2].value("y") == "0");
  CHECK(runs[2].base == "other.toml");
}

TEST_CASE("expand: a run may name the folder of another run") {
  Study study = study_with({axis("variant", {"\"user\"", "\"lrr\""}), axis("seed", {"1", "2"})});
  study.variants = {
      variant("user", {{"plan", {"[\"load mask from {run:lrr}\", \"train 2\"]", "s.toml:9"}}}),
      variant("lrr", {})};
  const std::vector<StudyRun> runs = expand(study);
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].needs == std::vector<int64_t>{3});
  CHECK(runs[1].needs == std::vector<int64_t>{4});
  CHECK(runs[2].needs.empty());
  CHECK(runs[1].settings.at("plan").toml ==
        "[\"load mask from runs/test/004-lrr-s2\", \"train 2\"]");

  study.variants[0].settings["plan"].toml = "[\"load mask from {run:lr}\"]";
  CHECK(contains(error_of([&] { expand(study); }), "s.toml:9: there is no variant 'lr', did you"));
  study.variants[0].settings["plan"].toml = "[\"load mask from {run:lrr\"]";
  CHECK(contains(error_of([&] { expand(study); }), "no closing bracket"));
  study.variants[0].settings["plan"].toml = "[\"load mask from {run:user}\"]";
  CHECK(contains(error_of([&] { expand(study); }), "needs itself"));
  study.variants[0].settings["plan"].toml = "[\"load mask from {run:lrr}\"]";
  study.excluded.push_back({{{"variant", {"lrr"}}, {"seed", {"2"}}}, ""});
  CHECK(contains(error_of([&] { expand(study); }), "needs a run of variant lrr"));
}

TEST_CASE("expand: exclusions that leave out no combination are found, against all combinations") {
  std::mt19937 random(12);
  for (int repeat = 0; repeat < 50; ++repeat) {
    Study study = study_with({axis("a", {"1", "2", "3"}), axis("b", {"1", "2"})});
    // Variant y has its own b, so it is not combined with the values of the axis.
    study.variants = {variant("x", {}), variant("y", {{"b", {"7", ""}}})};
    study.axes.insert(study.axes.begin(), axis("variant", {"\"x\"", "\"y\""}));
    for (int i = 0; i < 6; ++i) {
      Selection one;
      one.source = std::to_string(i);
      one.values["a"] = {std::to_string(1 + random() % 4)};
      if (random() % 2 == 0) one.values["b"] = {random() % 2 == 0 ? "7" : "2"};
      if (random() % 2 == 0) one.values["variant"] = {random() % 2 == 0 ? "x" : "y"};
      study.excluded.push_back(std::move(one));
    }
    std::vector<std::string> expected, found;
    for (const Selection& one : study.excluded) {
      Study alone = study;
      alone.excluded.clear();
      bool used = false;
      for (const StudyRun& run : expand(alone)) {
        bool all = true;
        for (const auto& [key, values] : one.values)
          all = all && run.value(key) == values.front();
        used = used || all;
      }
      if (!used) expected.push_back(one.source);
    }
    for (const Selection& one : idle_exclusions(study))
      found.push_back(one.source);
    CHECK(found == expected);
  }
}

TEST_CASE("selection: numbers compare as numbers, texts as texts") {
  CHECK(same_value("0.9", "0.90"));
  CHECK(same_value("1", "1.0"));
  CHECK(same_value("1e-3", "0.001"));
  CHECK(same_value("lrr", "lrr"));
  CHECK_FALSE(same_value("lrr", "LRR"));
  CHECK_FALSE(same_value("0.9", "0.91"));
  CHECK_FALSE(same_value("1x", "1"));
  CHECK_FALSE(same_value("", "0"));
  CHECK(number_in("2.5") == 2.5);
  CHECK(number_in("2.5 ") != number_in("2.5 "));  // not a number
}
