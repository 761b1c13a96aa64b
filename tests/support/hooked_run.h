#pragma once
// Runs of a tiny network with hooks.

#include <doctest/doctest.h>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/hooks/hook.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

namespace sculpt::testing {

inline constexpr int64_t kStepsPerEpoch = 3, kImages = 22, kBatch = 8;

inline bool on_device() {
  return test::tested_backends().front()->memory != nullptr;
}

inline TinyRun run_with(const std::filesystem::path& folder, const Plan& plan,
                        std::vector<Hook*> hooks,
                        const TrainOptions& options = TinyRun::tiny_options(),
                        const OptimizerMaker& optimizer = make_optimizer) {
  return TinyRun(folder, plan, options, kImages, TinyRun::tiny_pruning(), TinyRun::kHash, {},
                 optimizer, std::move(hooks));
}

inline RunOutcome start(TinyRun& run) {
  run.trainer().start();
  return run.trainer().run();
}

inline RunOutcome resume(TinyRun& run) {
  std::vector<std::string> warnings;
  run.trainer().resume(warnings);
  CHECK(warnings.empty());
  return run.trainer().run();
}

}  // namespace sculpt::testing
