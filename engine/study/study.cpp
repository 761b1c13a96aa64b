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

const std::vector<std::string>& study_metrics() {
  static const std::vector<std::string> metrics = {
      "test_accuracy",
      "test_loss",
      "best_test_accuracy_at_final_density",
      "train_loss",
      "train_flops",
      "train_flops_vs_dense",
      "seconds",
      "seconds_dense",
      "train_seconds",
      "train_seconds_dense",
      "images_per_second",
      "sparsity",
      "density",
      "density_mean",
      "epochs",
      "steps",
      "prunable",
      "kept",
      "peak_memory_bytes",
      "peak_device_memory_bytes",
  };
  return metrics;
}

}  // namespace sculpt
