// Reports of several runs.
#include "engine/report/study_report.h"

#include <cmath>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <random>

#include "engine/core/files.h"
#include "engine/report/csv.h"
#include "engine/report/html_page.h"
#include "engine/report/mean_figure.h"
#include "engine/study/statistics.h"
#include "tests/report/reported_runs.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

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
  const Sample spread = describe(values);
  CHECK(spread.n == 7);
  CHECK(spread.mean == doctest::Approx(sum / 7));
  CHECK(spread.error_bar() == doctest::Approx(std::sqrt(squares / 6)));
  CHECK(describe(std::vector<double>{NAN, 3}).error_bar() == 0);
  CHECK(describe(std::vector<double>{NAN, 3}).mean == 3);
  CHECK(std::isnan(describe({}).mean));

  StudyPage page;
  page.title = "study";
  page.runs = std::move(runs);
  page.waiting = {"not-yet"};
  const Report report = study_report(page, context());
  const Figure& figure = figure_named(report, "accuracy-sparsity");
  const Series& means = figure.series.at(0);
  CHECK(means.name == "lrr");
  CHECK(means.y.at(1) == doctest::Approx(100 * sum / 7));
  CHECK(means.spread.at(1) == doctest::Approx(100 * spread.error_bar()));
  CHECK(figure.series.at(1).x.size() == 14);  // the points themselves
  CHECK(figure.series.at(1).group == means.group);
  CHECK(figure.x.reversed);
  CHECK(report.state_text == "21 of 23 runs finished");
  CHECK(contains(report.warnings.at(0), "One run has stopped before its end: lrr-s8."));
  CHECK(contains(report.warnings.at(1), "One run has not been started: not-yet."));
  CHECK(table_named(report, "results").rows.at(0).at(3) == "75.00");
  // The CSV files have all digits, and nothing for what was not measured.
  const std::string results = csv_of(table_named(report, "results"));
  CHECK(contains(results, "test accuracy (%),\"test accuracy (%), standard deviation\","));
  std::vector<double> percents;
  for (const double value : values)
    percents.push_back(100 * value);
  CHECK(contains(results,
                 fmt::format(",{},{},", describe(percents).mean, describe(percents).deviation)));
  CHECK(contains(results, "lrr,50,7,75,0,0.25,0,,,"));
  CHECK(contains(csv_of(table_named(report, "runs")), fmt::format(",{},", 100 * values[3])));
}

TEST_CASE("study: the headline names the best series of each sparsity, and what is close to it") {
  std::vector<ReportedRun> runs;
  const auto add = [&](const char* series, double sparsity, double low, double high) {
    runs.push_back(finished_run(series, sparsity, 1, low));
    runs.push_back(finished_run(series, sparsity, 2, high));
  };
  const auto headline = [&] {
    StudyPage page;
    page.runs = runs;
    return study_report(page, context()).sentence;
  };
  add("lrr", 0.98, 0.30, 0.40);
  CHECK(headline() == "");  // one series
  add("pai", 0.98, 0.29, 0.38);
  const std::string close =
      "At 98 % sparsity, the highest mean accuracy is that of lrr (35.00 \u00b1 7.07 %), within "
      "one "
      "standard deviation of pai (33.50 \u00b1 6.36 %)";
  CHECK(headline() == close + ".");
  add("lrr", 0.5, 0.60, 0.62);
  add("pai", 0.5, 0.80, 0.81);
  const std::string clear =
      "At 50 % sparsity, the highest mean accuracy is that of pai (80.50 \u00b1 0.71 %); lrr "
      "follows "
      "with 61.00 \u00b1 1.41 %. ";
  CHECK(headline() == clear + close + ".");
  add("imp", 0.98, 0.28, 0.38);
  add("snip", 0.98, 0.1, 0.1);
  CHECK(headline() == clear + close + " and 1 more.");
  // A single run tells nothing about the spread.
  add("lrr", 0.25, 0.5, 0.7);
  runs.pop_back();
  add("pai", 0.25, 0.5, 0.7);
  runs.pop_back();
  CHECK(contains(headline(),
                 "At 25 % sparsity, the highest mean accuracy is that of lrr (50.00 %); "
                 "pai follows with 50.00 %."));
  // Many sparsities have one sentence.
  add("lrr", 0.9, 0.2, 0.2);
  add("pai", 0.9, 0.1, 0.1);
  CHECK(headline() ==
        "The highest mean accuracy is that of lrr at 25, 90 and 98 %, and of pai at 50 "
        "% sparsity; at 98 %, the next one is within one standard deviation.");
}

TEST_CASE("study: names of runs lead to the pages below the folder of the study's page") {
  const TemporaryFolder folder;
  StudyPage page;
  for (const char* name : {"001-a b", "002-a", "elsewhere"}) {
    page.runs.push_back(finished_run("a", 0.9, 1, 0.5));
    page.runs.back().records.folder = folder / "study" / name;
  }
  page.runs[2].records.folder = folder / "elsewhere";
  page.runs.push_back(finished_run("a", 0.9, 1, 0.5));
  page.runs.back().records.folder.clear();  // failed before it had a folder
  for (const int with_page : {0, 2}) {
    fs::create_directories(page.runs[with_page].records.folder);
    write_file(page.runs[with_page].records.folder / "report.html", "");
  }
  const auto links = [&] { return table_named(study_report(page, context()), "runs").links; };
  CHECK(links() == std::vector<std::string>{"", "", "", ""});
  page.place = folder / "study";
  CHECK(links() == std::vector<std::string>{"001-a b/report.html", "", "", ""});
  const std::string text = html_page(study_report(page, context()), {"", 0});
  CHECK(contains(text, "<td><a href=\"001-a%20b/report.html\">a-s1</a></td>"));
}

