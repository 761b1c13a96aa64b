#pragma once
// A report as data: what it says and shows, and not how it is set. run_report.h and study_report.h
// make reports; html_page.h, csv.h, latex.h and report_files.h write them.

#include <string>
#include <vector>

#include "engine/report/figure.h"

namespace sculpt {

/// A result in large type at the top of a report.
struct Fact {
  std::string label;  ///< "test accuracy"
  std::string value;  ///< "61.64 %"
  std::string note;   ///< "best 61.64 % in epoch 45"; may be empty
};

/// A command that a person may copy.
struct ShownCommand {
  std::string purpose;  ///< a sentence without its end: "Repeats this run in another folder"
  std::string command;
};

struct Section {
  std::string heading;
  std::vector<std::string> paragraphs = {};
  std::vector<Figure> figures = {};
  std::vector<HeatMap> heat_maps = {};
  std::vector<Table> tables = {};
  std::vector<ShownCommand> commands = {};
  /// Tables that are there to be looked up start closed in a page.
  bool closed = false;
};

/// The progress of the work that a report is about.
enum class ReportState { finished, running, stopped, failed };

struct Report {
  std::string title;
  std::string kind;  ///< "run" or "study", in small type above the title
  ReportState state = ReportState::finished;
  std::string state_text;  ///< "finished", or "epoch 12 of 45"
  std::string sentence;    ///< the result in one sentence
  std::vector<Fact> facts;
  /// Whole sentences about what a reader must be careful with: failed runs, damaged records.
  std::vector<std::string> warnings;
  std::vector<Section> sections;
  std::string foot;  ///< which program wrote the report
};

/// Gives every figure, heat map and table a name that is a part of a file name and that no other
/// one of the report has.
void make_names_unique(Report& report);

/// A file of a report, with its name relative to the folder of the report.
struct ReportFile {
  std::string name;
  std::string content;
};

}  // namespace sculpt
