#pragma once
// A mask rule changes the masks of a network while a cycle trains it: "train 30 with rigl". Each
// rule is one file in the folder rules/, and one row of the table in mask_rule.cpp.
//
//   gmp     prunes little by little, by magnitude over all layers. Zhu & Gupta 2017
//   granet  as gmp; after each prune, exchanges weights as rigl does. Liu et al. 2021
//   set     exchanges the smallest weights of each layer for random ones. Mocanu et al. 2018
//   rigl    exchanges the smallest weights of each layer for those with the largest gradients.
//           Evci et al. 2020
//   itop    as rigl, with larger changes that never stop. Liu et al. 2021
//   acdc    prunes to the density and makes all weights active again, in turn. Peste et al. 2021
//   str     trains a soft threshold for each layer, and then prunes to the density, once.
//           Kusupati et al. 2020

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/masks/mask_options.h"

namespace sculpt {

class MaskChange;

/// The position in the schedule of a cycle. The step is the one that ends now: `done` of `steps`
/// steps are finished with it. A cycle that enters its schedule late ("train 30 from 10") leaves
/// out the first `first` steps; changes of masks that belong to these steps are not made.
struct SchedulePosition {
  int64_t done = 0;
  int64_t steps = 1;
  int64_t first = 0;
  double fraction() const { return static_cast<double>(done) / static_cast<double>(steps); }
};

/// The densities between which a rule works: kept / N over all prunable weights.
struct DensityRange {
  double start = 1;   ///< density when the cycle began
  double target = 1;  ///< density of "with RULE to DENSITY"; `start` if the rule keeps the density
};

struct MaskRule {
  std::string_view name;
  /// True if the rule takes the network to a density, which the plan names: "with gmp to 0.1".
  /// Other rules keep the number of kept weights of each layer.
  bool changes_density = false;
  /// True if weights that are masked may be kept again.
  bool grows_back = false;
  /// True if the rule may begin below its target density, because it makes all weights active
  /// meanwhile.
  bool starts_anywhere = false;
  /// True if a change needs the gradients of masked weights, too. Those of kept weights are always
  /// there after a step.
  bool reads_gradients = false;
  /// True if the optimizer trains a soft threshold for each layer (optim/soft_thresholds.h) from
  /// the beginning of the cycle until the masks change.
  bool trains_thresholds = false;
  /// Returns true if the masks change after this step.
  bool (*changes_after)(const SchedulePosition& position, const MaskOptions& options) = nullptr;
  /// Returns the density after this step. A pure function, so that the cost of a plan is known
  /// before it runs.
  double (*density_after)(const SchedulePosition& position, const DensityRange& range,
                          const MaskOptions& options) = nullptr;
  /// Changes the masks after a step for which changes_after() is true.
  void (*change)(MaskChange& change) = nullptr;
  std::string_view help;
  std::string_view source;
  std::string_view reads;  ///< config keys that the rule depends on, separated by spaces
};

std::span<const MaskRule> mask_rules();
/// Throws Error that lists the known names if the name is unknown.
const MaskRule& find_mask_rule(std::string_view name);

}  // namespace sculpt
