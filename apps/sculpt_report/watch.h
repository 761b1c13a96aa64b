#pragma once
// Shows the curves of a run in the terminal while the run trains.

#include <string>
#include <vector>

#include "apps/sculpt_report/curves.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// Shows the run until it ends, or until a signal asks this program to end, and returns the exit
/// code. On a terminal, the screen is drawn again twice per second if there is something new, and
/// follows the size of the window. Elsewhere, every new epoch is one line. The run is not touched.
/// Throws UsageError if the arguments do not name exactly one run.
int watch(const std::vector<std::string>& inputs);

/// Returns the lines that a screen of this size shows.
std::vector<std::string> watch_screen(const RunRecords& run, size_t width, size_t height,
                                      const CurveStyle& style);

}  // namespace sculpt
