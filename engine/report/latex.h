#pragma once
// Sets the figures and tables of a report for a paper: pgfplots and booktabs.

#include <string>

#include "engine/report/report.h"

namespace sculpt {

/// Returns a document that LaTeX can set as it stands. Its tables and figures are meant to be
/// copied into a paper, one at a time, with the packages and colours of its first lines.
std::string latex_document(const Report& report);

std::string latex_of(const Figure& figure);
std::string latex_of(const HeatMap& map);
std::string latex_of(const Table& table);

}  // namespace sculpt
