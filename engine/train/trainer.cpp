#include "engine/train/trainer.h"

#include <utility>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/optim/averaged_weights.h"
#include "engine/plan/verbs/verbs.h"
#include "engine/sparse/allocation.h"
#include "engine/sparse/kept_fan.h"
#include "engine/train/agreement.h"
#include "engine/train/divergence.h"

namespace sculpt {

Trainer::Trainer(RunParts parts, RunSettings settings)
    : run_(std::move(parts), std::move(settings)),
      hooks_(run_),
      writer_(run_, hooks_),
      epoch_loop_(run_, hooks_, writer_),
      test_feed_(run_.parts.network, run_.parts.test) {}

void Trainer::start() {
  run_.parts.network.initialise(run_.settings.identity.seed);
  if (run_.parts.load_initial) run_.parts.load_initial(run_.parameters());
  share_parameters(run_.parts.ranks, run_.parameters());
  run_.state = {};
  writer_.save_kernel_choices();
  writer_.save_rewind_if_needed();
  run_.count_masks();
  try {
    writer_.save();
  } catch (const Divergence&) {
    // If the initial network has a value that is not finite, no state is saved, because it would
    // count as good. The first steps report the value.
  }
}

void Trainer::resume(std::vector<std::string>& warnings) {
  // The seed is needed for dropout, too. The checkpoint then replaces all tensors.
  run_.parts.network.initialise(run_.settings.identity.seed);
  if (!restore(warnings)) return start();
  hooks_.restore_states();
  run_.optimizer->restore(run_.state.optimizer);
  writer_.save_kernel_choices();
  writer_.resume();
  run_.count_masks();
}

bool Trainer::restore(std::vector<std::string>& warnings) {
  Communicator& ranks = run_.parts.ranks;
  std::optional<RunState> restored;
  if (ranks.is_root()) restored = run_.parts.store.restore(run_.parameters(), warnings);
  if (!any_rank(ranks, restored.has_value())) return false;
  if (restored) run_.state = *restored;
  share_parameters(ranks, run_.parameters());
  share_state(ranks, run_.state);
  return true;
}

RunOutcome Trainer::run() try {
  run_.stop_requested = false;
  while (run_.state.plan_step < static_cast<int64_t>(run_.settings.plan.size())) {
    if (run_.parts.stop()) return save_interrupted();
    const PlanStep& step = run_.plan_step();
    run_.parts.observer.on_plan_step(step, run_.state);
    hooks_.before_plan_step();
    const RunOutcome outcome = std::visit([&](const auto& s) { return perform(s); }, step);
    if (outcome == RunOutcome::interrupted) return outcome;
  }
  hooks_.at_end();
  return finish_run();
} catch (const Interrupted&) {
  // The interruption came while kernels were chosen for new masks or for the masks of a checkpoint,
  // or inside a hook. The newest checkpoint, if there is one, was written before that, and a
  // resumed run repeats the interrupted work.
  return RunOutcome::interrupted;
} catch (const Divergence& divergence) {
  writer_.end_diverged(divergence);
}

RunOutcome Trainer::finish_run() {
  const RunState end = writer_.end_state();
  const Plan& plan = run_.settings.plan;
  const bool trained_last = !plan.empty() && std::holds_alternative<Cycle>(plan.back());
  if (!trained_last) {
    run_.parts.observer.on_evaluate();
    const auto evaluation =
        after_prune_ ? after_prune_ : evaluate(run_.parts.network, test_feed_, run_.parts.stop);
    if (!evaluation) return save_interrupted();
    note(*evaluation, run_.state.epochs);
  }
  writer_.finish(end);
  return RunOutcome::finished;
}

RunOutcome Trainer::perform(const PruneStep& step) {
  if (run_.state.pruned == 0 && !prune_now(step)) return save_interrupted();
  RunParts& parts = run_.parts;
  parts.observer.on_evaluate();
  const auto measured = measure_after_prune(parts.network, test_feed_, parts.statistics_images,
                                            run_.settings.prune.reestimate_batch_norm,
                                            parts.train.normalization(), parts.stop);
  if (!measured) return save_interrupted();  // the masks are new; a resumed run measures them
  parts.observer.on_prune_measured(writer_.add_prune(step, *measured));
  after_prune_ = measured->now;
  run_.state.pruned = 0;
  finish_plan_step();
  writer_.save();
  return RunOutcome::finished;
}

bool Trainer::prune_now(const PruneStep& step) {
  PruneReport report;
  const SharedPattern before = run_.parameters().pattern();
  try {
    report = prune(run_.score_context(), step);
  } catch (const Interrupted&) {
    return false;  // prune() has changed nothing
  }
  const bool nothing_trained = run_.state.steps == 0;
  if (nothing_trained && run_.settings.prune.rescale_to_kept_fan)
    rescale_to_kept_fan(run_.parameters(), *before);
  hooks_.follow_plan_step();
  run_.require_same_on_all_ranks(fmt::format("after the prune of step {}", run_.state.plan_step));
  run_.parts.store.add_layers(report, run_.parts.network.pass_kernels(), run_.state);
  run_.parts.observer.on_prune(report);
  run_.state.pruned = 1;
  return true;
}

RunOutcome Trainer::perform(const RewindStep& step) {
  after_prune_.reset();
  if (run_.parts.ranks.is_root()) run_.parts.store.load_rewind(run_.parameters(), step.epoch);
  share_parameters(run_.parts.ranks, run_.parameters());
  run_.optimizer->reset();
  finish_plan_step();
  writer_.save();
  return RunOutcome::finished;
}

RunOutcome Trainer::perform(const Intervention& step) {
  after_prune_.reset();
  if (run_.parts.ranks.is_root()) {
    const Action& action = find_action(step.action);
    const StoredNetwork* const stored =
        action.reads == FilePart::none ? nullptr : &run_.parts.stored_network(step);
    action.apply({run_.parts.network, run_.settings.identity.seed, run_.state.plan_step, stored});
  }
  share_parameters(run_.parts.ranks, run_.parameters());
  if (find_action(step.action).changes_mask) {
    hooks_.follow_plan_step();
    const MaskReport report = run_.mask_report(step.action);
    run_.parts.store.add_layers(report, run_.parts.network.pass_kernels(), run_.state);
    run_.parts.observer.on_masks(report);
  }
  run_.optimizer->reset();
  run_.state.density_changes();
  finish_plan_step();
  writer_.save();
  return RunOutcome::finished;
}

RunOutcome Trainer::perform(const Cycle& cycle) {
  after_prune_.reset();
  RunState& state = run_.state;
  if (state.cycle_epoch == 0 && state.epoch_step == 0) {
    run_.optimizer->reset();
    state.cycle_density = run_.density();
    const MaskRule* const rule = run_.mask_rule();
    if (rule != nullptr && rule->trains_thresholds)
      run_.optimizer->soft_thresholds()->begin(run_.settings.masks.str_init);
  }
  const int64_t plan_step = state.plan_step;
  while (state.plan_step == plan_step) {
    if (train_epoch(cycle) == RunOutcome::interrupted) return RunOutcome::interrupted;
  }
  return RunOutcome::finished;
}

RunOutcome Trainer::train_epoch(const Cycle& cycle) {
  if (epoch_loop_.run_steps() == RunOutcome::interrupted) return save_interrupted();
  const auto evaluation_start = std::chrono::steady_clock::now();
  require_finite(run_.parameters());
  run_.agree_on_statistics();
  run_.require_same_on_all_ranks(fmt::format("after epoch {}", run_.state.epochs + 1));
  const bool evaluated = evaluate_now(cycle);
  if (evaluated) {
    run_.parts.observer.on_evaluate();
    const auto evaluation = evaluate_in_training();
    if (!evaluation)
      return save_interrupted();  // all steps are done; a resumed run evaluates again
    note(*evaluation, run_.state.epochs + 1);
  }
  run_.parts.observer.on_epoch(writer_.add_epoch(evaluated, elapsed_seconds(evaluation_start)));
  return finish_epoch(cycle);
}

std::optional<Evaluation> Trainer::evaluate_in_training() {
  const AveragedWeights average(*run_.optimizer);
  return evaluate(run_.parts.network, test_feed_, run_.parts.stop);
}

RunOutcome Trainer::finish_epoch(const Cycle& cycle) {
  RunState& state = run_.state;
  state.train_loss = state.sums.loss / static_cast<double>(state.sums.images);
  state.sums = {};
  state.epoch_step = 0;
  ++state.cycle_epoch;
  ++state.epochs;
  const bool cycle_ends = state.cycle_epoch == cycle.trained_epochs();
  run_.optimizer->end_epoch();
  if (cycle_ends) run_.optimizer->end_cycle();
  hooks_.after_epoch();
  writer_.save_rewind_if_needed();
  const int64_t every = run_.settings.train.checkpoint_every;
  const bool save_now = cycle_ends || (every > 0 && state.cycle_epoch % every == 0);
  if (cycle_ends) {
    if (!cycle.rule.empty()) finish_rule(cycle);
    ++state.cycle;
    writer_.keep_cycle_if_wanted();
    finish_plan_step();
  }
  if (run_.stop_requested) return save_interrupted();
  if (save_now) writer_.save();
  return RunOutcome::finished;
}

void Trainer::finish_rule(const Cycle& cycle) {
  const MaskReport report = run_.mask_report(cycle.rule);
  if (cycle.density > 0) {
    const int64_t wanted = kept_for_density(cycle.density, report.prunable);
    SCULPT_CHECK(report.kept == wanted, "{} ended a cycle with {} kept weights instead of {}",
                 cycle.rule, report.kept, wanted);
  }
  run_.parts.store.add_layers(report, run_.parts.network.pass_kernels(), run_.state);
  run_.parts.observer.on_masks(report);
}

void Trainer::finish_plan_step() {
  run_.state.cycle_epoch = 0;
  ++run_.state.plan_step;
}

RunOutcome Trainer::save_interrupted() {
  writer_.save();
  return RunOutcome::interrupted;
}

bool Trainer::evaluate_now(const Cycle& cycle) const {
  const int64_t done = run_.state.cycle_epoch + 1;
  return done % run_.settings.train.eval_every == 0 || done == cycle.trained_epochs();
}

void Trainer::note(const Evaluation& evaluation, int64_t epoch) {
  require_finite("the test loss", evaluation.loss);
  RunState& state = run_.state;
  state.test_loss = evaluation.loss;
  state.test_accuracy = evaluation.accuracy;
  // Only a better accuracy moves the best epoch. The comparison is false while there is no best
  // accuracy (NaN).
  if (state.test_accuracy <= state.best_test_accuracy_at_density) return;
  state.best_test_accuracy_at_density = state.test_accuracy;
  state.best_epoch_at_density = epoch;
}

}  // namespace sculpt
