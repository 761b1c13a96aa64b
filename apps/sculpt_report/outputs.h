#pragma once
// Writes a report in the format that a command asks for.

#include <filesystem>
#include <string>

#include "apps/sculpt_report/command_line.h"
#include "engine/report/report.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// Returns the folder that the page of a command is going to lie in; "" if it writes no page.
std::filesystem::path folder_of_page(const ReportCommand& command);

/// Writes the report and says where it is.
void write_report(const ReportCommand& command, const Report& report);

/// Writes an event file for each run into a folder of the run's name, and says how to see them.
void write_event_files(const std::string& folder, const std::vector<RunRecords>& runs);

}  // namespace sculpt
