#include "engine/train/hooks/hook_list.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <ranges>
#include <set>
#include <string>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/train/training_run.h"

namespace sculpt {
namespace {

bool can_be_a_name(const std::string& name) {
  return !name.empty() && name.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789-_") == std::string::npos;
}

bool has_mask_rule(const Plan& plan) {
  return std::ranges::any_of(plan, [](const PlanStep& step) {
    const auto* const cycle = std::get_if<Cycle>(&step);
    return cycle != nullptr && !cycle->rule.empty();
  });
}

}  // namespace

HookList::HookList(TrainingRun& run)
    : run_(run),
      context_(run),
      profiler_(run),
      loss_watch_(run),
      clock_(run),
      dense_timing_(run),
      mask_hook_(run),
      hooks_{&profiler_, &loss_watch_, &clock_, &dense_timing_} {
  if (has_mask_rule(run.settings.plan)) hooks_.push_back(&mask_hook_);
  hooks_.insert(hooks_.end(), run.parts.hooks.begin(), run.parts.hooks.end());
  std::set<std::string> names;
  for (const Hook* hook : hooks_) {
    if (!can_be_a_name(hook->name()))
      fail("a hook is called '{}': names have letters, digits, '-' and '_' only", hook->name());
    if (!names.insert(hook->name()).second) fail("two hooks are called '{}'", hook->name());
  }
}

template <class Function>
void HookList::call(Hook& hook, const Function& function) {
  const SharedPattern before = run_.parameters().pattern();
  function(hook);
  if (run_.parameters().pattern() != before) follow_change();
}

template <class Function>
void HookList::call_to_look(Hook& hook, const char* name, const Function& function) {
  const SharedPattern before = run_.parameters().pattern();
  function(hook);
  SCULPT_CHECK(run_.parameters().pattern() == before,
               "hook '{}' changed masks in {}, where it may only look", hook.name(), name);
}

void HookList::before_plan_step() {
  for (Hook* hook : std::views::reverse(hooks_))
    call_to_look(*hook, "before_plan_step",
                 [&](Hook& h) { h.before_plan_step(run_.plan_step(), context_); });
}

void HookList::before_epoch() {
  for (Hook* hook : std::views::reverse(hooks_))
    call(*hook, [&](Hook& h) { h.before_epoch(context_); });
}

void HookList::before_step() {
  for (Hook* hook : std::views::reverse(hooks_))
    call(*hook, [&](Hook& h) { h.before_step(context_); });
}

void HookList::after_step() {
  for (Hook* hook : hooks_)
    call(*hook, [&](Hook& h) { h.after_step(context_); });
}

void HookList::after_epoch() {
  for (Hook* hook : hooks_)
    call(*hook, [&](Hook& h) { h.after_epoch(context_); });
}

void HookList::at_end() {
  for (Hook* hook : hooks_)
    call_to_look(*hook, "at_end", [&](Hook& h) { h.at_end(context_); });
}

void HookList::follow_plan_step() {
  follow_masks();
  run_.parts.network.graph().follow_masks();
}

void HookList::follow_masks() {
  const int64_t kept_before = run_.kept;
  run_.count_masks();
  if (run_.kept != kept_before) run_.state.density_changes();
  for (Hook* hook : hooks_)
    call_to_look(*hook, "masks_changed", [&](Hook& h) { h.masks_changed(context_); });
}

void HookList::follow_change() {
  follow_masks();
  // A run that ends now needs no kernels. A resumed run chooses them.
  if (run_.step.stopping || run_.stop_requested) return;
  try {
    run_.parts.network.graph().follow_masks();
  } catch (const Interrupted&) {
    run_.stop_requested = true;
  }
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