TEST_CASE("study: a run and its repeat are one seed") {
  StudyPage page;
  const auto add = [&](const char* name, int seed, double accuracy) {
    page.runs.push_back(finished_run("lrr", 0.9, seed, accuracy));
    page.runs.back().name = name;
    page.runs.back().records.config["train.epochs"] = "9";
    page.runs.back().records.config["optim.lr"] = "0.1";
    page.runs.back().records.config["data.root"] = name;  // without effect
  };
  add("first", 1, 0.5);
  add("second", 2, 0.75);
  add("first-again", 1, 0.5);
  add("first-elsewhere", 1, 0.625);
  page.runs.push_back(finished_run("imp", 0.9, 1, 0.25));
  page.runs.back().records.config = page.runs[0].records.config;  // another series
  const Report report = study_report(page, context());
  REQUIRE(!report.warnings.empty());
  CHECK(report.warnings[0] ==
        "2 runs have the settings and the seed of another one, and do not count in means: "
        "first-again (repeats first), first-elsewhere (repeats first, with another result).");
  const Table& results = table_named(report, "results");
  REQUIRE(results.rows.size() == 2);
  CHECK(results.rows[0][2] == "2");
  CHECK(results.rows[0][3] == "62.50 \u00b1 17.68");
  CHECK(results.rows[1][2] == "1");
  const Table& runs = table_named(report, "runs");
  CHECK(runs.rows[2].back() == "repeats first");
  CHECK(runs.rows[1].back() == "finished");
  CHECK(report.facts[0].note == "2 of them not counted in means");
  // A run whose config is damaged may be anything.
  page.runs[2].records.config_is_whole = false;
  page.runs[3].records.config.erase("optim.lr");
  const Report damaged = study_report(page, context());
  CHECK(table_named(damaged, "results").rows[0][2] == "4");
  CHECK(damaged.facts[0].note.empty());
}

TEST_CASE("study: runs that cannot be read and analyses that are missing are named") {
  StudyPage page;
  page.runs = {finished_run("a", 0.9, 1, 0.5)};
  page.left_out = {"The run 002-a is left out: it is of a newer program."};
  page.analyses = {"The analysis `flips` of the run 001-a is missing."};
  const Report report = study_report(page, context());
  CHECK(report.state_text == "1 of 2 runs finished");
  CHECK(report.warnings == std::vector<std::string>{page.left_out[0], page.analyses[0]});
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

TEST_CASE("category figure: names stand at even places, with means and single points") {
  const std::vector<NamedPoint> points = {{"s", "lrr", 10, "a"},
                                          {"s", "lrr", 14, "b"},
                                          {"s", "pai", 3, "c"},
                                          {"s", "none", NAN, "d"},
                                          {"s", "dense", 20, "e"}};
  const Figure figure = category_figure(points);
  CHECK(figure.x.categories == std::vector<std::string>{"lrr", "pai", "dense"});
  REQUIRE(figure.series.size() == 2);
  CHECK(figure.series[0].x == std::vector<double>{1, 2, 3});
  CHECK(figure.series[0].y == std::vector<double>{12, 3, 20});
  CHECK(figure.series[0].spread.at(0) == doctest::Approx(std::sqrt(8.0)));
  CHECK(figure.series[0].mark == Mark::points);
  CHECK(figure.series[1].x == std::vector<double>{1, 1, 2, 3});
  // Two series of one place stand side by side, nearer to it than to the next one.
  const Figure two =
      category_figure({{"s", "lrr", 1, ""}, {"t", "lrr", 2, ""}, {"t", "pai", 2, ""}});
  REQUIRE(two.series.size() == 2);
  CHECK(two.series[0].x[0] < two.series[1].x[0]);
  CHECK(std::abs(two.series[0].x[0] - 1) < 0.3);
  CHECK(std::abs(two.series[1].x[0] - 1) < 0.3);
}

TEST_CASE("mean figure: means over equal x, single points where there are several, no others") {
  const std::vector<MeasuredPoint> points = {{"b", 2, 10, "b1"},    {"a", 1, 1, "a1"},
                                             {"b", 2, 14, "b2"},    {"b", 1, 3, "b3"},
                                             {"a", NAN, 5, "none"}, {"a", 2, INFINITY, "none"}};
  const Figure figure = mean_figure(points);
  REQUIRE(figure.series.size() == 3);
  CHECK(figure.series[0].name == "b");
  CHECK(figure.series[0].x == std::vector<double>{1, 2});
  CHECK(figure.series[0].y == std::vector<double>{3, 12});
  CHECK(figure.series[0].spread.at(1) == doctest::Approx(std::sqrt(8.0)));
  CHECK(figure.series[1].labels == std::vector<std::string>{"b1", "b2", "b3"});
  CHECK(figure.series[1].pale);
  CHECK(figure.series[2].name == "a");
  CHECK(figure.series[2].y == std::vector<double>{1});
}
