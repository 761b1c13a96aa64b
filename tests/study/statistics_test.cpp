// Statistics agree with published tables and with simulations.

#include "engine/study/statistics.h"

#include <doctest/doctest.h>
#include <random>

#include "engine/core/error.h"

using namespace sculpt;

TEST_CASE("statistics: bounds of Student's t are those of the published tables") {
  // Two-sided bounds at 95 % and 99 % (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
  struct Row {
    int64_t degrees;
    double at_95, at_99;
  };
  for (const Row& row : {Row{1, 12.706, 63.657}, Row{2, 4.303, 9.925}, Row{3, 3.182, 5.841},
                         Row{4, 2.776, 4.604}, Row{9, 2.262, 3.250}, Row{29, 2.045, 2.756},
                         Row{100, 1.984, 2.626}, Row{1'000'000, 1.960, 2.576}}) {
    CAPTURE(row.degrees);
    CHECK(student_t_bound(0.95, row.degrees) == doctest::Approx(row.at_95).epsilon(0.0003));
    CHECK(student_t_bound(0.99, row.degrees) == doctest::Approx(row.at_99).epsilon(0.0003));
  }
  // One degree is Cauchy's distribution, and two degrees have a closed form.
  for (const double probability : {0.01, 0.3, 0.8, 0.999}) {
    CHECK(student_t_bound(probability, 1) ==
          doctest::Approx(std::tan(std::acos(-1.0) / 2 * probability)).epsilon(1e-10));
    CHECK(student_t_bound(probability, 2) ==
          doctest::Approx(probability * std::sqrt(2 / (1 - probability * probability)))
              .epsilon(1e-10));
  }
  CHECK_THROWS_AS(student_t_bound(0.95, 0), Error);
  CHECK_THROWS_AS(student_t_bound(1, 3), Error);
  CHECK_THROWS_AS(student_t_bound(NAN, 3), Error);
}

TEST_CASE("statistics: means and deviations leave out what is not a number") {
  const double values[] = {1, NAN, 2, 4, NAN};
  const Sample sample = describe(values);
  CHECK(sample.n == 3);
  CHECK(sample.mean == doctest::Approx(7.0 / 3).epsilon(1e-15));
  // Σ (x - mean)² = 16/9 + 1/9 + 25/9 = 42/9.
  CHECK(sample.deviation == doctest::Approx(std::sqrt(42.0 / 9 / 2)).epsilon(1e-15));
  CHECK(describe({}).n == 0);
  CHECK(std::isnan(describe({}).mean));
  CHECK(std::isnan(describe(std::span(values, 1)).deviation));
  // A large offset does not hide a small spread.
  const double far[] = {1e9 + 1, 1e9 + 2, 1e9 + 3};
  CHECK(describe(far).deviation == doctest::Approx(1).epsilon(1e-9));
}

TEST_CASE("statistics: 95 of 100 intervals hold the true difference") {
  std::mt19937_64 random(11);
  std::normal_distribution<double> noise(0.3, 2);
  for (const int64_t n : {2, 3, 7}) {
    CAPTURE(n);
    constexpr int kTrials = 20'000;
    int holds = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::vector<double> differences(static_cast<size_t>(n));
      for (double& difference : differences)
        difference = noise(random);
      const PairedDifference paired = paired_difference(differences);
      holds += paired.low <= 0.3 && 0.3 <= paired.high;
    }
    // Five standard deviations of the count are 5 · √(0.95 · 0.05 / 20,000) = 0.8 %.
    CHECK(std::fabs(holds / static_cast<double>(kTrials) - 0.95) < 0.008);
  }
  CHECK(std::isnan(paired_difference({1}).low));
  CHECK(paired_difference({1, 1, 1}).low == 1);
}
