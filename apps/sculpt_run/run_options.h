#pragma once
// All settings of a run: the option structs of the engine, models and data as sections of one
// config.

#include <set>
#include <string>
#include <vector>

#include "data/data_options.h"
#include "engine/config/config.h"
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
  PruneOptions prune;
  CycleOptions cycles;
  WeightRewindOptions wr;

  /// The sections refer to this object.
  ConfigSections sections();
  /// The plan of the method, validated with everything else. Throws Error naming the key.
  Plan plan() const;
};

/// Reads a config file and --set arguments over the defaults.
RunOptions read_options(const std::string& config_path, const std::vector<std::string>& settings);

/// Keys that do not change what a run computes; a resume may change them.
const std::set<std::string>& keys_without_effect();

/// Keys that change nothing but the plan. They may change when a finished run is extended.
const std::set<std::string>& keys_of_the_plan();

/// docs/config.md.
std::string config_page();

}  // namespace sculpt
