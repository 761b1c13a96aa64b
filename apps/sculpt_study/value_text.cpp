#include "apps/sculpt_study/value_text.h"

#include <cmath>
#include <fmt/format.h>

#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "engine/study/metrics.h"

namespace sculpt {
namespace {

/// Says how the values of a column are shown.
struct Unit {
  double factor = 1;
  int digits = -1;  ///< after the point; -1: as many as the value needs
  const char* suffix = "";
};

Unit unit_of(const std::string& name) {
  constexpr double kPercent = 100;
  if (metric_of(name).factor == kPercent) return {kPercent, 2, " %"};
  if (name.ends_with("_vs_dense") || name.ends_with("_loss")) return {1, 4, ""};
  return {};
}

}  // namespace

std::string number_text(double value) {
  return std::isnan(value) ? "" : fmt::format("{:.6g}", value);
}

std::string value_text(double value, const std::string& name) {
  if (std::isnan(value)) return "";
  const Unit unit = unit_of(name);
  if (name == "seconds" || name.ends_with("_seconds")) return duration_text(value);
  if (unit.digits < 0) return std::fabs(value) >= 1e6 ? count_text(value) : number_text(value);
  return fmt::format("{:.{}f}{}", unit.factor * value, unit.digits, unit.suffix);
}

std::string sample_text(const Sample& sample, const std::string& name) {
  if (sample.n == 0) return "";
  const Unit unit = unit_of(name);
  if (std::isnan(sample.deviation)) return value_text(sample.mean, name);
  if (name == "seconds" || name.ends_with("_seconds"))
    return fmt::format("{} ± {}", duration_text(sample.mean), duration_text(sample.deviation));
  if (unit.digits < 0)
    return std::fabs(sample.mean) >= 1e6
               ? fmt::format("{} ± {}", count_text(sample.mean), count_text(sample.deviation))
               : fmt::format("{:.6g} ± {:.2g}", sample.mean, sample.deviation);
  return fmt::format("{:.{}f} ± {:.{}f}{}", unit.factor * sample.mean, unit.digits,
                     unit.factor * sample.deviation, unit.digits, unit.suffix);
}

}  // namespace sculpt
