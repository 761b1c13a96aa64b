#pragma once
// An analysis of one or more checkpoints, as a file: RUN_FOLDER/analysis/<name>.json.
// sculpt_analyze writes such files, and reports show whatever they find, without knowing the
// analyses by name.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/report/figure.h"

namespace sculpt {

struct Analysis {
  std::string name;   ///< name of the file without .json: "connectivity-cycles"
  std::string title;  ///< "Linear mode connectivity of consecutive cycles"
  std::string command;
  /// Whole sentences: conventions, number of images, what is in and out, what to be careful about.
  std::vector<std::string> notes;
  /// Single results by name, for programs: "barrier_test_accuracy.1-2".
  std::map<std::string, double> values;
  std::vector<Figure> figures;
  std::vector<HeatMap> heat_maps;
  std::vector<Table> tables;
};

/// Writes RUN_FOLDER/analysis/<name>.json, or replaces it whole. Values that are not a number are
/// null.
void write_analysis(const std::filesystem::path& run_folder, const Analysis& analysis);

/// Reads one file. Throws Error naming the file if it is damaged or of a newer format.
Analysis read_analysis(const std::filesystem::path& file);

/// Returns the analysis files of a run folder, sorted by name.
std::vector<std::filesystem::path> analysis_files(const std::filesystem::path& run_folder);

}  // namespace sculpt
