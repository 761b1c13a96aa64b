// Verdicts are shown with the numbers that they rest on.

#include "engine/report/verdict_table.h"

#include <doctest/doctest.h>

using namespace sculpt;

namespace {

ClaimResult result_of(const std::string& metric, std::vector<double> differences) {
  ClaimResult result;
  result.claim.id = "C1";
  result.claim.text = "One is better.";
  result.claim.metric = metric;
  result.overall.better = {3, 0.625, 0.01};
  result.overall.than = {3, 0.6, 0.02};
  result.overall.difference = paired_difference(std::move(differences));
  result.overall.verdict = ClaimVerdict::supported;
  return result;
}

}  // namespace

TEST_CASE("verdict table: accuracies are in percent, their differences in percentage points") {
  // The interval is 0.02 ± 4.302653 · 0.01 / √3.
  ClaimResult claim = result_of("test_accuracy", {0.01, 0.02, 0.03});
  ClaimComparison at = claim.overall;
  at.at = {{"prune.sparsity", "0.9"}};
  claim.comparisons = {at, at};
  const Table table = verdict_table({claim});
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0] == std::vector<std::string>{"C1", "One is better.", "3", "62.50 ± 1.00 %",
                                                  "60.00 ± 2.00 %", "+2.00", "-0.48 … +4.48",
                                                  "supported"});
  CHECK(table.rows[1][1] == "prune.sparsity 0.9");
  // A CSV file has the values as they were measured, and says of which metric.
  CHECK(table.csv_columns.size() == 12);
  CHECK(table.csv_rows[0][2] == "test_accuracy");
  CHECK(table.csv_rows[0][4] == "0.625");
  CHECK(table.csv_rows[0][5] == "0.01");
  CHECK(std::stod(table.csv_rows[0][9]) == claim.overall.difference.low);
  for (const auto& row : table.rows)
    CHECK(row.size() == table.columns.size());
  CHECK(verdict_sentence(claim) ==
        "Claim C1 is supported: the mean difference of test_accuracy is +2.00 percentage points, "
        "with a 95 % interval from -0.48 to +4.48 over 3 seeds.");
}

TEST_CASE("verdict table: other metrics keep their units, and what is missing is said") {
  ClaimResult claim = result_of("train_flops", {-2e12, -4e12});
  CHECK(verdict_table({claim}).rows[0][5] == "-3e+12");
  claim = result_of("train_loss", {0.5});
  claim.overall.verdict = ClaimVerdict::not_enough;
  CHECK(verdict_table({claim}).rows[0][6] == "–");
  CHECK(verdict_sentence(claim) ==
        "Claim C1 has no verdict yet, because 1 finished pair of runs is not enough; a verdict "
        "needs at least two seeds.");
  claim.problem = "two runs belong to one pair";
  CHECK(verdict_table({claim}).rows[0][7] == "cannot be judged: two runs belong to one pair");
  CHECK(verdict_sentence(claim) == "Claim C1 cannot be judged: two runs belong to one pair.");
}
