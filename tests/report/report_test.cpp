// Reports of runs and studies, and how they are written.
#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "engine/report/csv.h"
#include "engine/report/html_page.h"
#include "engine/report/latex.h"
#include "engine/report/run_figures.h"
#include "engine/report/run_report.h"
#include "engine/report/study_report.h"
#include "tests/support/messages.h"

using namespace sculpt;
using sculpt::testing::contains;

namespace {

/// Returns a finished run with random curves, two cycles and a prune between them.
RunRecords random_run(std::mt19937& random, int64_t epochs = 10) {
  std::uniform_real_distribution<double> share(0.2, 0.9);
  RunRecords run;
  run.folder = "runs/<first> & \"second\"";
  run.status = RunStatus::finished;
  run.config = {{"format", "sculpt-config-2"}, {"method", "lrr"},      {"seed", "1"},
                {"model.name", "resnet20"},    {"data.name", "mnist"}, {"optim.lr", "0.1"},
                {"execution.threads", "0"}};
  run.environment = {{"device", "cpu"},    {"backend", "cpu-avx2"}, {"threads", "3"},
                     {"version", "0.1.0"}, {"commit", "abc"},       {"data_fingerprint", "77"}};
  for (int64_t i = 1; i <= epochs; ++i) {
    EpochMetrics epoch;
    epoch.epoch = i;
    epoch.cycle = i <= epochs / 2 ? 1 : 2;
    epoch.cycle_epoch = i <= epochs / 2 ? i : i - epochs / 2;
    epoch.lr = share(random);
    epoch.train_loss = share(random);
    epoch.train_accuracy = share(random);
    if (i % 2 == 0 || i == epochs / 2) epoch.test_accuracy = share(random);
    epoch.test_loss = epoch.test_accuracy + 1;
    epoch.density = i <= epochs / 2 ? 1 : 0.25;
    epoch.images_per_second = 1000 * share(random);
    epoch.seconds = 2;
    run.epochs.push_back(epoch);
  }
  PruneRecord prune;
  prune.plan_step = 1;
  prune.epoch = epochs / 2;
  prune.criterion = "magnitude";
  prune.allocation = "global";
  prune.density = 0.25;
  prune.prunable = 400;
  prune.kept = 100;
  prune.test_loss = 2.5;
  prune.test_accuracy = 0.125;
  run.prunes = {prune};
  for (const char* name : {"conv1.weight", "fc.weight"}) {
    LayerRecord layer;
    layer.plan_step = 1;
    layer.epoch = epochs / 2;
    layer.changed_by = "magnitude";
    layer.is_prune = true;
    layer.layer = name;
    layer.count = 200;
    layer.kept = name[0] == 'c' ? 80 : 20;
    run.layers.push_back(layer);
  }
  run.summary = {{"test_accuracy", run.epochs.back().test_accuracy},
                 {"sparsity", 0.75},
                 {"kept", 100},
                 {"prunable", 400},
                 {"train_flops_vs_dense", 1.25},
                 {"train_flops", 1e12},
                 {"seconds", 100},
                 {"train_loss", 0.5}};
  run.summary_texts = {{"evaluated_on", "test"}};
  return run;
}

ReportContext context() {
  ReportContext context;
  context.defaults = {{"format", "sculpt-config-2"}, {"method", "dense"},    {"seed", "1"},
                      {"model.name", "resnet20"},    {"data.name", "mnist"}, {"optim.lr", "0.2"},
                      {"execution.threads", "0"},    {"optim.ham", "false"}};
  context.without_effect = {"execution.threads", "data.root"};
  context.written_by = "Written by a test.";
  return context;
}

const Figure& figure_named(const Report& report, const std::string& name) {
  for (const Section& section : report.sections)
    for (const Figure& figure : section.figures)
      if (figure.name == name) return figure;
  FAIL("no figure ", name);
  throw std::runtime_error("unreachable");
}

const Table& table_named(const Report& report, const std::string& name) {
  for (const Section& section : report.sections)
    for (const Table& table : section.tables)
      if (table.name == name) return table;
  FAIL("no table ", name);
  throw std::runtime_error("unreachable");
}

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

ReportedRun finished_run(std::string series, double sparsity, int seed, double accuracy) {
  ReportedRun run;
  run.name = series + "-s" + std::to_string(seed);
  run.series = std::move(series);
  run.records.status = RunStatus::finished;
  run.records.folder = "runs/" + run.name;
  run.records.config = {{"method", run.series}, {"seed", std::to_string(seed)}};
  run.records.summary = {{"test_accuracy", accuracy},
                         {"sparsity", sparsity},
                         {"train_flops_vs_dense", 2 * (1 - sparsity)},
                         {"train_loss", 1 - accuracy},
                         {"seconds", 10.0 * seed}};
  return run;
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
  CHECK(effects[0].accuracy_retrained == run.epochs[9].test_accuracy);
  std::string commands;
  for (const Section& section : report.sections)
    for (const ShownCommand& command : section.commands)
      commands += command.command + "\n";
  CHECK(contains(commands, "SCULPT_CPU_ISA=avx2 sculpt_run "));
  CHECK(contains(commands, "--device cpu --threads 3"));
  CHECK(contains(report.sentence, "75.00 %"));
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

TEST_CASE("page: stays under 2 MB however much there is") {
  std::mt19937 random(9);
  const Report one = run_report(random_run(random, 200000), {}, context());
  CHECK(html_page(one, {"", 0}).size() < kMostPageBytes);
  StudyPage page;
  for (int i = 0; i < 3000; ++i) {
    ReportedRun run = finished_run("method " + std::to_string(i % 9), 0.1 * (i % 7), i, 0.5);
    for (int64_t epoch = 1; epoch <= 30; ++epoch) {
      EpochMetrics metrics;
      metrics.epoch = epoch;
      metrics.train_loss = 1.0 / static_cast<double>(epoch + i);
      metrics.test_accuracy = 0.5;
      run.records.epochs.push_back(metrics);
    }
    page.runs.push_back(std::move(run));
  }
  const std::string text = html_page(study_report(page, context()), {"", 0});
  CHECK(text.size() < kMostPageBytes);
  CHECK(contains(text, "of 3000 rows are shown"));
}

TEST_CASE("study: means and standard deviations agree with a plain computation") {
  std::mt19937 random(10);
  std::uniform_real_distribution<double> share(0.2, 0.9);
  std::vector<ReportedRun> runs;
  std::vector<double> values;
  for (int seed = 1; seed <= 7; ++seed) {
    values.push_back(share(random));
    runs.push_back(finished_run("lrr", 0.9, seed, values.back()));
    runs.push_back(finished_run("pai", 0.9, seed, 0.5));
    runs.push_back(finished_run("lrr", 0.5, seed, 0.75));
  }
  runs.push_back(finished_run("lrr", 0.9, 8, 0.1));
  runs.back().records.status = RunStatus::stopped;  // does not count
  const std::vector<RunGroup> groups = group_runs(runs);
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].series == "lrr");
  CHECK(groups[0].density == doctest::Approx(0.5));
  CHECK(groups[1].density == doctest::Approx(0.1));
  CHECK(groups[2].series == "pai");
  REQUIRE(groups[1].runs.size() == 7);
  double sum = 0, squares = 0;
  for (const double value : values)
    sum += value;
  for (const double value : values)
    squares += (value - sum / 7) * (value - sum / 7);
  const Spread spread = spread_of(values);
  CHECK(spread.count == 7);
  CHECK(spread.mean == doctest::Approx(sum / 7));
  CHECK(spread.deviation == doctest::Approx(std::sqrt(squares / 6)));
  CHECK(spread_of({NAN, 3}).deviation == 0);
  CHECK(spread_of({NAN, 3}).mean == 3);
  CHECK(std::isnan(spread_of({}).mean));

