#include "engine/study/claims.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "engine/core/error.h"
#include "engine/study/metrics.h"

namespace sculpt {
namespace {

constexpr const char* kSeed = "seed";

/// The values of one run for the keys over which the claim pairs runs.
using Place = std::vector<std::string>;

/// Both runs of a pair; null where the study has no such run.
struct Pair {
  std::array<const StudyRunResult*, 2> runs{};
};

/// The pairs of one combination of values, by seed.
struct Cell {
  Place place;
  std::map<std::string, Pair> by_seed;
};

/// Returns the place as people write it: "prune.sparsity 0.9, seed 1".
std::string describe_place(const std::vector<std::string>& keys, const Place& place,
                           const std::string& seed) {
  std::string text;
  for (size_t i = 0; i < keys.size(); ++i)
    text += fmt::format("{} {}, ", keys[i], place[i]);
  return text + fmt::format("{} {}", kSeed, seed);
}

/// Sorts the runs of a study into the pairs of a claim.
class Pairing {
 public:
  Pairing(const StudyClaim& claim, const StudyResults& results) : claim_(claim) {
    const std::array<const Selection*, 2> sides = {&claim.better, &claim.than};
    std::array<int64_t, 2> found{};
    for (const StudyRunResult& result : results.runs) {
      if (!matches(claim.where, result)) continue;
      for (size_t side = 0; side < sides.size(); ++side) {
        if (!matches(*sides[side], result)) continue;
        ++found[side];
        add(result, side);
      }
    }
    for (size_t side = 0; side < sides.size(); ++side)
      if (found[side] == 0 && problem.empty())
        problem = fmt::format("no run of the study belongs to the side `{}` of the claim; see {}",
                              side == 0 ? "better" : "than", sides[side]->source);
    remove_one_sided_cells();
  }

  std::vector<Cell> cells;
  std::string problem;

 private:
  void add(const StudyRunResult& result, size_t side) {
    Place place;
    for (const std::string& key : claim_.over)
      place.push_back(value_of(result, key));
    auto cell = std::find_if(cells.begin(), cells.end(),
                             [&](const Cell& other) { return other.place == place; });
    if (cell == cells.end()) cell = cells.insert(cells.end(), Cell{place, {}});
    const std::string seed = value_of(result, kSeed);
    const StudyRunResult*& run = cell->by_seed[seed].runs[side];
    if (run && problem.empty())
      problem = fmt::format(
          "the runs {} and {} both belong to the side `{}` at {}; add the key in which they differ "
          "to `over` or `where`",
          run->run.number, result.run.number, side == 0 ? "better" : "than",
          describe_place(claim_.over, place, seed));
    run = &result;
  }

  /// A method may have been run at more densities than the other one.
  void remove_one_sided_cells() {
    std::erase_if(cells, [](const Cell& cell) {
      std::array<bool, 2> has{};
      for (const auto& [seed, pair] : cell.by_seed)
        for (size_t side = 0; side < has.size(); ++side)
          has[side] = has[side] || pair.runs[side];
      return !has[0] || !has[1];
    });
  }

  const StudyClaim& claim_;
};

/// Returns the values of both runs of a pair; nothing if one of them is not known.
std::optional<std::array<double, 2>> values_of(const Pair& pair, const std::string& metric) {
  std::array<double, 2> values{};
  for (size_t side = 0; side < values.size(); ++side) {
    const StudyRunResult* const run = pair.runs[side];
    if (!run || !run->finished()) return std::nullopt;
    values[side] = number_of(*run, metric);
    if (std::isnan(values[side])) return std::nullopt;
  }
  return values;
}

/// Equal differences of measured values are a coincidence of few seeds, and say nothing about the
/// spread. Equal differences of counts, such as FLOPs, are exact.
ClaimVerdict verdict_of(const PairedDifference& difference, const std::string& metric,
                        bool higher) {
  if (difference.sample.n < 2) return ClaimVerdict::not_enough;
  if (difference.sample.deviation == 0 && !metric_of(metric).counted)
    return ClaimVerdict::inconclusive;
  if (difference.low > 0) return higher ? ClaimVerdict::supported : ClaimVerdict::not_supported;
  if (difference.high < 0) return higher ? ClaimVerdict::not_supported : ClaimVerdict::supported;
  return ClaimVerdict::inconclusive;
}

ClaimComparison compare(const std::vector<std::array<double, 2>>& pairs, const std::string& metric,
                        bool higher) {
  std::array<std::vector<double>, 2> sides;
  std::vector<double> differences;
  for (const auto& pair : pairs) {
    for (size_t side = 0; side < sides.size(); ++side)
      sides[side].push_back(pair[side]);
    differences.push_back(pair[0] - pair[1]);
  }
  ClaimComparison comparison;
  comparison.better = describe(sides[0]);
  comparison.than = describe(sides[1]);
  comparison.difference = paired_difference(std::move(differences));
  comparison.verdict = verdict_of(comparison.difference, metric, higher);
  return comparison;
}

}  // namespace

const char* name_of(ClaimVerdict verdict) {
  switch (verdict) {
    case ClaimVerdict::supported:
      return "supported";
    case ClaimVerdict::not_supported:
      return "not supported";
    case ClaimVerdict::inconclusive:
      return "inconclusive";
    case ClaimVerdict::not_enough:
      return "not enough runs";
  }
  return "";
}

ClaimResult judge(const StudyClaim& claim, const StudyResults& results) {
  ClaimResult result;
  result.claim = claim;
  result.higher_is_better = claim.direction.empty()
                                ? metric_of(claim.metric).better == Better::higher
                                : claim.direction == "higher";
  const Pairing pairing(claim, results);
  result.problem = pairing.problem;
  if (!result.problem.empty()) return result;

  // For each seed, the sums of both sides over the combinations that have a pair for the seed.
  struct Total {
    std::array<double, 2> sum{};
    size_t cells = 0;
  };
  std::map<std::string, Total> totals;
  for (const Cell& cell : pairing.cells) {
    std::vector<std::array<double, 2>> pairs;
    for (const auto& [seed, pair] : cell.by_seed) {
      const auto values = values_of(pair, claim.metric);
      if (!values) {
        ++result.missing;
        continue;
      }
      pairs.push_back(*values);
      Total& total = totals[seed];
      for (size_t side = 0; side < 2; ++side)
        total.sum[side] += (*values)[side];
      ++total.cells;
    }
    ClaimComparison comparison = compare(pairs, claim.metric, result.higher_is_better);
    for (size_t i = 0; i < claim.over.size(); ++i)
      comparison.at[claim.over[i]] = cell.place[i];
    result.comparisons.push_back(std::move(comparison));
  }
  std::vector<std::array<double, 2>> means;
  for (const auto& [seed, total] : totals) {
    if (total.cells != pairing.cells.size()) continue;
    const double count = static_cast<double>(total.cells);
    means.push_back({total.sum[0] / count, total.sum[1] / count});
  }
  result.overall = compare(means, claim.metric, result.higher_is_better);
  return result;
}

std::vector<ClaimResult> judge_claims(const StudyResults& results) {
  std::vector<ClaimResult> judged;
  for (const StudyClaim& claim : results.study.claims)
    judged.push_back(judge(claim, results));
  return judged;
}

}  // namespace sculpt
