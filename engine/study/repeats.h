#pragma once
// Finds runs that repeat others: runs with the same settings and the same seed. They say nothing
// about the spread over seeds, so means and standard deviations count each training once.

#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace sculpt {

/// Returns a text that two configs share if and only if they train the same network with the same
/// seed: all settings that are not the defaults. Keys without effect do not count, and a key that
/// an older config lacks has its default. Returns "" if the config lacks a key that all configs
/// have, as a damaged one does, because then nothing is known.
std::string training_of(const std::map<std::string, std::string>& config,
                        const std::map<std::string, std::string>& defaults,
                        const std::set<std::string>& without_effect);

/// A run as it is compared with others.
struct ComparedRun {
  std::string name;      ///< for messages
  std::string group;     ///< only runs of one group are compared
  std::string training;  ///< see training_of(); a run with "" repeats no other run
  bool finished = false;
  double accuracy = NAN, loss = NAN;
};

/// A run that repeats another one.
struct Repeat {
  size_t run = 0, counted = 0;     ///< the indices of the repeat and of the run that counts
  std::string name, counted_name;  ///< their names
  bool differs = false;            ///< both have finished, with different accuracies or losses
};

/// Returns the runs that do not count because another run of their group is the same training. The
/// first finished run counts, or the first one if none has finished.
std::vector<Repeat> find_repeats(const std::vector<ComparedRun>& runs);

/// Returns a whole sentence that says how many runs do not count, and which ones; "" if there are
/// no repeats.
std::string repeats_sentence(const std::vector<Repeat>& repeats);

}  // namespace sculpt
