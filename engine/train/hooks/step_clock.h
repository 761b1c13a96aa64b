#pragma once
// This hook measures how long steps take.

#include <chrono>

#include "engine/train/training_run.h"

namespace sculpt {

class StepClock : public Hook {
 public:
  explicit StepClock(TrainingRun& run) : run_(run) {}

  std::string name() const override { return "step-clock"; }
  void before_step(HookContext&) override { start_ = std::chrono::steady_clock::now(); }
  void after_step(HookContext&) override {
    run_.step.seconds = elapsed_seconds(start_);
    run_.state.sums.seconds += run_.step.seconds;
    run_.state.train_seconds += run_.step.seconds;
  }

 private:
  TrainingRun& run_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sculpt
