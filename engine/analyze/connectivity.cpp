#include "engine/analyze/connectivity.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/phase.h"

namespace sculpt {

Line evaluate_line(Network& network, const StoredNetwork& a, const StoredNetwork& b, int64_t points,
                   const AnalysisImages& images) {
  SCULPT_CHECK(points >= 2, "a line of {} points", points);
  const bool has_statistics = !a.states.empty();
  Line line;
  Phase phase("points on the line between two networks", points);
  const auto measure = [&](double alpha) {
    return LinePoint{alpha, evaluate_train(network, images), evaluate_test(network, images)};
  };
  for (int64_t i = 0; i < points; ++i) {
    const double alpha = static_cast<double>(i) / static_cast<double>(points - 1);
    set_values(network, between(a, b, alpha));
    if (has_statistics) {
      line.interpolated.push_back(measure(alpha));
      recompute_statistics(network, images);
    }
    line.recomputed.push_back(measure(alpha));
    phase.advance();
  }
  return line;
}

double barrier(std::span<const double> values) {
  SCULPT_CHECK(values.size() >= 2, "a barrier of {} values", values.size());
  return *std::ranges::max_element(values) - (values.front() + values.back()) / 2;
}

Barriers barriers_of(std::span<const LinePoint> points) {
  std::vector<double> train_loss, train_error, test_loss, test_error;
  for (const LinePoint& point : points) {
    train_loss.push_back(point.train.loss);
    train_error.push_back(1 - point.train.accuracy);
    test_loss.push_back(point.test.loss);
    test_error.push_back(1 - point.test.accuracy);
  }
  return {barrier(train_loss), barrier(train_error), barrier(test_loss), barrier(test_error)};
}

}  // namespace sculpt
