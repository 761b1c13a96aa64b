// Reports of single runs, and how reports are written.
#include "engine/report/run_report.h"

#include <cmath>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <random>

#include "engine/core/files.h"
#include "engine/report/csv.h"
#include "engine/report/html_page.h"
#include "engine/report/latex.h"
#include "engine/report/run_figures.h"
#include "engine/run/prune_effects.h"
#include "tests/report/reported_runs.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Splits CSV text as RFC 4180 says.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '"' && i + 1 < text.size() && text[i + 1] == '"')
        field += text[++i];
      else if (c == '"')
        quoted = false;
      else
        field += c;
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',' || c == '\n') {
      row.push_back(std::move(field));
      field.clear();
      if (c == '\n') rows.push_back(std::move(row)), row.clear();
    } else {
      field += c;
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("csv: the numbers of a run's figures are its records, bit for bit") {
  std::mt19937 random(5);
  const RunRecords run = random_run(random);
  const Report report = run_report(run, {}, context());
  const auto rows = parse_csv(csv_of(figure_named(report, "accuracy")));
  CHECK(rows[0] == std::vector<std::string>{"series", "epoch", "accuracy (%)"});
  size_t at = 1;
  for (const EpochMetrics& epoch : run.epochs) {
    CHECK(rows[at][0] == "training");
    CHECK(std::stod(rows[at][1]) == static_cast<double>(epoch.epoch));
    CHECK(std::stod(rows[at++][2]) == 100 * epoch.train_accuracy);
  }
  for (const EpochMetrics& epoch : run.epochs) {
    if (std::isnan(epoch.test_accuracy)) continue;
    CHECK(rows[at][0] == "test");
    CHECK(std::stod(rows[at++][2]) == 100 * epoch.test_accuracy);
  }
  CHECK(at == rows.size());
}

TEST_CASE("csv: tables have all digits, and nothing where nothing was measured") {
  std::mt19937 random(21);
  RunRecords run = random_run(random);
  run.prunes[0].test_accuracy = 1.0 / 3;
  run.prunes[0].test_loss = NAN;
  run.prunes[0].kept = 133;
  const Report report = run_report(run, {}, context());
  const std::string prunes = csv_of(table_named(report, "prunes"));
  CHECK(contains(prunes, "after epoch,criterion,allocation,kept,kept (%),before (%),"));
  CHECK(contains(prunes, fmt::format(",133,{},", 100.0 * 133 / 400)));
  CHECK(contains(prunes, fmt::format(",{},", 100.0 * (1.0 / 3))));
  CHECK(prunes.ends_with(",\n"));  // the loss was not measured
  CHECK_FALSE(contains(prunes, "\u2013"));
  // People read rounded numbers.
  CHECK(table_named(report, "prunes").rows[0][5] == "33.33 %");
  CHECK(contains(csv_of(table_named(report, "layers")), "conv1.weight,200,80,40\n"));
}

TEST_CASE("csv: names of places stand for their numbers") {
  Figure figure;
  figure.x.label = "method";
  figure.x.categories = {"a", "b, c"};
  Series series;
  series.name = "s";
  series.x = {1.1, 1.9};
  series.y = {0.5, 0.25};
  figure.series = {series};
  CHECK(csv_of(figure) == "series,method,y\ns,a,0.5\ns,\"b, c\",0.25\n");
}

TEST_CASE("csv: names with commas, quotes and line breaks survive") {
  Figure figure;
  figure.x.label = "x, y";
  Series series;
  series.name = "a \"b\"\nc";
  series.x = {1, 2};
  series.y = {NAN, 0.1 + 0.2};
  series.labels = {"one, two", ""};
  figure.series = {series};
  const auto rows = parse_csv(csv_of(figure));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0][1] == "x, y");
  CHECK(rows[1] == std::vector<std::string>{"a \"b\"\nc", "1", "", "one, two"});
  CHECK(std::stod(rows[2][2]) == 0.1 + 0.2);
  HeatMap map;
  map.xs = {1, 2};
  map.ys = {3};
  map.values = {NAN, 5};
  CHECK(csv_of(map) == "x,y,value\n1,3,\n2,3,5\n");
}

TEST_CASE("run report: cycles, prunes, settings and the command that repeats the run") {
  std::mt19937 random(6);
  const RunRecords run = random_run(random);
  const Report report = run_report(run, {}, context());
  const Figure& loss = figure_named(report, "loss");
  REQUIRE(loss.boundaries.size() == 1);
  CHECK(loss.boundaries[0].x == 5);
  CHECK(loss.boundaries[0].label == "cycle 2, prune");
  const Series& kept = figure_named(report, "kept-weights").series.at(0);
  CHECK(kept.x == std::vector<double>{0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10});
  CHECK(kept.y.at(5) == 100);
  CHECK(kept.y.at(6) == 25);
  CHECK(figure_named(report, "kept-per-layer").series.at(0).y == std::vector<double>{40, 10});
  const Table& settings = table_named(report, "settings");
  CHECK(settings.rows == std::vector<std::vector<std::string>>{{"method", "lrr", "dense"},
                                                               {"optim.lr", "0.1", "0.2"}});
  const auto effects = prune_effects(run);
  REQUIRE(effects.size() == 1);
  CHECK(effects[0].accuracy_before == run.epochs[4].test_accuracy);
  CHECK(effects[0].accuracy_later == run.epochs[9].test_accuracy);
  std::string commands;
  for (const Section& section : report.sections)
    for (const ShownCommand& command : section.commands)
      commands += command.command + "\n";
  CHECK(contains(commands, "SCULPT_CPU_ISA=avx2 sculpt_run "));
  CHECK(contains(commands, "--device cpu --threads 3"));
  CHECK(contains(report.sentence, "75.00 %"));
}

