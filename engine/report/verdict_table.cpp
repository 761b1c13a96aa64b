#include "engine/report/verdict_table.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/report/table_cells.h"

namespace sculpt {
namespace {

/// The way in which values of a metric are written.
struct Form {
  bool percent = false;

  std::string value(double number) const {
    if (std::isnan(number)) return "–";
    return percent ? fmt::format("{:.2f} %", 100 * number) : fmt::format("{:.4g}", number);
  }
  std::string difference(double number) const {
    if (std::isnan(number)) return "–";
    return percent ? fmt::format("{:+.2f}", 100 * number) : fmt::format("{:+.4g}", number);
  }
  std::string sample(const Sample& sample) const {
    if (std::isnan(sample.deviation)) return value(sample.mean);
    return percent ? fmt::format("{:.2f} ± {:.2f} %", 100 * sample.mean, 100 * sample.deviation)
                   : fmt::format("{:.4g} ± {:.2g}", sample.mean, sample.deviation);
  }
  std::string interval(const PairedDifference& paired) const {
    if (std::isnan(paired.low)) return "–";
    return fmt::format("{} … {}", difference(paired.low), difference(paired.high));
  }
};

Form form_of(const ClaimResult& claim) {
  return {.percent = claim.claim.metric.find("accuracy") != std::string::npos};
}

/// Returns the values that a comparison is about: "prune.sparsity 0.9".
std::string place_text(const ClaimComparison& comparison) {
  std::string text;
  for (const auto& [key, value] : comparison.at)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value);
  return text;
}

std::vector<TableCell> row_of(const std::string& id, const std::string& what,
                              const std::string& metric, const ClaimComparison& comparison,
                              const Form& form) {
  const auto of_sample = [&](const Sample& sample) {
    return TableCell(form.sample(sample), std::vector<double>{sample.mean, sample.deviation});
  };
  const PairedDifference& difference = comparison.difference;
  return {id,
          {what, std::vector<std::string>{what, metric}},
          static_cast<int64_t>(difference.sample.n),
          of_sample(comparison.better),
          of_sample(comparison.than),
          {form.difference(difference.sample.mean), difference.sample.mean},
          {form.interval(difference), std::vector<double>{difference.low, difference.high}},
          name_of(comparison.verdict)};
}

}  // namespace

Table verdict_table(const std::vector<ClaimResult>& claims) {
  Table table;
  table.name = "verdicts";
  table.title = "Verdicts";
  table.caption =
      "A claim says that the first side is better than the second one. Runs are paired by seed. "
      "The interval is the 95 % confidence interval of the mean paired difference, with Student's "
      "t. A claim is supported if the interval excludes 0 in the claimed direction, not supported "
      "if it excludes 0 in the other direction, and otherwise inconclusive. The row of a claim "
      "averages over the rows below it before it compares. Differences of accuracies are in "
      "percentage points.";
  set_columns(table, {{"claim"},
                      {"what", {"what", "metric"}},
                      {"seeds"},
                      {"first side", {"first side", "first side, standard deviation"}},
                      {"second side", {"second side", "second side, standard deviation"}},
                      {"difference"},
                      {"95 % interval", {"interval from", "interval to"}},
                      {"verdict"}});
  for (const ClaimResult& claim : claims) {
    const Form form = form_of(claim);
    const std::string& id = claim.claim.id;
    if (!claim.problem.empty()) {
      const TableCell none("–", NAN), two_nones("–", std::vector<double>{NAN, NAN});
      add_row(table,
              {id,
               {claim.claim.text, std::vector<std::string>{claim.claim.text, claim.claim.metric}},
               "0",
               two_nones,
               two_nones,
               none,
               two_nones,
               "cannot be judged: " + claim.problem});
      continue;
    }
    add_row(table, row_of(id, claim.claim.text, claim.claim.metric, claim.overall, form));
    if (claim.comparisons.size() < 2) continue;
    for (const ClaimComparison& comparison : claim.comparisons)
      add_row(table, row_of("", place_text(comparison), claim.claim.metric, comparison, form));
  }
  return table;
}

std::string verdict_sentence(const ClaimResult& claim) {
  const std::string& id = claim.claim.id;
  if (!claim.problem.empty())
    return fmt::format("Claim {} cannot be judged: {}.", id, claim.problem);
  const Form form = form_of(claim);
  const PairedDifference& difference = claim.overall.difference;
  if (claim.verdict() == ClaimVerdict::not_enough)
    return fmt::format(
        "Claim {} has no verdict yet, because {} finished pair{} of runs {} not enough; a verdict "
        "needs at least two seeds.",
        id, difference.sample.n, difference.sample.n == 1 ? "" : "s",
        difference.sample.n == 1 ? "is" : "are");
  return fmt::format(
      "Claim {} is {}: the mean difference of {} is {}{}, with a 95 % interval from {} to {} over "
      "{} "
      "seeds.",
      id, name_of(claim.verdict()), claim.claim.metric, form.difference(difference.sample.mean),
      form.percent ? " percentage points" : "", form.difference(difference.low),
      form.difference(difference.high), difference.sample.n);
}

}  // namespace sculpt
