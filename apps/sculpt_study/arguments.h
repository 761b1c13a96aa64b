#pragma once
// Parses the arguments of sculpt_study.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/study/study_file.h"

namespace sculpt {

/// `sculpt_study STUDY.toml`
struct StudyCommand {
  std::string study;  ///< the path of a study file, or of the folder of a study
  StudyChoices choices;
  int jobs = 0;     ///< runs at a time; 0: as many as the threads allow
  int threads = 0;  ///< threads of all runs together; 0: one per processor
  bool list = false;
  bool dry_run = false;
  int64_t index = 0;    ///< number of the only run to run; 0: all runs
  std::string program;  ///< path of sculpt_run; "" for the one beside this program
};

/// `sculpt_study ls`
struct LsCommand {
  std::vector<std::string> places;  ///< folders of studies and of runs
  std::vector<std::string> where;
  std::string sort;
  bool descending = false;
  std::vector<std::string> by;  ///< names to group by; empty: everything but the seed
  std::vector<std::string> columns;
  bool runs = false;
};

/// `sculpt_study diff`
struct DiffCommand {
  std::string first, second;
};

/// `sculpt_study index`
struct IndexCommand {
  std::string folder;
};

/// Exactly one of the members has a value.
struct StudyArguments {
  std::optional<StudyCommand> study;
  std::optional<LsCommand> ls;
  std::optional<DiffCommand> diff;
  std::optional<IndexCommand> index;
};

/// Fills `arguments`. Returns an exit code if the program is to end now, after --help or because
/// arguments are wrong.
std::optional<int> parse_arguments(int argc, const char* const* argv, StudyArguments& arguments);

}  // namespace sculpt
