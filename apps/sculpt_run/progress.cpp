#include "apps/sculpt_run/progress.h"

#include <algorithm>
#include <cmath>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr double kSecondsBetweenDraws = 0.1;
constexpr int kBarWidth = 16;

size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string percent(double fraction) {
  return std::isfinite(fraction) ? fmt::format("{:.2f} %", 100 * fraction) : "-";
}

}  // namespace

std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const auto total = static_cast<int64_t>(std::llround(seconds));
  if (total < 3600) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}h{:02}m", total / 3600, total % 3600 / 60);
}

Progress::Progress(const Plan& plan, int64_t steps_per_epoch)
    : terminal_(isatty(STDOUT_FILENO) != 0),

      total_steps_(total_epochs(plan) * steps_per_epoch),
      cycles_(cycle_count(plan)),
      session_start_(Clock::now()),
      last_draw_(session_start_) {}

Progress::~Progress() {
  close();
}

void Progress::close() {
  if (drawn_) std::printf("\r\033[K");
  std::fflush(stdout);
  drawn_ = false;
}

void Progress::on_plan_step(const PlanStep& step, const RunState& state) {
  if (!started_) {
    started_ = true;
    first_ = state;
    session_start_ = Clock::now();
  }
  now_ = state;
  if (const auto* train = std::get_if<TrainStep>(&step))
    cycle_epochs_ = train->epochs - train->first_epoch;
  else
    line(fmt::format("{}", describe(step)));
}

void Progress::on_prune(const PruneReport& report) {
  line(fmt::format("pruned: {} of {} weights kept (sparsity {})", report.kept, report.prunable,
                   percent(1 - double(report.kept) / double(report.prunable))));
  if (!report.note.empty()) line("note: " + report.note);
  for (const std::string& warning : report.warnings)
    line("warning: " + warning);
}

void Progress::on_prune_measured(const PruneMetrics& m) {
  accuracy_ = percent(m.measured.now.accuracy);
  std::string text = "after the prune: test " + accuracy_;
  if (const auto& before = m.measured.before_reestimation)
    text += fmt::format(" with batch norm estimated on {} images, {} without",
                        m.measured.reestimated_on, percent(before->accuracy));
  line(text);
}

void Progress::on_step(const RunState& state, double mean_loss) {
  now_ = state;
  draw(std::isfinite(mean_loss) ? fmt::format("loss {:.4f}", mean_loss) : "loss -");
}

void Progress::on_evaluate() {
  last_draw_ = {};  // says so even if it comes right after another draw
  draw("evaluating");
}

void Progress::on_epoch(const EpochMetrics& m) {
  if (std::isfinite(m.test_accuracy)) accuracy_ = percent(m.test_accuracy);
  // On a terminal the bar shows epochs; cycles leave a line.
  if (terminal_ && m.cycle_epoch != cycle_epochs_) return;
  line(fmt::format(
      "cycle {}/{} epoch {}/{}  lr {:.4g}  train {:.4f} {}  test {} {}  density {}  "
      "{:.0f} images/s  ETA {}",
      m.cycle, cycles_, m.cycle_epoch, cycle_epochs_, m.lr, m.train_loss, percent(m.train_accuracy),
      std::isfinite(m.test_loss) ? fmt::format("{:.4f}", m.test_loss) : "-",
      percent(m.test_accuracy), percent(m.density), m.images_per_second, eta()));
}

void Progress::line(const std::string& text) {
  std::printf("%s%s\n", drawn_ ? "\r\033[K" : "", text.c_str());
  std::fflush(stdout);
  drawn_ = false;
}

void Progress::draw(const std::string& what) {
  if (!terminal_) return;
  const auto time = Clock::now();
  if (std::chrono::duration<double>(time - last_draw_).count() < kSecondsBetweenDraws) return;
  last_draw_ = time;
  const double done = total_steps_ > 0 ? double(now_.steps) / double(total_steps_) : 0;
  const int filled = static_cast<int>(done * kBarWidth);
  // What matters most comes first: a narrow terminal cuts the end off.
  std::string text = fmt::format("[{}{}] {:3.0f} %  ETA {}  cycle {}/{} epoch {}/{}  {}  test {}",
                                 std::string(static_cast<size_t>(filled), '#'),
                                 std::string(static_cast<size_t>(kBarWidth - filled), '.'),
                                 100 * done, eta(), now_.cycle + 1, cycles_, now_.cycle_epoch + 1,
                                 cycle_epochs_, what, accuracy_.empty() ? "-" : accuracy_);
  text.resize(std::min(text.size(), terminal_width() - 1));
  std::printf("\r%s\033[K", text.c_str());
  std::fflush(stdout);
  drawn_ = true;
}

std::string Progress::eta() const {
  const int64_t done = now_.steps - first_.steps;
  if (done <= 0) return "?";
  const double elapsed = std::chrono::duration<double>(Clock::now() - session_start_).count();
  return duration_text(elapsed / double(done) * double(total_steps_ - now_.steps));
}

}  // namespace sculpt
