#pragma once
// A session has what every analysis works with: the config of a run, its data and its network on a
// device, and the networks in its checkpoints.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/sculpt_run/experiment.h"
#include "engine/analyze/analysis_images.h"
#include "engine/config/config_document.h"
#include "engine/run/run_folder.h"

namespace sculpt::analyze {

/// The values of the options that all commands share.
struct SharedOptions {
  std::string config;             ///< "" finds the config by the folder of the checkpoint
  std::vector<Setting> settings;  ///< changes of the config
  std::string out;                ///< takes the place of the run folder for results; may be ""
  std::string command;            ///< what the person wrote, for the files of results
};

/// The thing that a person names in a command: a run folder, or a checkpoint with the config that
/// belongs to it.
struct Target {
  std::filesystem::path path;
  std::filesystem::path config;
  std::optional<std::filesystem::path> run;         ///< the run folder; none for a lone file
  std::optional<std::filesystem::path> checkpoint;  ///< none if the person named a run folder
};

/// Finds out what `path` is. Throws UsageError naming the fix if there is no such path, or no
/// config that belongs to it.
Target find_target(const std::string& path, const SharedOptions& shared);

/// Returns the folder that results are written to; none if a lone file is analysed without --out.
std::optional<std::filesystem::path> results_folder_of(const Target& target,
                                                       const SharedOptions& shared);

struct NamedNetwork {
  std::string name;  ///< "cycle 2", "final", "initialisation"
  std::string key;   ///< the name in keys and names of files: "2", "final", "initialisation"
  StoredNetwork values;
};

class Session {
 public:
  /// Reads config and data, opens the device and builds the network. Throws UsageError.
  Session(const Target& target, const SharedOptions& shared);

  const Target& target() const { return target_; }
  const RunOptions& options() const { return options_; }
  Network& network() { return experiment_->network(); }
  BatchSource& test() { return experiment_->test(); }
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// Returns "test" or "validation": the images that accuracies are measured on.
  std::string measured_on() const { return experiment_->identity().evaluated_on; }
  uint64_t seed() const { return static_cast<uint64_t>(options_.seed); }
  /// Returns the folder that results are written to, as results_folder_of() does.
  const std::optional<std::filesystem::path>& results_folder() const { return results_; }

  /// Returns the images of an analysis: at most `count` training images.
  AnalysisImages images(int64_t count);

  /// Reads a checkpoint, or any file of a network with the names of PyTorch. Throws UsageError.
  StoredNetwork read(const std::filesystem::path& path);
  /// Returns the networks at the ends of the cycles of which the run has kept checkpoints, and the
  /// final network if it is another one than the last of them. Throws UsageError with the fix if
  /// there are fewer than `least`.
  std::vector<NamedNetwork> networks_of_run(size_t least);
  /// Returns the network that a person names: the number of a cycle, "final", or a path.
  NamedNetwork named(const std::string& name);
  /// Returns the network before training: its masks keep everything.
  NamedNetwork initialisation();

 private:
  const Target target_;
  const std::optional<std::filesystem::path> results_;
  RunOptions options_;
  std::unique_ptr<Experiment> experiment_;
  std::vector<std::string> class_names_;
};

}  // namespace sculpt::analyze
