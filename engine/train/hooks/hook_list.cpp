#include "engine/train/hooks/hook_list.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <ranges>
#include <set>
#include <string>
#include <utility>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/sparse/kept_weights.h"
#include "engine/train/training_run.h"

namespace sculpt {
namespace {

bool can_be_a_name(const std::string& name) {
  return !name.empty() && name.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789-_") == std::string::npos;
}

void require_masks_of_prunable_only(const ParameterArena& arena, const Hook& hook) {
  for (size_t id = 0; id < arena.parameters().size(); ++id) {
    const Parameter& p = arena.parameters()[id];
    if (!p.prunable && arena.kept_count(static_cast<ParameterId>(id)) != p.count)
      fail("hook '{}' has masked elements of '{}', which cannot be pruned", hook.name(), p.name);
  }
}

}  // namespace

HookList::HookList(TrainingRun& run)
    : run_(run),
      context_(run),
      profiler_(run),
      loss_watch_(run),
      clock_(run),
      dense_timing_(run),
      hooks_{&profiler_, &loss_watch_, &clock_, &dense_timing_} {
  hooks_.insert(hooks_.end(), run.parts.hooks.begin(), run.parts.hooks.end());
  std::set<std::string> names;
  for (const Hook* hook : hooks_) {
    if (!can_be_a_name(hook->name()))
      fail("a hook is called '{}': names have letters, digits, '-' and '_' only", hook->name());
    if (!names.insert(hook->name()).second) fail("two hooks are called '{}'", hook->name());
  }
}

void HookList::before_plan_step() {
  for (Hook* hook : std::views::reverse(hooks_)) {
    hook->before_plan_step(run_.plan_step(), context_);
    require_no_change(*hook, "before_plan_step");
  }
}

void HookList::before_epoch() {
  for (Hook* hook : std::views::reverse(hooks_)) {
    hook->before_epoch(context_);
    follow_change(*hook);
  }
}

void HookList::before_step() {
  for (Hook* hook : std::views::reverse(hooks_)) {
    hook->before_step(context_);
    follow_change(*hook);
  }
}

void HookList::after_step() {
  for (Hook* hook : hooks_) {
    hook->after_step(context_);
    follow_change(*hook);
  }
}

void HookList::after_epoch() {
  for (Hook* hook : hooks_) {
    hook->after_epoch(context_);
    follow_change(*hook);
  }
}

void HookList::at_end() {
  for (Hook* hook : hooks_) {
    hook->at_end(context_);
    require_no_change(*hook, "at_end");
  }
}

void HookList::follow_prune() {
  follow_masks();
  run_.parts.network.graph().follow_masks();
}

void HookList::follow_masks() {
  const int64_t kept_before = run_.kept;
  run_.count_masks();
  if (run_.kept != kept_before) run_.state.density_changes();
  for (Hook* hook : hooks_) {
    hook->masks_changed(context_);
    require_no_change(*hook, "masks_changed");
  }
}

void HookList::follow_change(const Hook& hook) {
  if (!std::exchange(context_.masks_changed_, false)) return;
  require_masks_of_prunable_only(run_.parameters(), hook);
  KeptWeights(run_.parameters()).apply();
  follow_masks();
  // A run that ends now needs no kernels. A resumed run chooses them.
  if (run_.step.stopping || run_.stop_requested) return;
  try {
    run_.parts.network.graph().follow_masks();
  } catch (const Interrupted&) {
    run_.stop_requested = true;
  }
}

void HookList::require_no_change(const Hook& hook, const char* function) {
  SCULPT_CHECK(!std::exchange(context_.masks_changed_, false),
               "hook '{}' changed masks in {}, where it may only look", hook.name(), function);
}

void HookList::save_states() {
  run_.state.hooks.clear();
  for (const Hook* hook : run_.parts.hooks)
    run_.state.hooks[hook->name()] = hook->save();
}

void HookList::restore_states() {
  std::set<std::string> saved, present;
  for (const auto& [name, values] : run_.state.hooks)
    saved.insert(name);
  for (const Hook* hook : run_.parts.hooks)
    present.insert(hook->name());
  if (saved != present)
    fail(
        "the checkpoint is of a run with the hooks [{}], and this run has [{}]; a resumed run must "
        "have the same hooks",
        fmt::join(saved, ", "), fmt::join(present, ", "));
  for (Hook* hook : run_.parts.hooks)
    hook->restore(run_.state.hooks[hook->name()]);
}

}  // namespace sculpt
