// How tables show results.

#include "apps/sculpt_study/value_text.h"

#include <cmath>
#include <doctest/doctest.h>

#include "apps/sculpt_study/check.h"
#include "engine/study/metrics.h"

using namespace sculpt;

TEST_CASE("value text: results have the units that people read") {
  CHECK(value_text(0.91234, "test_accuracy") == "91.23 %");
  CHECK(value_text(4.4644e12, "train_flops") == "4.46 T");
  CHECK(value_text(125, "seconds") == "2m05s");
  CHECK(value_text(NAN, "test_accuracy") == "");
  CHECK(sample_text({.n = 3, .mean = 2e9, .deviation = 3e6}, "train_flops") == "2.00 G ± 3.00 M");
  CHECK(sample_text({.n = 3, .mean = 0.5, .deviation = 0.01}, "test_accuracy") == "50.00 ± 1.00 %");
  CHECK(sample_text({.n = 1, .mean = 0.5, .deviation = NAN}, "test_accuracy") == "50.00 %");
  CHECK(sample_text({}, "test_accuracy") == "");
}

TEST_CASE("value text: fractions are shown in percent, as the axes of figures have them") {
  int fractions = 0;
  for (const Metric& metric : study_metrics()) {
    if (metric.label.find('%') == std::string_view::npos) continue;
    CAPTURE(metric.name);
    CHECK(value_text(0.25, std::string(metric.name)) == "25.00 %");
    ++fractions;
  }
  CHECK(fractions > 4);
}

TEST_CASE("check: a run takes time besides its steps, the more the more epochs it has") {
  CHECK(seconds_besides_steps(0.5, 0) > 0.55);
  CHECK(seconds_besides_steps(0, 100) - seconds_besides_steps(0, 50) > 0.5);
  CHECK(seconds_besides_steps(0, 1) < 1);
}
