#include "apps/sculpt_report/watch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <sys/ioctl.h>
#include <thread>
#include <unistd.h>

#include "apps/sculpt_report/input.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/core/shell_word.h"
#include "engine/report/ticks.h"

namespace sculpt {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(500);
constexpr size_t kSideBySide = 110;  // columns from which two charts stand in one row

std::atomic<bool> stopped = false;

void catch_stops() {
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = true; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool speaks_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string text = value;
    return text.find("UTF-8") != std::string::npos || text.find("utf8") != std::string::npos;
  }
  return false;
}

size_t screen_height() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

std::string percent(double fraction) {
  return std::isfinite(fraction) ? fixed_text(100 * fraction, 2) + " %" : "-";
}

std::string loss(double value) {
  return std::isfinite(value) ? fixed_text(value, 4) : "-";
}

double last_accuracy(const RunRecords& run) {
  for (auto epoch = run.epochs.rbegin(); epoch != run.epochs.rend(); ++epoch)
    if (std::isfinite(epoch->test_accuracy)) return epoch->test_accuracy;
  return NAN;
}

std::string cut(const std::string& text, size_t width) {
  std::string line = text;
  while (columns_of(line) > width)
    line.pop_back();
  return line;
}

std::string epoch_line(const EpochMetrics& m) {
  return fmt::format(
      "epoch {}  cycle {}  lr {}  train {} {}  test {} {}  density {}  {:.0f} images/s", m.epoch,
      m.cycle, number_text(m.lr), loss(m.train_loss), percent(m.train_accuracy), loss(m.test_loss),
      percent(m.test_accuracy), percent(m.density), m.images_per_second);
}

template <class ValueOf>
Curve curve_of(const RunRecords& run, const char* name, const ValueOf& value_of) {
  Curve curve{name, {}, {}};
  for (const EpochMetrics& epoch : run.epochs) {
    curve.x.push_back(static_cast<double>(epoch.epoch));
    curve.y.push_back(value_of(epoch));
  }
  return curve;
}

std::vector<Chart> charts_of(const RunRecords& run) {
  std::vector<double> marks;
  for (const EpochMetrics& epoch : run.epochs)
    if (epoch.cycle_epoch == 1 && epoch.cycle > 1)
      marks.push_back(static_cast<double>(epoch.epoch));
  return {{"accuracy (%)",
           {curve_of(run, "training", [](const auto& e) { return 100 * e.train_accuracy; }),
            curve_of(run, "test", [](const auto& e) { return 100 * e.test_accuracy; })},
           marks},
          {"loss",
           {curve_of(run, "training", [](const auto& e) { return e.train_loss; }),
            curve_of(run, "test", [](const auto& e) { return e.test_loss; })},
           marks}};
}

/// Switches the terminal to its second screen, and back in the end.
class SecondScreen {
 public:
  SecondScreen() { out().print("\033[?1049h\033[?25l"); }
  ~SecondScreen() { out().print("\033[?25h\033[?1049l"); }
  SecondScreen(const SecondScreen&) = delete;
  SecondScreen& operator=(const SecondScreen&) = delete;
};

/// Draws over what is on the screen. Nothing is erased before it is drawn again, so nothing
/// flickers.
void show_screen(const std::vector<std::string>& lines) {
  std::string frame = "\033[?2026h\033[H";
  for (size_t i = 0; i < lines.size(); ++i)
    frame += lines[i] + "\033[K" + (i + 1 < lines.size() ? "\r\n" : "");
  out().print(frame + "\033[J\033[?2026l");
}

std::string end_text(const RunRecords& run) {
  if (run.diverged()) return "training has diverged";
  if (run.finished())
    return fmt::format("the run has finished: {} accuracy, sparsity {}",
                       percent(run.result("test_accuracy")), percent(run.result("sparsity")));
  if (run.status == RunStatus::running) return "the run goes on";
  return fmt::format("no process works on the run; sculpt_run --resume {} goes on with it",
                     shell_word(run.folder.string()));
}

RunRecords read(const std::filesystem::path& folder) {
  return read_run(folder, ReadRecords::all, renamed_keys());
}

/// Calls `show` with every new state of the run until the run ends.
template <class Show>
RunRecords follow(const std::filesystem::path& folder, const Show& show) {
  RunRecords run = read(folder);
  while (true) {
    show(run);
    if (run.status != RunStatus::running || run.diverged() || stopped || out().error() != 0)
      return run;
    std::this_thread::sleep_for(kBetweenLooks);
    run = read(folder);
  }
}

}  // namespace

std::vector<std::string> watch_screen(const RunRecords& run, size_t width, size_t height,
                                      const CurveStyle& style) {
  std::vector<std::string> lines;
  const std::string name = run.folder.lexically_normal().string();
  lines.push_back(
      cut(fmt::format("{}: {} with {} on {}, {}", name, run.setting("method"),
                      run.setting("model.name"), run.setting("data.name"), name_of(run.status)),
          width));
  std::string now = "no epoch has been recorded yet";
  if (!run.epochs.empty()) {
    now = epoch_line(run.epochs.back());
    if (!std::isfinite(run.epochs.back().test_accuracy))
      now += fmt::format("  (last test {})", percent(last_accuracy(run)));
  }
  lines.push_back(cut(now, width));
  const std::string foot = cut("Ctrl-C ends the watching and not the run", width);
  const size_t room = height - std::min(height, lines.size() + 2);
  const std::vector<Chart> charts = charts_of(run);
  if (width >= kSideBySide) {
    const size_t half = (width - 2) / 2;
    const auto left = draw_chart(charts[0], half, room, style);
    const auto right = draw_chart(charts[1], half, room, style);
    for (size_t i = 0; i < left.size(); ++i)
      lines.push_back(left[i] + "  " + right[i]);
  } else {
    const size_t shown = room >= 16 ? 2 : 1;
    for (size_t i = 0; i < shown; ++i)
      for (std::string& line : draw_chart(charts[i], width, room / shown, style))
        lines.push_back(std::move(line));
  }
  lines.push_back(foot);
  return lines;
}

int watch(const std::vector<std::string>& inputs) {
  const std::vector<std::filesystem::path> folders = [&] {
    try {
      return run_folders(inputs);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }();
  if (folders.size() != 1)
    throw UsageError(fmt::format("--watch shows one run, and there are {}; give the folder of one",
                                 folders.size()));
  catch_stops();
  RunRecords last;
  if (out().redraws()) {
    const SecondScreen screen;
    const CurveStyle style{speaks_utf8(), out().paint(Style::good, "x") != "x"};
    last = follow(folders[0], [&](const RunRecords& run) {
      show_screen(watch_screen(run, out().width(), screen_height(), style));
    });
  } else {
    size_t printed = 0;
    last = follow(folders[0], [&](const RunRecords& run) {
      for (; printed < run.epochs.size(); ++printed)
        say("{}\n", epoch_line(run.epochs[printed]));
    });
  }
  if (out().redraws() && !last.epochs.empty()) say("{}\n", epoch_line(last.epochs.back()));
  say("{}\n", end_text(last));
  return kExitOk;
}

}  // namespace sculpt
