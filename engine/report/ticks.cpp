#include "engine/report/ticks.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace sculpt {
namespace {

constexpr double kSmall = 1e-4, kLarge = 1e6;
// Rounding errors of ticks at the ends of a range are smaller than this share of a step.
constexpr double kSlack = 1e-9;

/// Writes "-" as a minus sign, which is as wide as a plus sign.
std::string with_minus_sign(const std::string& text) {
  return text.starts_with('-') ? "\u2212" + text.substr(1) : text;
}

std::string superscript(int number) {
  static const char* const kDigits[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                        "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
  std::string text = number < 0 ? "\u207b" : "";
  for (const char digit : std::to_string(std::abs(number)))
    text += kDigits[digit - '0'];
  return text;
}

/// Returns the label of digit * 10^exponent.
std::string scientific(int digit, int exponent) {
  return (digit == 1 ? "" : fmt::format("{}\u00b7", digit)) + "10" + superscript(exponent);
}

/// Returns the smallest round step (1, 2 or 5 times a power of ten) that is at least `least`.
double round_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - kSlack)) return factor * power;
  return 10 * power;
}

/// Returns the number of decimals that multiples of `step` need.
int decimals_of(double step) {
  return std::max(0, static_cast<int>(std::ceil(-std::log10(step) - kSlack)));
}

std::string tick_label(double value, double step, double largest) {
  if (value == 0) return "0";
  if (largest >= kLarge || largest < kSmall) {
    const int exponent = static_cast<int>(std::floor(std::log10(largest) + kSlack));
    const int decimals =
        std::max(0, exponent - static_cast<int>(std::floor(std::log10(step) + kSlack)));
    return with_minus_sign(fmt::format("{:.{}f}", value / std::pow(10.0, exponent), decimals)) +
           "\u00b710" + superscript(exponent);
  }
  return with_minus_sign(fmt::format("{:.{}f}", value, decimals_of(step)));
}

}  // namespace

Ticks linear_ticks(double low, double high, size_t wanted) {
  // Round steps are up to 2.5 times the wanted ones, so that this aims at a few ticks more.
  const double step = round_step((high - low) / static_cast<double>(wanted + 2));
  const double largest = std::max(std::abs(low), std::abs(high));
  Ticks ticks;
  const double first = std::ceil(low / step - kSlack), last = std::floor(high / step + kSlack);
  for (double i = first; i <= last; ++i) {
    const double value = i * step;
    ticks.values.push_back(value);
    ticks.labels.push_back(tick_label(value, step, largest));
  }
  return ticks;
}

Ticks log_ticks(double low, double high, size_t wanted) {
  const int first = static_cast<int>(std::floor(std::log10(low) + kSlack));
  const int last = static_cast<int>(std::floor(std::log10(high) + kSlack));
  const auto inside = [&](double value) {
    return value >= low * (1 - kSlack) && value <= high * (1 + kSlack);
  };
  const auto decades = static_cast<size_t>(last - first + 1);
  const bool plain = low >= kSmall * (1 - kSlack) && high <= kLarge;
  // From the densest to the sparsest: all digits, 1-2-5, 1-3, 1, then every second decade and so
  // on.
  const std::vector<int> choices[] = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 5}, {1, 3}, {1}};
  for (const std::vector<int>& digits : choices) {
    size_t stride = 1;
    if (digits.size() == 1) stride = std::max<size_t>(1, (decades + wanted - 1) / wanted);
    Ticks ticks;
    for (int exponent = first; exponent <= last; ++exponent) {
      const double power = std::pow(10.0, exponent);
      const bool labelled = static_cast<size_t>(exponent - first) % stride == 0;
      for (int digit = 1; digit <= 9; ++digit) {
        const double value = digit * power;
        if (!inside(value)) continue;
        if (!labelled || std::ranges::find(digits, digit) == digits.end()) {
          if (decades <= 8) ticks.minor.push_back(value);
          continue;
        }
        ticks.values.push_back(value);
        ticks.labels.push_back(plain ? fmt::format("{:.{}f}", value, std::max(0, -exponent))
                                     : scientific(digit, exponent));
      }
    }
    if (ticks.values.size() < 2) break;
    if (ticks.values.size() <= wanted + 1 || digits.size() == 1) return ticks;
  }
  return linear_ticks(low, high, wanted);
}

std::string number_text(double value, int digits) {
  if (std::isnan(value)) return "";
  if (std::isinf(value)) return value > 0 ? "\u221e" : "\u2212\u221e";
  const double size = std::abs(value);
  if (size != 0 && (size < kSmall || size >= 1e9))
    return with_minus_sign(fmt::format("{:.{}g}", value, digits));
  // "%g" switches to exponents for numbers with more digits before the point than wanted.
  const int before = size < 1 ? 1 : static_cast<int>(std::floor(std::log10(size))) + 1;
  if (before >= digits) return with_minus_sign(fmt::format("{:.0f}", value));
  return with_minus_sign(fmt::format("{:.{}g}", value, digits));
}

std::string fixed_text(double value, int decimals) {
  return std::isfinite(value) ? with_minus_sign(fmt::format("{:.{}f}", value, decimals)) : "";
}

std::string seconds_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e10) return "";
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const auto total = static_cast<long long>(std::llround(seconds));
  if (total < 3600) return fmt::format("{}m{:02}s", total / 60, total % 60);
  return fmt::format("{}h{:02}m", total / 3600, total % 3600 / 60);
}

std::string grouped_text(long long value) {
  std::string text = std::to_string(value);
  for (auto i = static_cast<long long>(text.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3)
    text.insert(static_cast<size_t>(i), ",");
  return text;
}

}  // namespace sculpt
