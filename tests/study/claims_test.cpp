// Verdicts about claims agree with plain loops over random results.

#include "engine/study/claims.h"

#include <doctest/doctest.h>
#include <map>
#include <random>

using namespace sculpt;

namespace {

using Values = std::map<std::string, std::vector<std::string>>;

Selection selection(Values values) {
  return {.values = std::move(values), .source = "test.toml:1"};
}

/// Adds a run to the results. An accuracy that is not a number stands for an unfinished run.
void add_run(StudyResults& results, const std::string& variant, const std::string& sparsity,
             int seed, double accuracy) {
  StudyRunResult result;
  result.run.number = static_cast<int64_t>(results.runs.size()) + 1;
  result.run.variant = variant;
  result.run.axes = {
      {kVariantKey, variant}, {"prune.sparsity", sparsity}, {"seed", std::to_string(seed)}};
  if (!std::isnan(accuracy)) {
    result.status = StudyRunStatus::finished;
    result.records.status = RunStatus::finished;
    result.records.summary["test_accuracy"] = accuracy;
    result.records.summary["train_loss"] = -accuracy;
    result.records.summary["train_flops"] = accuracy;
  }
  results.runs.push_back(std::move(result));
}

StudyClaim cyclic_beats_pai() {
  StudyClaim claim;
  claim.id = "C1";
  claim.better = selection({{kVariantKey, {"cyclic"}}});
  claim.than = selection({{kVariantKey, {"pai"}}});
  claim.over = {"prune.sparsity"};
  return claim;
}

}  // namespace

TEST_CASE("claims: differences are paired by seed and averaged over the other keys") {
  std::mt19937 random(4);
  std::normal_distribution<double> noise(0, 0.01);
  const std::vector<std::string> sparsities = {"0.9", "0.95", "0.98"};
  StudyResults results;
  std::map<std::string, std::map<std::string, std::map<int, double>>> accuracy;
  for (const char* variant : {"pai", "cyclic", "lrr"})
    for (const std::string& sparsity : sparsities)
      for (int seed = 1; seed <= 5; ++seed) {
        const double value = 0.6 + (std::string(variant) == "cyclic" ? 0.02 : 0) + noise(random);
        accuracy[variant][sparsity][seed] = value;
        add_run(results, variant, sparsity, seed, value);
      }
  const ClaimResult judged = judge(cyclic_beats_pai(), results);
  CHECK(judged.problem.empty());
  CHECK(judged.higher_is_better);
  CHECK(judged.missing == 0);
  REQUIRE(judged.comparisons.size() == 3);
  std::vector<double> mean_differences(5);
  for (size_t i = 0; i < sparsities.size(); ++i) {
    const ClaimComparison& comparison = judged.comparisons[i];
    CHECK(comparison.at.at("prune.sparsity") == sparsities[i]);
    CHECK(comparison.difference.sample.n == 5);
    double sum = 0, squares = 0;
    for (int seed = 1; seed <= 5; ++seed) {
      const double difference =
          accuracy["cyclic"][sparsities[i]][seed] - accuracy["pai"][sparsities[i]][seed];
      sum += difference;
      squares += difference * difference;
      mean_differences[static_cast<size_t>(seed - 1)] += difference / 3;
    }
    const double deviation = std::sqrt((squares - sum * sum / 5) / 4);
    CHECK(comparison.difference.sample.mean == doctest::Approx(sum / 5).epsilon(1e-12));
    CHECK(comparison.difference.high - comparison.difference.low ==
          doctest::Approx(2 * 2.776445 * deviation / std::sqrt(5.0)).epsilon(1e-5));
  }
  REQUIRE(judged.overall.difference.differences.size() == 5);
  for (size_t i = 0; i < 5; ++i)
    CHECK(judged.overall.difference.differences[i] ==
          doctest::Approx(mean_differences[i]).epsilon(1e-12));
  CHECK(judged.verdict() == ClaimVerdict::supported);
}

