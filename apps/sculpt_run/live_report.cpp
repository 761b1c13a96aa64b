#include "apps/sculpt_run/live_report.h"

#include <algorithm>
#include <utility>

#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/report_context.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/report/report_files.h"
#include "engine/run/run_reader.h"

namespace sculpt {
namespace {

constexpr std::chrono::steady_clock::duration kBetweenPages = std::chrono::seconds(2);
// The time between two pages is at least this many times the time that a page takes.
constexpr int kTimesOfPage = 50;
// A page in a browser follows the run without being called again.
constexpr int kReloadSeconds = 15;

Report report_of(const RunRecords& records, const ReportContext& context) {
  RunRecords run = records;
  const std::vector<Analysis> analyses = read_analyses(run);
  return run_report(run, analyses, context);
}

}  // namespace

LiveReport::LiveReport(const RunFolder& folder, int64_t planned_epochs)
    : folder_(folder), context_(report_context("sculpt_run")) {
  context_.planned_epochs = planned_epochs;
}

template <class Write>
bool LiveReport::write_or_warn(const Write& write) {
  try {
    write();
    return true;
  } catch (const std::exception& error) {
    if (!std::exchange(warned_, true))
      warn(
          fmt::format("the report of this run is not up to date: {}; the run goes on, and "
                      "sculpt_report {} writes the report",
                      error.what(), folder_.root().string()));
    return false;
  }
}

void LiveReport::refresh() {
  const auto start = Clock::now();
  if (start < next_) return;
  write_or_warn([&] {
    const RunRecords run = read_run(folder_.root(), ReadRecords::all, renamed_keys());
    write_page_alone(folder_.report(), report_of(run, context_), kReloadSeconds);
  });
  const auto end = Clock::now();
  next_ = end + std::max(kBetweenPages, kTimesOfPage * (end - start));
}

bool LiveReport::is_behind_result() const {
  std::error_code no_page, no_result;
  const auto page = std::filesystem::last_write_time(folder_.report(), no_page);
  const auto result = std::filesystem::last_write_time(folder_.summary(), no_result);
  return !no_page && !no_result && page < result;
}

bool LiveReport::finish(bool warns) {
  warned_ = warned_ || !warns;
  return write_or_warn([&] {
    RunRecords run = read_run(folder_.root(), ReadRecords::all, renamed_keys());
    // This process still holds the lock, but it trains no more.
    if (run.status == RunStatus::running) run.status = RunStatus::stopped;
    write_page(folder_.report(), report_of(run, context_));
  });
}

}  // namespace sculpt
