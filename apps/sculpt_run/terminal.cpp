#include "apps/sculpt_run/terminal.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <poll.h>
#include <sys/ioctl.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/table.h"

namespace sculpt {
namespace {

constexpr size_t kDefaultWidth = 80;
constexpr size_t kLeastWidth = 20;
constexpr int kPollMilliseconds = 100;
// poll() reports a pipe as writable if it takes this many bytes without blocking (POSIX).
constexpr size_t kPiece = 512;

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool redraws(int descriptor) {
  const char* const term = std::getenv("TERM");
  return isatty(descriptor) != 0 && (term == nullptr || std::string_view(term) != "dumb");
}

std::string_view code(Style style) {
  switch (style) {
    case Style::heading:
      return "\033[1m";
    case Style::good:
      return "\033[32m";
    case Style::warning:
      return "\033[33m";
    case Style::error:
      return "\033[31m";
  }
  return "";
}

}  // namespace

Terminal::Terminal(int descriptor)
    : descriptor_(descriptor),
      redraws_(sculpt::redraws(descriptor)),
      colours_(redraws_ && !is_set("NO_COLOR")) {}

size_t Terminal::width() const {
  winsize size{};
  if (ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return std::max<size_t>(size.ws_col, kLeastWidth);
  const char* const columns = std::getenv("COLUMNS");
  const long wanted = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
  return wanted > 0 ? std::max(static_cast<size_t>(wanted), kLeastWidth) : kDefaultWidth;
}

std::string Terminal::paint(Style style, std::string_view text) const {
  if (!colours_) return std::string(text);
  return std::string(code(style)) + std::string(text) + "\033[0m";
}

void Terminal::print(std::string_view text) {
  if (silent_) return;
  clear_status();
  write(text);
}

void Terminal::status(std::string text) {
  if (!redraws_) return;
  text.resize(std::min(text.size(), width() - 1));
  write("\r" + text + "\033[K");
  status_shown_ = true;
}

void Terminal::clear_status() {
  if (std::exchange(status_shown_, false)) write("\r\033[K");
}

// This does not use stdio, so that a failed write is noticed at once, and so that a reader that has
// stopped reading does not keep the program from reacting to a signal.
void Terminal::write(std::string_view bytes) {
  while (!bytes.empty() && error_ == 0) {
    pollfd ready{descriptor_, POLLOUT, 0};
    if (poll(&ready, 1, kPollMilliseconds) <= 0) {
      if (interrupted()) return;
      continue;
    }
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kPiece));
    if (written >= 0)
      bytes.remove_prefix(static_cast<size_t>(written));
    else if (errno != EINTR && errno != EAGAIN)
      fail_with(errno);
  }
}

void Terminal::fail_with(int error) {
  error_ = error;
  if (error != EPIPE || descriptor_ != STDOUT_FILENO) return;
  request_stop();
  err().print("standard output was closed; stopping after this step\n");
}

Terminal& out() {
  static Terminal terminal(STDOUT_FILENO);
  return terminal;
}

Terminal& err() {
  static Terminal terminal(STDERR_FILENO);
  return terminal;
}

namespace {

// A launcher needs up to two seconds to end the other ranks after rank 0 has ended.
constexpr auto kRootFirst = std::chrono::milliseconds(2500);

std::string rank_name;  // empty for the rank that speaks for all
thread_local bool quiet_thread = false;

/// In a log, a message is one line.
void print_message(Style style, const std::string& label, const std::string& text) {
  out().clear_status();
  const std::string message = label + " " + text;
  const std::string fitted = err().redraws() ? wrap(message, err().width(), 2) : message;
  err().print(err().paint(style, label) + fitted.substr(label.size()) + "\n");
}

}  // namespace

void speak_as_rank(int rank, const std::string& name) {
  // mpirun may give its ranks a terminal of its own.
  out().treat_as_file();
  err().treat_as_file();
  if (rank == 0) return;
  out().silence();
  rank_name = name;
}

QuietThread::QuietThread(bool quiet) : before_(std::exchange(quiet_thread, quiet)) {}

QuietThread::~QuietThread() {
  quiet_thread = before_;
}

bool thread_is_quiet() {
  return quiet_thread;
}

void note(const std::string& text) {
  if (!rank_name.empty() || quiet_thread) return;
  print_message(Style::heading, "note:", text);
}

void warn(const std::string& text) {
  if (!rank_name.empty() || quiet_thread) return;
  print_message(Style::warning, "warning:", text);
}

void say_error(const std::string& text) {
  if (rank_name.empty()) return print_message(Style::error, "error:", text);
  std::this_thread::sleep_for(kRootFirst);
  print_message(Style::error, "error:", rank_name + ": " + text);
}

}  // namespace sculpt
