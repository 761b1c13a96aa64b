#include "engine/masks/mask_rule.h"

#include <array>

#include "engine/core/registry.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr std::string_view kExchangeKeys = "masks.interval masks.drop masks.end";

constexpr auto kRules = std::to_array<MaskRule>({
    {"gmp", true, false, false, gmp::changes_after, gmp::density_after, gmp::change,
     "gradual magnitude pruning: a cubic schedule to the density, over all layers together",
     "Zhu & Gupta 2017", "masks.interval masks.begin masks.end"},
    {"granet", true, true, true, granet::changes_after, granet::density_after, granet::change,
     "gmp that exchanges weights of each layer by gradient after each prune", "Liu et al. 2021",
     "masks.interval masks.drop masks.begin masks.end"},
    {"set", false, true, false, set::changes_after, set::density_after, set::change,
     "per layer, exchanges the smallest weights for random ones", "Mocanu et al. 2018",
     kExchangeKeys},
    {"rigl", false, true, true, rigl::changes_after, rigl::density_after, rigl::change,
     "per layer, exchanges the smallest weights for those with the largest gradients",
     "Evci et al. 2020", kExchangeKeys},
    {"itop", false, true, true, itop::changes_after, itop::density_after, itop::change,
     "rigl with larger changes that never stop (for SET's: set with masks.drop 0.5, masks.end 1)",
     "Liu et al. 2021", kExchangeKeys},
    {"acdc", true, true, false, acdc::changes_after, acdc::density_after, acdc::change,
     "prunes to the density and makes all weights active again, in turn", "Peste et al. 2021",
     "masks.sparse_from masks.dense_from"},
});

}  // namespace

std::span<const MaskRule> mask_rules() {
  return kRules;
}

std::vector<std::string> mask_rule_names() {
  return names_of(kRules);
}

const MaskRule& find_mask_rule(std::string_view name) {
  return find_row(kRules, name, "mask rule");
}

}  // namespace sculpt
