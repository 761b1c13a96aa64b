#pragma once
// A process of sculpt_run that works on one run of a study.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sculpt {

/// The way in which a process has ended.
struct ProcessEnd {
  int exit_code = 0;  ///< 128 + signal if a signal has ended it
  int signal = 0;     ///< 0 if no signal has ended it
};

class RunProcess {
 public:
  /// Starts a program. Its output goes to the end of the file `log`. `visible_gpu` is the only GPU
  /// that it may use; all if the text is "". If this process ends, the program gets SIGTERM, upon
  /// which sculpt_run saves its state. Throws Error if it cannot be started.
  RunProcess(const std::vector<std::string>& words, const std::filesystem::path& log,
             const std::string& visible_gpu);
  RunProcess(const RunProcess&) = delete;
  RunProcess& operator=(const RunProcess&) = delete;
  /// A process that still runs is asked to end, and is waited for.
  ~RunProcess();

  /// Returns how the process has ended, or nothing if it is at work.
  std::optional<ProcessEnd> look();
  /// Sends a signal to the process and to those that it has started.
  void send(int signal) const;

 private:
  pid_t process_ = 0;
  std::optional<ProcessEnd> end_;
};

}  // namespace sculpt
