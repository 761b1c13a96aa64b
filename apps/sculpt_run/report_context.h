#pragma once
// Tells reports what the settings of this program are.

#include <string>

#include "engine/report/run_report.h"

namespace sculpt {

/// Returns the defaults of all settings and the keys without effect. `program` is the name of the
/// program that writes the report.
ReportContext report_context(const std::string& program);

}  // namespace sculpt
