#include "apps/sculpt_study/study_report.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <unistd.h>

#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/run_process.h"
#include "engine/core/error.h"
#include "engine/core/shell_word.h"

namespace sculpt {

namespace fs = std::filesystem;

void write_study_report(const Study& study) {
  const fs::path reporter = fs::read_symlink("/proc/self/exe").parent_path() / "sculpt_report";
  const std::string command = "sculpt_report " + shell_word(study.folder.string());
  if (access(reporter.c_str(), X_OK) != 0) {
    warn(
        fmt::format("there is no program {}, which would write the page of the study; build it, "
                    "and run {}",
                    reporter.string(), command));
    return;
  }
  try {
    RunProcess process({reporter.string(), study.folder.string()}, study.folder / "report.log",
                       /*visible_gpu=*/"");
    std::optional<ProcessEnd> end;
    while (!(end = process.look()))
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (end->exit_code == 0) {
      fs::remove(study.folder / "report.log");
      say("the page of the study: {}\n", (study.folder / "report.html").string());
    } else {
      warn(fmt::format("the page of the study could not be written; {} says why", command));
    }
  } catch (const Error& error) {
    warn(fmt::format("the page of the study could not be written: {}", error.what()));
  }
}

}  // namespace sculpt
