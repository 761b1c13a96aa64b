#include "engine/train/hooks/hook.h"

#include "engine/train/training_run.h"

namespace sculpt {

Network& HookContext::network() {
  return run_.parts.network;
}

Optimizer& HookContext::optimizer() {
  return *run_.optimizer;
}

const RunState& HookContext::state() const {
  return run_.state;
}

const StepInfo& HookContext::step() const {
  return run_.step;
}

const Plan& HookContext::plan() const {
  return run_.settings.plan;
}

const Cycle& HookContext::cycle() const {
  return run_.cycle();
}

int64_t HookContext::steps_per_epoch() const {
  return run_.parts.train.steps_per_epoch();
}

ScoreContext HookContext::score_context() const {
  return run_.score_context();
}

void HookContext::stop() {
  run_.stop_requested = true;
}

}  // namespace sculpt