TEST_CASE("run report: a damaged config leads to no command, and damage is named once") {
  std::mt19937 random(22);
  RunRecords run = random_run(random);
  run.config_is_whole = false;
  run.problems = {"config.toml cannot be read, so the settings of the run are missing: line 3."};
  const Report report = run_report(run, {}, context());
  for (const Section& section : report.sections)
    CHECK(section.commands.empty());
  CHECK(report.warnings == run.problems);
  const sculpt::testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "analysis");
  write_file(folder / "analysis/flips.json", "{");
  RunRecords damaged;
  damaged.folder = folder.path();
  damaged.unread_analyses[folder / "analysis/flips.json"] = "as the reader of the run has found";
  CHECK(read_analyses(damaged).empty());
  const std::vector<std::string> problems = damaged.all_problems();
  REQUIRE(problems.size() == 1);
  CHECK(contains(problems[0], "An analysis is left out"));
  CHECK(contains(problems[0], "make it again"));
}

TEST_CASE("run report: unfinished, diverged and empty runs say so") {
  std::mt19937 random(7);
  RunRecords run = random_run(random);
  run.status = RunStatus::running;
  run.summary.clear();
  ReportContext with_plan = context();
  with_plan.planned_epochs = 40;
  CHECK(run_report(run, {}, with_plan).state_text == "running, epoch 10 of 40");
  run.status = RunStatus::stopped;
  run.epochs.back().diverged = true;
  run.epochs.back().train_loss = NAN;
  const Report diverged = run_report(run, {}, context());
  CHECK(diverged.state == ReportState::failed);
  CHECK(contains(diverged.warnings.at(0), "diverged in epoch 10"));
  RunRecords empty;
  empty.folder = "nothing";
  empty.problems = {"nothing/config.toml cannot be read."};
  const Report report = run_report(empty, {}, context());
  CHECK(report.warnings == empty.problems);
  CHECK(contains(html_page(report, {}), "No epoch has been recorded yet."));
}

TEST_CASE("page: names are escaped, nothing is loaded, and no script runs") {
  std::mt19937 random(8);
  RunRecords run = random_run(random);
  run.config["method"] = "<script>alert(1)</script>";
  run.layers[0].layer = "<img src=x>";
  run.problems = {"a <b> problem"};
  Analysis analysis;
  analysis.name = "surface";
  analysis.title = "Surface </section>";
  analysis.notes = {"5 < 6 & 7 > 6"};
  analysis.tables = {{"t", "T", "", {"<c>"}, {{"<d>"}}}};
  const Report report = run_report(run, {analysis}, context());
  const std::string page = html_page(report, {"report-data", 0});
  for (const char* bad : {"<script", "<img", "<b>", "<c>", "<d>", "</section> ",
                          "http:", "https:", " src=\"", "@import", "url("})
    CHECK_MESSAGE(!contains(page, bad), std::string(bad));
  CHECK(contains(page, "Surface &lt;/section&gt;"));
  CHECK(contains(page, "href=\"report-data/surface-t.csv\""));
  CHECK(contains(page, "prefers-color-scheme:dark"));
  CHECK(contains(page, "name=\"viewport\""));
  CHECK_FALSE(contains(page, "http-equiv"));
  CHECK(contains(html_page(report, {"", 15}), "http-equiv=\"refresh\" content=\"15\""));
  CHECK_FALSE(contains(html_page(report, {"", 15}), "href="));
  // The same records give the same page.
  CHECK(html_page(run_report(run, {analysis}, context()), {"report-data", 0}) == page);
}

TEST_CASE("latex: braces and environments are balanced, and names are escaped") {
  std::mt19937 random(11);
  RunRecords run = random_run(random);
  run.prunes[0].criterion = "a_b%{";
  Analysis analysis;
  analysis.name = "m";
  analysis.title = "Map of x_1";
  HeatMap map;
  map.name = "map";
  map.xs = {0, 1};
  map.ys = {0};
  map.values = {1, NAN};
  analysis.heat_maps = {map};
  const std::string text = latex_document(run_report(run, {analysis}, context()));
  int depth = 0;
  size_t begins = 0, ends = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = i > 0 && text[i - 1] == '\\';
    if (text[i] == '{' && !escaped) ++depth;
    if (text[i] == '}' && !escaped) --depth;
    REQUIRE(depth >= 0);
    if (text.compare(i, 7, "\\begin{") == 0) ++begins;
    if (text.compare(i, 5, "\\end{") == 0) ++ends;
  }
  CHECK(depth == 0);
  CHECK(begins == ends);
  CHECK(contains(text, "a\\_b\\%\\{"));
  CHECK(contains(text, "\\toprule"));
  CHECK(contains(text, "matrix plot*"));
}
