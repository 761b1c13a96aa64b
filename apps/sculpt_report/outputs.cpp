#include "apps/sculpt_report/outputs.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/shell_word.h"
#include "engine/formats/tensorboard_events.h"
#include "engine/report/latex.h"
#include "engine/report/report_files.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns where a report goes that is called `name` by default.
fs::path place_of(const ReportCommand& command, const char* name) {
  if (!command.out.empty()) {
    const bool is_file = fs::path(name).has_extension();
    return is_file && fs::is_directory(command.out) ? fs::path(command.out) / name
                                                    : fs::path(command.out);
  }
  return command.inputs.size() == 1 ? fs::path(command.inputs[0]) / name : fs::path(name);
}

/// Throws UsageError if a file that is no report would be replaced.
void require_report_name(const fs::path& file, const std::string& extension) {
  std::error_code error;
  if (!fs::is_regular_file(file, error) || file.extension() == extension) return;
  throw UsageError(fmt::format("{} exists and is not a report; choose a name that ends in {}",
                               file.string(), extension));
}

/// Returns the time at which a run was started, in seconds since 1970. Records have no times of
/// day, but the config is written first.
double start_of(const RunRecords& run) {
  std::error_code error;
  const auto written = fs::last_write_time(run.folder / "config.toml", error);
  if (error) return 0;
  const auto system = std::chrono::file_clock::to_sys(written);
  return std::chrono::duration<double>(system.time_since_epoch()).count();
}

std::vector<tensorboard::Scalar> scalars_of(const RunRecords& run, double start) {
  std::vector<tensorboard::Scalar> scalars;
  double time = start;
  for (const EpochMetrics& epoch : run.epochs) {
    time += std::isfinite(epoch.seconds) ? epoch.seconds : 0;
    const std::pair<const char*, double> values[] = {
        {"loss/train", epoch.train_loss},
        {"loss/test", epoch.test_loss},
        {"accuracy/train", epoch.train_accuracy},
        {"accuracy/test", epoch.test_accuracy},
        {"training/lr", epoch.lr},
        {"training/density", epoch.density},
        {"training/images_per_second", epoch.images_per_second}};
    for (const auto& [tag, value] : values)
      if (std::isfinite(value)) scalars.push_back({tag, epoch.epoch, time, value});
  }
  return scalars;
}

}  // namespace

fs::path folder_of_page(const ReportCommand& command) {
  if (command.format != "html") return "";
  return fs::absolute(place_of(command, "report.html")).parent_path();
}

void write_report(const ReportCommand& command, const Report& report) {
  if (command.format == "html") {
    const fs::path page = place_of(command, "report.html");
    require_report_name(page, ".html");
    write_page(page, report);
    say("{} (its numbers are in {})\n", page.string(), data_folder_of(page).string());
  } else if (command.format == "latex") {
    const fs::path file = place_of(command, "report.tex");
    require_report_name(file, ".tex");
    if (file.has_parent_path()) fs::create_directories(file.parent_path());
    write_file(file, latex_document(report));
    say("{}\n", file.string());
  } else if (command.format == "svg") {
    const fs::path folder = place_of(command, "report-figures");
    const size_t count = write_drawings(folder, report);
    say("{} in {}\n", counted(static_cast<long long>(count), "figure"), folder.string());
  } else {
    const fs::path folder = place_of(command, "report-data");
    const size_t count = write_numbers(folder, report);
    say("{} in {}\n", counted(static_cast<long long>(count), "CSV file"), folder.string());
  }
}

void write_event_files(const std::string& folder, const std::vector<RunRecords>& runs) {
  std::set<std::string> taken;
  for (const RunRecords& run : runs) {
    const fs::path path = fs::absolute(run.folder).lexically_normal();
    const std::string own = (path.has_filename() ? path : path.parent_path()).filename().string();
    std::string name = own;
    for (int i = 2; !taken.insert(name).second; ++i)
      name = fmt::format("{}-{}", own, i);
    const fs::path place = fs::path(folder) / name;
    std::error_code error;
    fs::create_directories(place, error);
    if (error)
      fail("cannot make the folder {} ({}); choose another one with --tensorboard", place.string(),
           error.message());
    const double start = start_of(run);
    // TensorBoard takes a file for events if its name holds "tfevents".
    write_file(place / "events.out.tfevents.0000000000.sculpt",
               tensorboard::event_file(scalars_of(run, start), start));
  }
  say("{} in {}; tensorboard --logdir {} shows them\n",
      counted(static_cast<long long>(runs.size()), "event file"), folder, shell_word(folder));
}

}  // namespace sculpt
