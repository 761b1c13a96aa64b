#include "apps/sculpt_run/interrupt.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <string_view>
#include <unistd.h>

namespace sculpt {
namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;
constexpr int64_t kBurst = 2 * kNanoseconds;

// The time of the first signal that asked the process to end, in nanoseconds of CLOCK_MONOTONIC; 0
// if there was none. A single number makes handlers in two threads agree which signal was the
// first.
std::atomic<int64_t> asked_at{0};
std::atomic<bool> stop_requested{false};  // set by request_stop()
static_assert(std::atomic<int64_t>::is_always_lock_free, "handlers must not wait for a lock");

// On a terminal, these lines replace the line that is being redrawn.
constexpr std::string_view kAfterCtrlC =
    "stopping after this step; a second Ctrl-C at least two seconds later ends the program at "
    "once\n";
constexpr std::string_view kAfterSignal =
    "stopping after this step, because a signal asks for it; a second signal at least two seconds "
    "later ends the program at once\n";
std::string_view before_line;
bool prints_line = true;

int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::max<int64_t>(1, time.tv_sec * kNanoseconds + time.tv_nsec);
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;  // there is no way to report this
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// The handler only calls functions that POSIX allows in a handler.
extern "C" void on_interrupt(int signal) {
  const int saved_errno = errno;
  int64_t first = 0;
  if (asked_at.compare_exchange_strong(first, now())) {
    if (prints_line) {
      write_all(before_line);
      write_all(signal == SIGINT ? kAfterCtrlC : kAfterSignal);
    }
  } else if (now() - first >= kBurst) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // the signal is delivered when this handler returns
  }
  errno = saved_errno;
}

}  // namespace

void catch_interrupts(bool silent) {
  prints_line = !silent;
  if (isatty(STDERR_FILENO) != 0) before_line = "\r\033[K";
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR2}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (signal == SIGHUP && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

void request_stop() {
  stop_requested = true;
}

bool interrupted() {
  return asked_at != 0 || stop_requested;
}

}  // namespace sculpt