  StudyPage page;
  page.title = "study";
  page.runs = std::move(runs);
  page.waiting = {"not-yet"};
  const Report report = study_report(page, context());
  const Figure& figure = figure_named(report, "accuracy-sparsity");
  const Series& means = figure.series.at(0);
  CHECK(means.name == "lrr");
  CHECK(means.y.at(1) == doctest::Approx(100 * sum / 7));
  CHECK(means.spread.at(1) == doctest::Approx(100 * spread.deviation));
  CHECK(figure.series.at(1).x.size() == 14);  // the points themselves
  CHECK(figure.series.at(1).group == means.group);
  CHECK(figure.x.reversed);
  CHECK(report.state_text == "21 of 23 runs finished");
  CHECK(contains(report.warnings.at(0), "One run has stopped before its end: lrr-s8."));
  CHECK(contains(report.warnings.at(1), "One run has not been started: not-yet."));
  CHECK(table_named(report, "results").rows.at(0).at(3) == "75.00");
}

TEST_CASE("study: labels name the method and what else tells runs apart") {
  std::vector<RunRecords> runs;
  const auto add = [&](const char* method, const char* ham, const char* lr, const char* seed) {
    RunRecords run;
    run.status = RunStatus::finished;
    run.summary = {{"sparsity", 0.9}};
    run.config = {{"method", method},
                  {"optim.ham", ham},
                  {"optim.lr", lr},
                  {"seed", seed},
                  {"execution.threads", seed}};
    runs.push_back(run);
  };
  const auto labels = [&] {
    std::vector<std::string> found;
    for (const ReportedRun& run : labelled_runs(runs, context()))
      found.push_back(run.series);
    return found;
  };
  add("pai", "false", "0.1", "1");
  add("pai", "false", "0.1", "2");
  CHECK(labels() == std::vector<std::string>{"pai", "pai"});
  add("pai", "true", "0.1", "1");
  CHECK(labels() == std::vector<std::string>{"pai", "pai", "pai, ham"});
  // The rate differs only together with the method, so the method says enough.
  add("lrr", "false", "0.2", "1");
  CHECK(labels() == std::vector<std::string>{"pai", "pai", "pai, ham", "lrr"});
  add("lrr", "false", "0.3", "1");
  CHECK(labels() == std::vector<std::string>{"pai, lr 0.1", "pai, lr 0.1", "pai, ham, lr 0.1",
                                             "lrr, lr 0.2", "lrr, lr 0.3"});
}

