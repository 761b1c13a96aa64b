#pragma once
// Keeps the pages of finished runs up to date: their analyses are made after their last page, and a
// study that has grown or shrunk gives their folders other names.

#include <filesystem>
#include <string>

#include "apps/sculpt_study/resolve.h"

namespace sculpt {

/// Writes the page of a finished run again if it does not show what the folder holds: an analysis
/// or the result is newer than the page, or the page has the name that the folder had before. A run
/// without a page, one that has not finished, and one that a process is at work in are left alone.
/// A page that cannot be written is a warning.
void refresh_page(const Study& study, const ResolvedRun& run);

/// Returns the command with `now` in the place of the folder's name `before`, wherever `before` is
/// a whole part of a path: "runs/x/004-lrr" for "runs/x/003-lrr", but not for "runs/x/003-lrr2".
std::string with_folder_name(const std::string& command, const std::string& before,
                             const std::string& now);

/// Lets the commands of a run's analyses name the folder that the run is going to have. Analyses
/// that cannot be read or written keep their commands.
void rename_in_analyses(const std::filesystem::path& run_folder, const std::string& now);

}  // namespace sculpt
