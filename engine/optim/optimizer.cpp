#include "engine/optim/optimizer.h"

#include "engine/core/registry.h"
#include "engine/optim/adamw.h"
#include "engine/optim/sgd.h"

namespace sculpt {
namespace {

template <class T>
std::unique_ptr<Optimizer> make(ParameterArena& parameters, const OptimOptions& options) {
  return std::make_unique<T>(parameters, options);
}

struct Rule {
  std::string_view name;
  std::unique_ptr<Optimizer> (*make)(ParameterArena& parameters, const OptimOptions& options);
};

constexpr Rule kRules[] = {
    {"sgd", make<Sgd>},
    {"adamw", make<AdamW>},
};

}  // namespace

std::vector<std::string> optimizer_names() {
  return names_of(kRules);
}

std::unique_ptr<Optimizer> make_optimizer(ParameterArena& parameters, const OptimOptions& options) {
  return find_row(kRules, options.rule, "optimizer").make(parameters, options);
}

}  // namespace sculpt
