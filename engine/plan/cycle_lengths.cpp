#include "engine/plan/cycle_lengths.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/core/error.h"
#include "engine/core/registry.h"
#include "engine/plan/cycle_options.h"

namespace sculpt {

namespace {

double rising(int64_t cycle, int64_t cycles) {
  return cycles == 1 ? 1.0
                     : std::pow(8.0, static_cast<double>(cycle) / static_cast<double>(cycles - 1));
}

constexpr auto kSpreads = std::to_array<EpochSpread>({
    {"constant", [](int64_t, int64_t) { return 1.0; }, "all cycles alike"},
    {"linear_increase", [](int64_t k, int64_t) { return static_cast<double>(k + 1); },
     "cycle k gets k shares"},
    {"linear_decrease", [](int64_t k, int64_t n) { return static_cast<double>(n - k); },
     "linear_increase backwards"},
    {"exponential_increase", rising, "the last cycle is 8 times the first"},
    {"exponential_decrease", [](int64_t k, int64_t n) { return rising(n - 1 - k, n); },
     "exponential_increase backwards"},
    {"peak", [](int64_t k, int64_t n) { return static_cast<double>(std::min(k + 1, n - k)); },
     "longest in the middle"},
    {"alternating", [](int64_t k, int64_t) { return k % 2 == 0 ? 1.0 : 2.0; },
     "short and long, 1 : 2"},
    {"plateau",
     [](int64_t k, int64_t n) { return static_cast<double>(std::min(k + 1, (n + 1) / 2)); },
     "grows for half of the cycles, then constant"},
});

/// Returns real-valued quotas in proportion to `shares`. They sum to `total`, and none is below 1.
std::vector<double> quotas_at_least_one(const std::vector<double>& shares, int64_t total) {
  const size_t n = shares.size();
  std::vector<double> quota(n, 1.0);
  std::vector<bool> fixed(n, false);
  for (bool changed = true; changed;) {
    changed = false;
    double rest = static_cast<double>(total), sum = 0;
    for (size_t k = 0; k < n; ++k)
      fixed[k] ? rest -= 1 : sum += shares[k];
    for (size_t k = 0; k < n; ++k)
      if (!fixed[k]) quota[k] = rest * shares[k] / sum;
    for (size_t k = 0; k < n; ++k)
      if (!fixed[k] && quota[k] < 1) {
        quota[k] = 1;
        fixed[k] = changed = true;
      }
  }
  return quota;
}

}  // namespace

std::span<const EpochSpread> epoch_spreads() {
  return kSpreads;
}

std::vector<std::string> epoch_spread_names() {
  return names_of(kSpreads);
}

std::vector<int64_t> spread_epochs(std::string_view name, int64_t total, int64_t cycles) {
  const EpochSpread& spread = find_row(kSpreads, name, "way to share epochs (cycles.spread)");
  SCULPT_CHECK(cycles >= 1, "{} cycles", cycles);
  if (total < cycles)
    fail(
        "a budget of {} epoch{} is too small for {} cycles of at least 1 epoch; raise "
        "cycles.total_epochs or lower cycles.count; imp, wr and lrr have fewer cycles with a "
        "higher "
        "prune.rate",
        total, total == 1 ? "" : "s", cycles);
  std::vector<double> shares;
  for (int64_t k = 0; k < cycles; ++k)
    shares.push_back(spread.share(k, cycles));

  const std::vector<double> quota = quotas_at_least_one(shares, total);
  std::vector<int64_t> epochs;
  // The slack makes a quota like 2.9999999999 count as 3, so that its remainder does not win an
  // extra epoch.
  for (const double q : quota)
    epochs.push_back(static_cast<int64_t>(std::floor(q + 1e-9)));
  const int64_t rest = total - std::accumulate(epochs.begin(), epochs.end(), int64_t{0});
  SCULPT_CHECK(rest >= 0 && rest <= cycles, "{} epochs left over for {} cycles", rest, cycles);

  std::vector<size_t> order(epochs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(),
                           [&](size_t k) { return quota[k] - static_cast<double>(epochs[k]); });
  for (int64_t i = 0; i < rest; ++i)
    ++epochs[order[static_cast<size_t>(i)]];
  return epochs;
}

}  // namespace sculpt
