// What sculpt_report --watch draws.
#include "apps/sculpt_report/watch.h"

#include <cmath>
#include <doctest/doctest.h>

#include "tests/support/messages.h"

using namespace sculpt;
using sculpt::testing::contains;

namespace {

RunRecords rising_run(int64_t epochs) {
  RunRecords run;
  run.folder = "runs/first";
  run.status = RunStatus::running;
  for (int64_t i = 1; i <= epochs; ++i) {
    EpochMetrics epoch;
    epoch.epoch = i;
    epoch.cycle = i > epochs / 2 ? 2 : 1;
    epoch.cycle_epoch = i > epochs / 2 ? i - epochs / 2 : i;
    epoch.train_loss = 1.0 / static_cast<double>(i);
    epoch.train_accuracy = static_cast<double>(i) / static_cast<double>(epochs);
    if (i % 3 == 0) epoch.test_accuracy = 0.5, epoch.test_loss = 0.7;
    run.epochs.push_back(epoch);
  }
  return run;
}

}  // namespace

TEST_CASE("watch: every screen has the size of its window, in every style") {
  for (const int64_t epochs : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{40}, int64_t{3000}})
    for (const size_t width : {20u, 40u, 80u, 130u, 200u})
      for (const size_t height : {6u, 10u, 24u, 50u})
        for (const CurveStyle style : {CurveStyle{true, true}, CurveStyle{true, false},
                                       CurveStyle{false, true}, CurveStyle{false, false}}) {
          const auto lines = watch_screen(rising_run(epochs), width, height, style);
          CHECK(lines.size() <= height);
          for (const std::string& line : lines)
            CHECK_MESSAGE(columns_of(line) <= width, line);
        }
}

TEST_CASE("watch: without colours and UTF-8 there is neither, and curves still differ") {
  std::string plain, colourful;
  for (const std::string& line : watch_screen(rising_run(40), 80, 30, {false, false}))
    plain += line + "\n";
  for (const char c : plain)
    CHECK((c == '\n' || (c >= 32 && c < 127)));
  CHECK(contains(plain, "o"));
  CHECK(contains(plain, "."));
  for (const std::string& line : watch_screen(rising_run(40), 80, 30, {true, true}))
    colourful += line;
  CHECK(contains(colourful, "\033[34m"));
  CHECK(contains(colourful, "\033[33m"));
}

TEST_CASE("watch: a rising line begins at the bottom left and ends at the top right") {
  const Chart chart{"t", {{"a", {0, 1, 2, 3}, {0, 1, 2, 3}}}, {}};
  const auto lines = draw_chart(chart, 40, 13, {false, false});
  REQUIRE(lines.size() == 13);
  // Row 0 has the title; the last two rows are the axis. Columns begin after the numbers.
  const size_t left = 10;
  CHECK(lines[1].find('.', left) > 35);
  CHECK(lines[10].find('.', left) < left + 3);
  size_t before = 1000;
  for (size_t row = 1; row <= 10; ++row) {
    const size_t first = lines[row].find('.', left);
    REQUIRE(first != std::string::npos);
    CHECK(first < before);
    before = first;
  }
}