TEST_CASE("study: differences between programs and data are warned of") {
  std::vector<ReportedRun> runs = {finished_run("a", 0.9, 1, 0.5), finished_run("b", 0.9, 1, 0.6)};
  runs[0].records.environment = {{"commit", "1"}, {"threads", "2"}, {"data_fingerprint", "x"}};
  runs[1].records.environment = {{"commit", "1"}, {"threads", "4"}, {"data_fingerprint", "y"}};
  StudyPage page;
  page.runs = runs;
  const Report report = study_report(page, context());
  REQUIRE(report.warnings.size() == 2);
  CHECK(contains(report.warnings[0], "different data, and their accuracies cannot be compared"));
  CHECK(contains(report.warnings[1], "numbers of threads"));
  CHECK(contains(report.sentence, "the highest mean accuracy is that of b (60.00 %)"));
  // One density: a row for each series, along which the spread lies.
  CHECK(figure_named(report, "accuracy").y.categories ==
        std::vector<std::string>{"a (1)", "b (1)"});
}

TEST_CASE("report: names of figures and tables are unique and may be file names") {
  Report report;
  Section section;
  section.heading = "s";
  Table table;
  table.name = "Loss";
  Figure figure;
  figure.name = "loss";
  section.figures = {figure, figure};
  section.tables = {table};
  report.sections = {section};
  make_names_unique(report);
  CHECK(report.sections[0].figures[0].name == "loss");
  CHECK(report.sections[0].figures[1].name == "loss-2");
  CHECK(report.sections[0].tables[0].name == "loss-3");
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
