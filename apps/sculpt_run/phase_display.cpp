#include "apps/sculpt_run/phase_display.h"

#include <algorithm>

#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr Seconds kDrawAfter{0.3}, kDrawEvery{0.1};
constexpr Seconds kPrintAfter{5}, kPrintEvery{30};

std::string describe(const PhaseState& phase, Seconds elapsed) {
  const std::string time = duration_text(elapsed.count());
  if (phase.total <= 0) return fmt::format("{}  {}", phase.name, time);
  const double share = static_cast<double>(phase.done) / static_cast<double>(phase.total);
  return fmt::format("{} {:3.0f} %  {}: {} of {}  {}", bar_text(share), 100 * share, phase.name,
                     grouped(phase.done), grouped(phase.total), time);
}

}  // namespace

PhaseDisplay::PhaseDisplay(bool ends_phases)
    : before_(watch_phases(this)),
      ends_phases_(ends_phases),
      shown_thread_(std::this_thread::get_id()) {}

PhaseDisplay::~PhaseDisplay() {
  watch_phases(before_);
}

void PhaseDisplay::on_phase(const PhaseState& phase) {
  if (ends_phases_ && interrupted()) throw Interrupted();
  if (std::this_thread::get_id() != shown_thread_) return;
  const auto now = Clock::now();
  const Seconds elapsed = now - phase.start, since_shown = now - last_shown_;
  const bool redraws = out().redraws();
  if (elapsed < (redraws ? kDrawAfter : kPrintAfter)) return;
  if (since_shown < (redraws ? kDrawEvery : kPrintEvery)) return;
  last_shown_ = now;
  drawn_ = redraws;
  const std::string text = describe(phase, elapsed);
  redraws ? out().status(text) : out().print(text + "\n");
}

void PhaseDisplay::on_phase_end(const PhaseState&) {
  if (std::this_thread::get_id() != shown_thread_) return;
  if (std::exchange(drawn_, false)) out().clear_status();
}

}  // namespace sculpt
