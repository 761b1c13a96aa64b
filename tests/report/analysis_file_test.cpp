// Analyses as files: what is written comes back, and damaged files are refused by name.
#include "engine/report/analysis_file.h"

#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::TemporaryFolder;

namespace {

std::vector<double> random_numbers(std::mt19937& random, size_t count) {
  std::vector<double> values(count);
  for (double& value : values)
    value = std::exp(std::normal_distribution<double>(0, 20)(random));
  return values;
}

void check_same(const std::vector<double>& read, const std::vector<double>& written) {
  REQUIRE(read.size() == written.size());
  for (size_t i = 0; i < read.size(); ++i)
    if (std::isnan(written[i]))
      CHECK(std::isnan(read[i]));
    else
      CHECK(read[i] == written[i]);
}

Analysis random_analysis() {
  std::mt19937 random(7);
  Analysis analysis;
  analysis.name = "loss-surface";
  analysis.title = "Loss <surface> & \"more\"";
  analysis.command = "sculpt_analyze surface 'my run'";
  analysis.notes = {"One fact.", "Zwei Sätze."};
  analysis.values = {{"barrier.1-2", 0.1 + 0.2}, {"missing", NAN}};
  for (const Mark mark : {Mark::line, Mark::points, Mark::line_and_points, Mark::steps}) {
    Series series;
    series.name = "s";
    series.mark = mark;
    series.x = random_numbers(random, 9);
    series.y = random_numbers(random, 9);
    series.y[4] = NAN;
    if (mark == Mark::points) {
      series.spread = random_numbers(random, 9);
      series.labels = std::vector<std::string>(9, "a\\b");
      series.group = 3;
      series.pale = true;
    }
    analysis.figures.push_back({.name = "figure",
                                .title = "t",
                                .caption = "c.",
                                .x = {"x", true, false},
                                .y = {"y", false, true},
                                .series = {series},
                                .boundaries = {{2.5, "cycle 2"}}});
  }
  analysis.heat_maps = {{"map", "t", "c", {"x"}, {"y"}, "loss", {1, 2, 3}, {4, 5}, {}, true}};
  analysis.heat_maps[0].values = random_numbers(random, 6);
  analysis.tables = {{"table",
                      "t",
                      "c",
                      {"a", "b"},
                      {{"1", "2"}, {"x", ""}},
                      {"a", "b", "b, deviation"},
                      {{"1.25", "2.5", ""}, {"x", "", ""}}}};
  return analysis;
}

}  // namespace

TEST_CASE("analysis file: everything that is written is read again, bit for bit") {
  const TemporaryFolder folder;
  const Analysis written = random_analysis();
  write_analysis(folder.path(), written);
  const auto files = analysis_files(folder.path());
  REQUIRE(files.size() == 1);
  CHECK(files[0] == folder.path() / "analysis" / "loss-surface.json");
  const Analysis read = read_analysis(files[0]);
  CHECK(read.name == written.name);
  CHECK(read.title == written.title);
  CHECK(read.command == written.command);
  CHECK(read.notes == written.notes);
  REQUIRE(read.values.size() == 2);
  CHECK(read.values.at("barrier.1-2") == 0.1 + 0.2);
  CHECK(std::isnan(read.values.at("missing")));
  REQUIRE(read.figures.size() == written.figures.size());
  for (size_t i = 0; i < read.figures.size(); ++i) {
    const Figure &a = read.figures[i], &b = written.figures[i];
    CHECK(a.name == b.name);
    CHECK(a.title == b.title);
    CHECK(a.caption == b.caption);
    CHECK(a.x.label == b.x.label);
    CHECK(a.x.log);
    CHECK(a.y.reversed);
    REQUIRE(a.boundaries.size() == 1);
    CHECK(a.boundaries[0].x == 2.5);
    CHECK(a.boundaries[0].label == "cycle 2");
    REQUIRE(a.series.size() == 1);
    CHECK(a.series[0].mark == b.series[0].mark);
    CHECK(a.series[0].labels == b.series[0].labels);
    CHECK(a.series[0].group == b.series[0].group);
    CHECK(a.series[0].pale == b.series[0].pale);
    check_same(a.series[0].x, b.series[0].x);
    check_same(a.series[0].y, b.series[0].y);
    check_same(a.series[0].spread, b.series[0].spread);
  }
  REQUIRE(read.heat_maps.size() == 1);
  CHECK(read.heat_maps[0].value_label == "loss");
  CHECK(read.heat_maps[0].log);
  check_same(read.heat_maps[0].xs, written.heat_maps[0].xs);
  check_same(read.heat_maps[0].ys, written.heat_maps[0].ys);
  check_same(read.heat_maps[0].values, written.heat_maps[0].values);
  REQUIRE(read.tables.size() == 1);
  CHECK(read.tables[0].columns == written.tables[0].columns);
  CHECK(read.tables[0].rows == written.tables[0].rows);
  CHECK(read.tables[0].csv_columns == written.tables[0].csv_columns);
  CHECK(read.tables[0].csv_rows == written.tables[0].csv_rows);
}

TEST_CASE("analysis file: damaged and newer files are refused by name") {
  const TemporaryFolder folder;
  write_analysis(folder.path(), random_analysis());
  const auto file = analysis_files(folder.path()).at(0);
  const std::string good = read_text(file);
  const auto refuses = [&](std::string text, const char* word) {
    write_file(file, text);
    const std::string message = error_of([&] { read_analysis(file); });
    CHECK_MESSAGE(contains(message, file.string()), message);
    CHECK_MESSAGE(contains(message, word), message);
    CHECK_MESSAGE(!contains(message, "json.exception"), message);
    // A file that can be parsed says by which command it was made.
    if (!contains(message, "newer"))
      CHECK_MESSAGE(contains(message, "delete the file, and make it again with sculpt_analyze"),
                    message);
    return message;
  };
  const auto with = [&](const std::string& before, const std::string& after) {
    std::string text = good;
    const size_t at = text.find(before);
    REQUIRE(at != std::string::npos);
    return text.replace(at, before.size(), after);
  };
  refuses(good.substr(0, good.size() / 2), "not a JSON object");
  refuses(with("sculpt-analysis-1", "sculpt-analysis-2"), "newer");
  refuses(with("sculpt-analysis-1", "sculpt-metrics-1"), "sculpt-metrics-1");
  refuses(with("\"line\"", "\"circle\""), "circle");
  refuses(with("\"title\"", "\"titel\""), "'title' is missing");
  CHECK(contains(refuses(with("\"title\": \"t\"", "\"title\": 3"), "'title'"),
                 "make it again with sculpt_analyze surface 'my run'"));
  refuses(with("\"values\": {", "\"values\": {\"bad\": \"text\","), "'bad' is not a number");
  refuses(with("\"figures\": [", "\"figures\": [[],"), "not a JSON object");
  refuses(with("\"csv_columns\": [", "\"csv_columns\": [\"c\","), "columns");
  refuses(with("\"columns\": [", "\"columns\": [\"c\","), "columns");
  refuses(with("\"xs\": [", "\"xs\": [0.5,"), "grid");
  refuses(with("\"x\": [", "\"x\": [0.5,"), "values of x");
  write_file(file, good);
  CHECK(read_analysis(file).name == "loss-surface");
}

TEST_CASE("analysis file: a run without analyses has none") {
  const TemporaryFolder folder;
  CHECK(analysis_files(folder.path()).empty());
}
