#pragma once
// Runs of a tiny network with hooks, and what such runs leave behind.

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/files.h"
#include "engine/train/hooks/hook.h"
#include "tests/support/tiny_run.h"

namespace sculpt::testing {

inline constexpr int64_t kStepsPerEpoch = 3, kImages = 22, kBatch = 8;

inline bool on_device() {
  return test::tested_backends().front()->memory != nullptr;
}

inline std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// What a run leaves behind, without what depends on the clock and on the machine's memory.
inline std::string results_of(const std::filesystem::path& folder) {
  const RunFolder files(folder);
  std::vector<nlohmann::json> lines = lines_of(files.metrics());
  lines.push_back(nlohmann::json::parse(read_text(files.summary())));
  std::string text = read_text(files.final_checkpoint());
  for (nlohmann::json& line : lines) {
    for (const char* key : {"seconds", "seconds_dense", "seconds_measuring_dense", "train_seconds",
                            "train_seconds_dense", "images_per_second", "peak_memory_bytes",
                            "peak_device_memory_bytes"})
      line.erase(key);
    text += line.dump() + "\n";
  }
  return text;
}

inline nlohmann::json summary_of(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read_text(RunFolder(folder).summary()));
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
