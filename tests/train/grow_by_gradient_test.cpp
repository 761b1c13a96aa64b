// A hook that drops weights by magnitude and grows others by gradient, as RigL does (Evci et al.
// 2020), through the interfaces of hooks and of the arena alone.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "tests/support/hooked_run.h"
#include "tests/support/shrink_and_grow.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

constexpr int64_t kEvery = 3;

/// After every third step, a third of each layer's kept weights is dropped, the smallest ones, and
/// as many of the other masked weights are kept, those with the largest gradients.
class GrowsByGradient : public Hook {
 public:
  std::string name() const override { return "grows-by-gradient"; }
  void before_step(HookContext& context) override {
    if ((context.state().steps + 1) % kEvery == 0)
      context.network().parameters().full_gradients().request();
  }
  void after_step(HookContext& context) override {
    if (context.state().steps % kEvery != 0) return;
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    const auto weights = arena.weights<float>();
    const auto gradients = arena.full_gradients().values<float>();
    const int64_t before = arena.kept_count();
    arena.edit_masks([&](std::span<uint8_t> masks) {
      for (const Parameter& p : arena.parameters())
        if (p.prunable) change(p, masks, weights, gradients);
    });
    CHECK(arena.kept_count() == before);
    ++changes;
  }

  int64_t changes = 0, grown = 0;

 private:
  void change(const Parameter& p, std::span<uint8_t> masks, std::span<const float> weights,
              std::span<const float> gradients) {
    std::vector<size_t> kept, masked;
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
      (masks[i] != 0 ? kept : masked).push_back(i);
    const size_t count = std::min(kept.size() / 3, masked.size());
    std::ranges::stable_sort(
        kept, [&](size_t a, size_t b) { return std::abs(weights[a]) < std::abs(weights[b]); });
    std::ranges::stable_sort(masked, [&](size_t a, size_t b) {
      return std::abs(gradients[a]) > std::abs(gradients[b]);
    });
    for (size_t i = 0; i < count; ++i) {
      masks[kept[i]] = 0;
      masks[masked[i]] = 1;
      grown += gradients[masked[i]] != 0;
    }
  }
};

}  // namespace

TEST_CASE(
    "grow by gradient: a hook sees gradients of masked weights, with the same bytes resumed") {
  const Plan plan = {PruneStep{"random", "uniform", 0.4}, Cycle{4}};
  TrainOptions options = TinyRun::tiny_options();
  options.checkpoint_every = 2;
  options.execution.sparse = "on";
  const auto session = [&](const std::filesystem::path& folder, int64_t stop_after, bool goes_on) {
    GrowsByGradient grower;
    Examiner examiner;
    TinyRun run = run_with(folder, plan, {&grower, &examiner}, options);
    if (stop_after > 0) run.stop_after_step(stop_after);
    const RunOutcome outcome = goes_on ? resume(run) : start(run);
    CHECK(outcome == (stop_after > 0 ? RunOutcome::interrupted : RunOutcome::finished));
    CHECK(examiner.not_zero == 0);
    if (stop_after == 0 && !goes_on) {
      CHECK(grower.changes == 4 * kStepsPerEpoch / kEvery);
      CHECK(grower.grown > 20);
    }
  };
  const TemporaryFolder whole;
  session(whole.path(), 0, false);
  for (const int64_t step : {2, 3, 4, 8, 9}) {
    CAPTURE(step);
    const TemporaryFolder folder;
    session(folder.path(), step, false);
    session(folder.path(), 0, true);
    CHECK((results_of(folder.path()) == results_of(whole.path())));
  }
}
