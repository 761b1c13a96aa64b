#include "engine/study/study.h"

#include <algorithm>

namespace sculpt {

std::string StudyValue::text() const {
  const bool quoted = toml.size() >= 2 && toml.front() == '"' && toml.back() == '"';
  return quoted ? toml.substr(1, toml.size() - 2) : toml;
}

std::string StudyRun::value(const std::string& key) const {
  if (key == kVariantKey) return variant;
  if (const auto axis = axes.find(key); axis != axes.end()) return axis->second;
  const auto found = settings.find(key);
  return found == settings.end() ? "" : found->second.text();
}

const StudyVariant* Study::find_variant(const std::string& variant_name) const {
  const auto found = std::ranges::find(variants, variant_name, &StudyVariant::name);
  return found == variants.end() ? nullptr : &*found;
}

}  // namespace sculpt
