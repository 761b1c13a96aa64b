#pragma once
// Methods are names that expand to plans (plan.h).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/option_visitor.h"
#include "engine/masks/mask_options.h"
#include "engine/plan/cycle_options.h"
#include "engine/plan/plan.h"
#include "engine/sparse/prune_options.h"

namespace sculpt {

/// The names of the methods table.
std::vector<std::string> method_names();

/// The keys at the top level of a config.
struct MethodOptions {
  std::string method = "sculpt";
  std::vector<std::string> plan;

  void visit(OptionVisitor& v) {
    v.choice("method", method, method_names(), "what the run does; each is a plan, see --plan");
    v.texts("plan", plan,
            "steps of method = \"custom\", e.g. [\"train 30\", \"prune magnitude global 0.2\", "
            "\"train 30\"]");
  }
};

/// All settings that a plan depends on.
struct MethodSettings {
  MethodOptions method;
  int64_t epochs = 10;  ///< epochs of one cycle: train.epochs
  PruneOptions prune;
  CycleOptions cycles;
  MaskOptions masks;
};

struct Method {
  std::string_view name;
  Plan (*expand)(const MethodSettings& settings);
  std::string_view help;
  std::string_view source;
  std::string_view reads;  ///< config keys that the plan depends on, separated by spaces
};

/// The methods dense, oneshot, imp, wr, lrr, pai, cyclic, sculpt and custom.
std::span<const Method> methods();

/// Returns the validated plan of settings.method.method. Throws Error that names the key and says
/// how to fix it.
Plan expand_method(const MethodSettings& settings);

/// Returns the densities of imp, wr and lrr: (1 - rate)^k for k = 1, 2, ... while above `target`,
/// then exactly `target`. Throws Error if a plan cannot hold that many levels.
std::vector<double> density_ladder(double rate, double target);

}  // namespace sculpt