TEST_CASE("claims: verdicts follow the interval and the direction of the metric") {
  const auto verdict = [](const std::vector<double>& better, const std::vector<double>& than,
                          const std::string& metric = "test_accuracy",
                          const std::string& direction = "") {
    StudyResults results;
    for (size_t i = 0; i < better.size(); ++i) {
      add_run(results, "cyclic", "0.9", static_cast<int>(i), better[i]);
      add_run(results, "pai", "0.9", static_cast<int>(i), than[i]);
    }
    StudyClaim claim = cyclic_beats_pai();
    claim.metric = metric;
    claim.direction = direction;
    return judge(claim, results).verdict();
  };
  CHECK(verdict({0.61, 0.62, 0.63}, {0.51, 0.53, 0.52}) == ClaimVerdict::supported);
  CHECK(verdict({0.51, 0.53, 0.52}, {0.61, 0.62, 0.63}) == ClaimVerdict::not_supported);
  CHECK(verdict({0.51, 0.63, 0.52}, {0.61, 0.52, 0.53}) == ClaimVerdict::inconclusive);
  // The losses of these results are the accuracies with the other sign.
  CHECK(verdict({0.61, 0.62, 0.63}, {0.51, 0.53, 0.52}, "train_loss") == ClaimVerdict::supported);
  CHECK(verdict({0.61, 0.62, 0.63}, {0.51, 0.53, 0.52}, "train_loss", "higher") ==
        ClaimVerdict::not_supported);
  CHECK(verdict({0.61}, {0.51}) == ClaimVerdict::not_enough);
  CHECK(verdict({0.61, NAN}, {0.51, 0.53}) == ClaimVerdict::not_enough);
  CHECK(verdict({0.5, 0.5}, {0.5, 0.5}) == ClaimVerdict::inconclusive);
  // Measured values differ from seed to seed, and counts need not.
  CHECK(verdict({0.5, 0.5}, {0.4, 0.4}) == ClaimVerdict::inconclusive);
  CHECK(verdict({0.5, 0.5}, {0.4, 0.4}, "train_flops", "higher") == ClaimVerdict::supported);
  CHECK(verdict({0.5, 0.6}, {0.4, 0.5}, "no_such_metric") == ClaimVerdict::not_enough);
}

TEST_CASE("claims: a seed counts overall if it has all its pairs") {
  StudyResults results;
  for (const char* sparsity : {"0.9", "0.95"})
    for (int seed = 1; seed <= 3; ++seed) {
      const bool lost = std::string(sparsity) == "0.95" && seed == 2;
      add_run(results, "cyclic", sparsity, seed, lost ? NAN : 0.6);
      add_run(results, "pai", sparsity, seed, 0.5 + 0.01 * seed);
    }
  add_run(results, "pai", "0.99", 1, 0.4);  // the other side has no run there
  const ClaimResult judged = judge(cyclic_beats_pai(), results);
  CHECK(judged.problem.empty());
  CHECK(judged.missing == 1);
  REQUIRE(judged.comparisons.size() == 2);
  CHECK(judged.comparisons[0].difference.sample.n == 3);
  CHECK(judged.comparisons[1].difference.sample.n == 2);
  CHECK(judged.overall.difference.sample.n == 2);
  CHECK(judged.overall.difference.sample.mean == doctest::Approx(0.08));
}

TEST_CASE("claims: an ambiguous claim and a side without runs are named") {
  StudyResults results;
  for (const char* sparsity : {"0.9", "0.95"}) {
    add_run(results, "cyclic", sparsity, 1, 0.6);
    add_run(results, "pai", sparsity, 1, 0.5);
  }
  StudyClaim claim = cyclic_beats_pai();
  claim.over.clear();
  ClaimResult judged = judge(claim, results);
  CHECK(judged.problem.find("the runs 1 and 3 both belong to the side `better` at seed 1") !=
        std::string::npos);
  CHECK(judged.verdict() == ClaimVerdict::not_enough);

  claim.where = selection({{"prune.sparsity", {"0.950"}}});  // numbers compare as numbers
  judged = judge(claim, results);
  CHECK(judged.problem.empty());
  CHECK(judged.overall.better.n == 1);

  claim.than = selection({{kVariantKey, {"imp"}}});
  CHECK(judge(claim, results).problem.find("`than`") != std::string::npos);
}
