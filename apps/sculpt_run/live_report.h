#pragma once
// Keeps the page report.html of a run folder up to date while the run trains.

#include <chrono>
#include <string>

#include "engine/report/run_report.h"
#include "engine/run/run_folder.h"

namespace sculpt {

/// Reads the records of the run as any other program would, so the page says what the folder says.
/// Rank 0 alone has a report. A page that cannot be written causes one warning and never ends the
/// run; nothing in the run depends on the page.
class LiveReport {
 public:
  LiveReport(const RunFolder& folder, int64_t planned_epochs);

  /// Writes the page, unless it was written in the last two seconds. A page that takes long,
  /// because the run has thousands of epochs or the disk is slow, is written less often: it takes
  /// at most 2 % of the time.
  void refresh();
  /// Writes the page and its CSV files at the end of this process' work, whether the run has
  /// finished, was interrupted or has failed. Returns true if the page has been written. `warns` is
  /// false if another message already says that the run has failed.
  bool finish(bool warns = true);
  /// Returns true if the folder has a page that is older than the result of the run: the process
  /// that finished the run was killed before it could write the page.
  bool is_behind_result() const;

 private:
  using Clock = std::chrono::steady_clock;
  /// Calls `write`, and warns if it throws and no warning has been given.
  template <class Write>
  bool write_or_warn(const Write& write);

  const RunFolder folder_;
  ReportContext context_;
  Clock::time_point next_{};
  bool warned_ = false;
};

}  // namespace sculpt
