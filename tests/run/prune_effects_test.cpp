// Effects of prunes, from records that are written by hand.

#include "engine/run/prune_effects.h"

#include <cmath>
#include <doctest/doctest.h>

using namespace sculpt;

namespace {

EpochMetrics line(int64_t cycle, int64_t epoch, double loss, double accuracy) {
  EpochMetrics metrics;
  metrics.cycle = cycle;
  metrics.epoch = epoch;
  metrics.test_loss = loss;
  metrics.test_accuracy = accuracy;
  return metrics;
}

PruneRecord prune_at(int64_t step, int64_t epoch, int64_t kept, double loss, double accuracy) {
  PruneRecord prune;
  prune.plan_step = step;
  prune.epoch = epoch;
  prune.prunable = 100;
  prune.kept = kept;
  prune.test_loss = loss;
  prune.test_accuracy = accuracy;
  return prune;
}

}  // namespace

TEST_CASE("prune effects: before, right after, and after the cycle that follows") {
  RunRecords run;
  run.epochs = {line(1, 1, 3, 0.3), line(1, 2, 2, 0.5), line(2, 3, 2.5, 0.4), line(2, 4, 1, 0.8)};
  run.prunes = {prune_at(0, 0, 80, 9, 0.1), prune_at(2, 2, 50, 4, 0.2), prune_at(3, 2, 20, 5, 0.15),
                prune_at(5, 4, 10, 6, 0.12)};
  const auto effects = prune_effects(run);
  REQUIRE(effects.size() == 4);
  CHECK(std::isnan(effects[0].loss_before));  // nothing was trained before
  CHECK(effects[0].kept_before == 100);
  CHECK(effects[0].kept_after == 80);
  CHECK(effects[0].accuracy_after == 0.1);
  CHECK(effects[0].accuracy_later == 0.5);  // the end of cycle 1
  CHECK(effects[1].accuracy_before == 0.5);
  CHECK(effects[1].loss_before == 2);
  CHECK(effects[1].kept_before == 80);
  CHECK(effects[1].accuracy_later == 0.8);
  CHECK(effects[2].accuracy_before == 0.2);  // what the prune before it left
  CHECK(effects[2].accuracy_later == 0.8);
  CHECK(effects[3].accuracy_before == 0.8);
  CHECK(std::isnan(effects[3].accuracy_later));  // nothing was trained after
}
