#pragma once
// Shows the progress of a study: a few lines that are redrawn on a terminal, and a line for each
// run that starts or ends elsewhere.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sculpt {

/// The state of a run at work, as the display shows it.
struct ShownRun {
  std::string name;
  int64_t epochs = 0, total_epochs = 0;
  double images_per_second = 0;
  double test_accuracy = 0;  ///< not a number if it was not measured yet
};

/// The state of the whole study, as the display shows it.
struct ShownStudy {
  std::string name;
  int64_t runs = 0, finished = 0, failed = 0;
  int64_t elsewhere = 0;                 ///< runs that another process works on
  int64_t epochs = 0, total_epochs = 0;  ///< of all runs
  double seconds_left = 0;               ///< not a number if it is not known yet
  std::vector<ShownRun> running;
};

/// Returns the line about the whole study.
std::string summary_line(const ShownStudy& study);
/// Returns the line about a run at work.
std::string run_line(const ShownRun& run);

class StudyDisplay {
 public:
  /// Prints a line, above the lines that are redrawn.
  void say_line(const std::string& text);
  /// Redraws the lines about the study if it is time to.
  void show(const ShownStudy& study);
  /// Removes the lines that are redrawn.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  size_t lines_ = 0;  // that are on the terminal now
  Clock::time_point last_;
};

/// Estimates the time that the rest of the epochs takes, from the epochs done since the start.
class EpochClock {
 public:
  explicit EpochClock(int64_t done) : first_(done), start_(std::chrono::steady_clock::now()) {}
  /// Returns seconds; not a number before an epoch was done.
  double seconds_left(int64_t done, int64_t total) const;

 private:
  int64_t first_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sculpt
