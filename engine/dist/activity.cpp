#include "engine/dist/activity.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace sculpt {
namespace {

// A process that uses less than this part of one processor is idle. Threads that redraw a line or
// look whether a signal has come use less.
constexpr double kIdleShare = 0.01;

double time_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double processor_time_of_others() {
  return time_of(CLOCK_PROCESS_CPUTIME_ID) - time_of(CLOCK_THREAD_CPUTIME_ID);
}

/// Returns true if a thread of this process is in a state of the system that signals do not
/// interrupt, which is how the system waits for disks and network file systems.
bool waits_for_a_disk() {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream file(task.path() / "stat");
    std::string text;
    std::getline(file, text);
    // The name of the thread, in parentheses, may hold any character.
    const size_t name_end = text.rfind(')');
    if (name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] == 'D')
      return true;
  }
  return false;
}

double seconds(Activity::Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

bool is_full(int file) {
  pollfd output{file, POLLOUT, 0};
  return poll(&output, 1, 0) == 0;
}

Activity::Activity(Clock::time_point now)
    : sampled_(now), active_(now), used_(processor_time_of_others()) {}

double Activity::idle_seconds(Clock::time_point now) {
  const double used = processor_time_of_others();
  const bool waits = waits_for_a_disk() || is_full(STDOUT_FILENO) || is_full(STDERR_FILENO);
  const bool idle = used - used_ < kIdleShare * seconds(now - sampled_) && !waits;
  used_ = used;
  sampled_ = now;
  if (!idle) active_ = now;
  return seconds(now - active_);
}

}  // namespace sculpt
