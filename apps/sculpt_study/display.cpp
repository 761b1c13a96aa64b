#include "apps/sculpt_study/display.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(500);
constexpr size_t kMostRuns = 16;  // shown with a line each

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string summary_line(const ShownStudy& study) {
  double images_per_second = 0;
  for (const ShownRun& run : study.running)
    images_per_second += run.images_per_second;
  std::string text =
      fmt::format("{} {} {} of {} runs finished", study.name,
                  bar_text(share(study.epochs, study.total_epochs)), study.finished, study.runs);
  if (!study.running.empty()) text += fmt::format(", {} running", study.running.size());
  if (study.elsewhere > 0) text += fmt::format(", {} elsewhere", study.elsewhere);
  if (study.failed > 0) text += fmt::format(", {} failed", study.failed);
  if (images_per_second > 0) text += fmt::format(", {} images/s", count_text(images_per_second));
  if (std::isfinite(study.seconds_left) && study.epochs < study.total_epochs)
    text += fmt::format(", about {} left", duration_text(study.seconds_left));
  return text;
}

std::string run_line(const ShownRun& run) {
  std::string text =
      fmt::format("  {} {} epoch {} of {}", bar_text(share(run.epochs, run.total_epochs), 10),
                  run.name, run.epochs, run.total_epochs);
  if (std::isfinite(run.test_accuracy))
    text += fmt::format(", accuracy {:.2f} %", 100 * run.test_accuracy);
  if (run.images_per_second > 0)
    text += fmt::format(", {} images/s", count_text(run.images_per_second));
  return text;
}

void StudyDisplay::say_line(const std::string& text) {
  clear();
  out().print(text + "\n");
}

void StudyDisplay::show(const ShownStudy& study) {
  const auto now = Clock::now();
  if (!out().redraws() || (lines_ > 0 && now - last_ < kRedraw)) return;
  last_ = now;
  std::vector<std::string> lines = {summary_line(study)};
  for (const ShownRun& run : study.running)
    if (lines.size() <= kMostRuns) lines.push_back(run_line(run));
  // One write replaces the old lines, so that nothing flickers.
  std::string text = lines_ > 0 ? fmt::format("\033[{}A", lines_) : "";
  const size_t width = out().width();
  for (const std::string& line : lines)
    text += line.substr(0, width - 1) + "\033[K\n";
  out().print(text + "\033[J");
  lines_ = lines.size();
}

void StudyDisplay::clear() {
  if (lines_ == 0) return;
  // Moves up to the first line and removes everything below.
  out().print(fmt::format("\033[{}A\033[J", lines_));
  lines_ = 0;
}

double EpochClock::seconds_left(int64_t done, int64_t total) const {
  if (done <= first_) return NAN;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return seconds * static_cast<double>(total - done) / static_cast<double>(done - first_);
}

}  // namespace sculpt
