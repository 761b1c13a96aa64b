#pragma once
// Measured choices between implementations of a kernel, in a text file that all runs of a user
// share. The file has a line with the version, then one line for each choice with fields separated
// by tabs:
//
//   machine   problem   native|library|sparse   microseconds of the native one   of the other
//
// The file only saves time, so any problem with it is a warning and not an error. A writer holds a
// lock, keeps what other processes have written meanwhile, and renames a complete file into place.

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace sculpt::kernels {

/// The kernels for a problem. `native`: our kernels for any weights. `library`: NVIDIA's kernels.
/// `sparse`: our kernels that skip masked weights.
enum class Choice { native, library, sparse };
std::string_view to_string(Choice choice);
std::optional<Choice> choice_from(std::string_view word);

/// The times of the native kernel and of one alternative, in microseconds.
struct Timing {
  double native = 0;
  double other = 0;
  Choice alternative = Choice::library;  ///< which alternative `other` is

  Choice faster() const { return other < native ? alternative : Choice::native; }
};

using Warn = std::function<void(const std::string&)>;

/// Returns XDG_CACHE_HOME/sculpt/choices.txt, by default in ~/.cache; empty if there is no home
/// folder.
std::filesystem::path default_choice_file();

class ChoiceFile {
 public:
  /// `machine` names everything besides the problem that times depend on: the GPU, the versions of
  /// the libraries, this build. With an empty path, nothing is stored.
  ChoiceFile(std::filesystem::path path, std::string machine, Warn warn);

  std::optional<Choice> find(const std::string& problem) const;
  /// Stores a choice and returns the choice to use. If another process has stored one meanwhile,
  /// that one is returned, so that runs at the same time choose alike.
  Choice add(const std::string& problem, const Timing& timing);

 private:
  struct Row {
    Choice choice = Choice::native;
    Timing timing;
  };
  using Rows = std::map<std::pair<std::string, std::string>, Row>;  ///< by machine and problem

  static std::optional<std::pair<Rows::key_type, Row>> parse(const std::string& line);
  void read();
  void write();
  void warn_once(const std::string& text);

  std::filesystem::path path_;
  std::string machine_;
  Warn warn_;
  Rows rows_;
  bool writable_ = true;  ///< false after a write has failed, or if the file is not ours to write
  bool told_of_damage_ = false;
};

}  // namespace sculpt::kernels
