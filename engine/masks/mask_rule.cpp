#include "engine/masks/mask_rule.h"

#include "engine/core/registry.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr std::string_view kExchangeKeys = "masks.interval masks.drop masks.end";

constexpr MaskRule kRules[] = {
    {.name = "gmp",
     .changes_density = true,
     .changes_after = gmp::changes_after,
     .density_after = gmp::density_after,
     .change = gmp::change,
     .help = "gradual magnitude pruning: a cubic schedule to the density, over all layers together",
     .source = "Zhu & Gupta 2017",
     .reads = "masks.interval masks.begin masks.end"},
    {.name = "granet",
     .changes_density = true,
     .grows_back = true,
     .reads_gradients = true,
     .changes_after = granet::changes_after,
     .density_after = granet::density_after,
     .change = granet::change,
     .help = "gmp that exchanges weights of each layer by gradient after each prune",
     .source = "Liu et al. 2021",
     .reads = "masks.interval masks.drop masks.begin masks.end"},
    {.name = "set",
     .grows_back = true,
     .changes_after = set::changes_after,
     .density_after = set::density_after,
     .change = set::change,
     .help = "per layer, exchanges the smallest weights for random ones",
     .source = "Mocanu et al. 2018",
     .reads = kExchangeKeys},
    {.name = "rigl",
     .grows_back = true,
     .reads_gradients = true,
     .changes_after = rigl::changes_after,
     .density_after = rigl::density_after,
     .change = rigl::change,
     .help = "per layer, exchanges the smallest weights for those with the largest gradients",
     .source = "Evci et al. 2020",
     .reads = kExchangeKeys},
    {.name = "itop",
     .grows_back = true,
     .reads_gradients = true,
     .changes_after = itop::changes_after,
     .density_after = itop::density_after,
     .change = itop::change,
     .help = "rigl with larger changes that never stop (with SET's growth: set, masks.drop 0.5, "
             "masks.end 1)",
     .source = "Liu et al. 2021",
     .reads = kExchangeKeys},
    {.name = "acdc",
     .changes_density = true,
     .grows_back = true,
     .starts_anywhere = true,
     .changes_after = acdc::changes_after,
     .density_after = acdc::density_after,
     .change = acdc::change,
     .help = "prunes to the density and makes all weights active again, in turn",
     .source = "Peste et al. 2021",
     .reads = "masks.sparse_from masks.dense_from"},
    {.name = "str",
     .changes_density = true,
     .trains_thresholds = true,
     .changes_after = str::changes_after,
     .density_after = str::density_after,
     .change = str::change,
     .help = "trains a soft threshold for each layer, then prunes to the density and trains on",
     .source = "Kusupati et al. 2020",
     .reads = "masks.end masks.str_init"},
};

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
