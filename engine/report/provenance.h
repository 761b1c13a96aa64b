#pragma once
// Says where results come from: settings, programs, machines, and the commands that repeat them.
// Only the files of engine/report include this header.

#include <string>
#include <vector>

#include "engine/report/figure.h"
#include "engine/report/report.h"
#include "engine/report/run_report.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// Returns the last part of the path that names something: "runs/first/" is "first".
std::string folder_name(const std::filesystem::path& folder);

/// Returns the settings that are not the defaults.
Table changed_settings(const RunRecords& run, const ReportContext& context);
Table all_settings(const RunRecords& run);

/// Returns what environment.json says. Of several runs, every value is listed with the number of
/// runs that have it.
Table environment_table(const std::vector<const RunRecords*>& runs);

/// Returns a whole sentence for each difference between the runs' programs, machines and data that
/// may make their results differ.
std::vector<std::string> environment_warnings(const std::vector<const RunRecords*>& runs);

/// Returns the command that repeats the run to the last bit on a machine like the recorded one, and
/// the one that goes on with it if it has not finished.
std::vector<ShownCommand> commands_of(const RunRecords& run);

}  // namespace sculpt
