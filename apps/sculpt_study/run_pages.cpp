#include "apps/sculpt_study/run_pages.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/report_context.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/core/shell_word.h"
#include "engine/report/report_files.h"
#include "engine/report/run_report.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_reader.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns true if the file was written after the other one.
bool is_newer(const fs::path& file, const fs::path& than) {
  std::error_code no_file, no_other;
  const auto written = fs::last_write_time(file, no_file);
  const auto other = fs::last_write_time(than, no_other);
  return !no_file && !no_other && written > other;
}

/// Returns true if the page was written for a folder of this name, which is the title of the page.
bool has_title(const fs::path& page, const std::string& name) {
  std::ifstream file(page);
  std::string head(4096, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(file.gcount()));
  return head.find("<title>" + name + "</title>") != std::string::npos;
}

bool is_behind(const Study& study, const ResolvedRun& run, const RunFolder& folder) {
  const fs::path page = folder.report();
  const auto newer = [&](const fs::path& file) { return is_newer(file, page); };
  if (newer(folder.summary()) || std::ranges::any_of(analysis_files(run.folder), newer))
    return true;
  // Folders of a pool keep their names, and a person may have written the page through a link.
  return study.pool.empty() && !has_title(page, run.run.name);
}

/// Returns true if a name of a folder may go on at this place of a text.
bool is_in_name(const std::string& text, size_t at) {
  return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0 ||
                              std::string_view("-_.+=").find(text[at]) != std::string_view::npos);
}

}  // namespace

std::string with_folder_name(const std::string& command, const std::string& before,
                             const std::string& now) {
  std::string text = command;
  for (size_t at = 0; !before.empty() && (at = text.find(before, at)) != std::string::npos;) {
    const bool whole =
        (at == 0 || !is_in_name(text, at - 1)) && !is_in_name(text, at + before.size());
    if (whole) text.replace(at, before.size(), now);
    at += whole ? now.size() : 1;
  }
  return text;
}

void rename_in_analyses(const fs::path& run_folder, const std::string& now) {
  for (const fs::path& file : analysis_files(run_folder))
    try {
      Analysis analysis = read_analysis(file);
      const std::string command =
          with_folder_name(analysis.command, run_folder.filename().string(), now);
      if (command == analysis.command) continue;
      analysis.command = command;
      write_analysis(run_folder, analysis);
    } catch (const Error&) {
      continue;  // reports name what cannot be read
    }
}

void refresh_page(const Study& study, const ResolvedRun& run) try {
  const RunFolder folder(run.folder);
  if (!folder.finished() || !fs::is_regular_file(folder.report())) return;
  // The process that holds the lock writes the page itself.
  if (is_locked(run.folder) || !is_behind(study, run, folder)) return;
  RunRecords records = read_run(run.folder, ReadRecords::all, renamed_keys());
  const std::vector<Analysis> analyses = read_analyses(records);
  write_page(folder.report(), run_report(records, analyses, report_context("sculpt_study")));
} catch (const std::exception& error) {
  warn(fmt::format("the page of the run {} is not up to date: {}; sculpt_report {} writes it",
                   run.run.name, error.what(), shell_word(run.folder.string())));
}

}  // namespace sculpt
