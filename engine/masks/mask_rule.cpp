#include "engine/masks/mask_rule.h"

#include "engine/core/registry.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {

std::span<const MaskRule> mask_rules() {
  static const MaskRule table[] = {rules::gmp(),  rules::granet(), rules::set(), rules::rigl(),
                                   rules::itop(), rules::acdc(),   rules::str()};
  return table;
}

std::vector<std::string> mask_rule_names() {
  return names_of(mask_rules());
}

const MaskRule& find_mask_rule(std::string_view name) {
  return find_row(mask_rules(), name, "mask rule");
}

}  // namespace sculpt
