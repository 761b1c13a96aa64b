#pragma once
// Combines all settings of a run: the option structs of the engine, models and data are the
// sections of one config.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "data/data_options.h"
#include "engine/config/config.h"
#include "engine/dist/dist_options.h"
#include "engine/plan/methods.h"
#include "engine/train/train_options.h"
#include "models/registry.h"

namespace sculpt {

struct RunOptions {
  MethodOptions method;
  int64_t seed = 1;
  models::ModelOptions model;
  data::DataOptions data;
  TrainOptions train;
  DistOptions dist;
  PruneOptions prune;
  CycleOptions cycles;
  MaskOptions masks;

  /// Returns the sections, which refer to this object.
  ConfigSections sections();
  /// Returns the plan of the method, and validates everything else. Throws Error naming the key.
  Plan plan() const;
};

/// Holds options, and what messages say about them.
struct ReadOptions {
  RunOptions options;
  std::map<std::string, std::string> old_names;  ///< see ConfigDocument::old_names()
  std::map<std::string, std::string> places;     ///< given key -> its place (ConfigValue::source)
};

/// Reads a config file and applies --set arguments to it. All other keys have their defaults.
ReadOptions read_options(const std::string& config_path, const std::vector<Setting>& settings);

/// Reads the config.toml of a run folder. A key that the file lacks has the value that runs had in
/// effect before there was the key.
ReadOptions read_stored_options(const std::string& config_path,
                                const std::vector<Setting>& settings);

/// Returns the keys that do not change what a run computes. A resumed run may change them.
const std::set<std::string>& keys_without_effect();

/// Returns the keys that change only the plan. They may change when a finished run is extended.
const std::set<std::string>& keys_of_the_plan();

/// Returns the text of docs/config.md.
std::string config_page();

}  // namespace sculpt
