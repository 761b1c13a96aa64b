#include "apps/sculpt_run/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

constexpr double kSecondsBetweenDraws = 0.1;
constexpr size_t kLeastBar = 4, kMostBar = 16;

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

std::string bar_text(double share, size_t width) {
  const auto full = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

Progress::Progress(const Plan& plan, int64_t steps_per_epoch, std::string measured_on)
    : measured_on_(std::move(measured_on)),
      total_steps_(total_epochs(plan) * steps_per_epoch),
      cycles_(cycle_count(plan)),
      session_start_(Clock::now()),
      last_draw_(session_start_) {}

Progress::~Progress() {
  close();
}

void Progress::close() {
  out().clear_status();
}

void Progress::on_plan_step(const PlanStep& step, const RunState& state) {
  if (!started_) {
    started_ = true;
    first_ = state;
    session_start_ = Clock::now();
  }
  now_ = state;
  const auto* train = std::get_if<Cycle>(&step);
  in_cycle_ = train != nullptr;
  if (train != nullptr)
    cycle_epochs_ = train->epochs - train->first_epoch;
  else
    say("{}\n", wrap(describe(step), out().width(), 2));
}

void Progress::on_prune(const PruneReport& report) {
  const auto line = [](const std::string& text) { return wrap(text, out().width(), 2) + "\n"; };
  out().print(
      line(fmt::format("pruned: {} of {} weights kept (sparsity {})", report.kept, report.prunable,
                       percent(1 - double(report.kept) / double(report.prunable)))));
  if (!report.note.empty()) out().print(line("note: " + report.note));
  for (const std::string& warning : report.warnings)
    warn(warning);
}

void Progress::on_prune_measured(const PruneMetrics& m) {
  accuracy_ = percent(m.measured.now.accuracy);
  std::string text = fmt::format("after the prune: {} {}", measured_on_, accuracy_);
  if (const auto& before = m.measured.before_reestimation)
    text += fmt::format(" with batch norm estimated on {} images, {} without",
                        m.measured.reestimated_on, percent(before->accuracy));
  say("{}\n", wrap(text, out().width(), 2));
}

void Progress::on_masks(const MaskReport& report) {
  out().print(
      wrap(fmt::format("{}: {} of {} weights kept (sparsity {})", report.changed_by, report.kept,
                       report.prunable, percent(1 - double(report.kept) / double(report.prunable))),
           out().width(), 2) +
      "\n");
  for (const std::string& warning : report.warnings)
    warn(warning);
}

void Progress::on_warning(const std::string& warning) {
  warn(warning);
}

void Progress::on_step(const RunState& state, double mean_loss) {
  now_ = state;
  draw(std::isfinite(mean_loss) ? fmt::format("loss {:.4f}", mean_loss) : "loss -");
}

void Progress::on_evaluate() {
  last_draw_ = {};  // the next draw must not be skipped
  draw("evaluating");
}

void Progress::on_epoch(const EpochMetrics& m) {
  if (std::isfinite(m.test_accuracy)) accuracy_ = percent(m.test_accuracy);
  // On a terminal, the bar shows epochs, and only the last epoch of a cycle leaves a line.
  const bool log = !out().redraws();
  if (!log && m.cycle_epoch != cycle_epochs_) return;
  const std::string test_loss =
      std::isfinite(m.test_loss) ? fmt::format("{:.4f}", m.test_loss) : "-";
  // A log has one line for each epoch, so that people can search it. On a terminal, lines are
  // wrapped.
  const size_t width = log ? std::string::npos : out().width();
  say("{}\n",
      join_fields(
          {fmt::format("cycle {}/{} epoch {}/{}", m.cycle, cycles_, m.cycle_epoch, cycle_epochs_),
           fmt::format("lr {:.4g}", m.lr),
           fmt::format("train {:.4f} {}", m.train_loss, percent(m.train_accuracy)),
           fmt::format("{} {} {}", measured_on_, test_loss, percent(m.test_accuracy)),
           fmt::format("density {}", percent(m.density)),
           fmt::format("{:.0f} images/s", m.images_per_second), fmt::format("ETA {}", eta())},
          width));
}

void Progress::draw(const std::string& what) {
  if (!out().redraws()) return;
  const auto time = Clock::now();
  if (std::chrono::duration<double>(time - last_draw_).count() < kSecondsBetweenDraws) return;
  last_draw_ = time;
  const double done = total_steps_ > 0 ? double(now_.steps) / double(total_steps_) : 0;
  // The most important fields come first, because a narrow terminal cuts off the end. Between
  // cycles, while a prune is evaluated, there is no epoch to name.
  const std::string place = in_cycle_ ? fmt::format("cycle {}/{} epoch {}/{}  ", now_.cycle + 1,
                                                    cycles_, now_.cycle_epoch + 1, cycle_epochs_)
                                      : "";
  std::string text = fmt::format("{:3.0f} %  ETA {}  {}{}  {} {}", 100 * done, eta(), place, what,
                                 measured_on_, accuracy_.empty() ? "-" : accuracy_);
  // The bar fills the columns that are left over after two brackets, a space, and the column of the
  // cursor.
  const size_t room = out().width() - std::min(out().width(), text.size() + 4);
  text = bar_text(done, std::clamp(room, kLeastBar, kMostBar)) + " " + text;
  out().status(std::move(text));
}

std::string Progress::eta() const {
  const int64_t done = now_.steps - first_.steps;
  if (done <= 0) return "?";
  const double elapsed = std::chrono::duration<double>(Clock::now() - session_start_).count();
  return duration_text(elapsed / double(done) * double(total_steps_ - now_.steps));
}

}  // namespace sculpt
