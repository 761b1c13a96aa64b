// SynFlow scores a weight by how much of the signal flows through it in a network of absolute
// values.
//
// R is the sum of the logits for an input of ones, on a copy of the network in which every
// parameter (biases and batch norm's gamma and beta too) is replaced by its absolute value, with
// batch norm as the constant map of its running statistics. score = abs(w) * dR/dabs(w).
//
// One prune by this score removes whole layers, so it is applied n times (100) with densities
// d^(k/n). Each of these prunes uses the allocation of the plan's step.
//
// SynFlow also works on a network that has been pruned before. The densities then go from the
// current density p to d, as p * (d / p)^(k/n).
//
// R grows with every layer (about 1e30 for ResNet-20, 1e150 for ResNet-110). The reference backend
// computes in double, which can represent such values. On a device all rounds run in float: input
// and additive parameters are multiplied by 2^e, which multiplies all activations by 2^e, and the
// gradient of the logits by 2^e too. e is chosen so that activations and gradients both run from
// 1/sqrt(R) to sqrt(R), which uses the whole range of float. Multiplying by powers of two causes no
// rounding, and the scores are scaled back in double. If the range of float is not enough, the
// reference backend computes everything.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/sparse/criteria.h"
#include "kernels/device/backend.h"

namespace sculpt {

namespace {

/// Holds a copy of the network in absolute values, and the signal that flows through it.
class Flow {
 public:
  Flow(Network& network, const kernels::Backend& backend)
      : network_(network.rebuild(backend, 1)),
        backend_(backend),
        scores_{zeroed_scores(network_->parameters())},
        workspace_(backend.pruning.workspace_bytes(), "pruning scores", backend.memory),
        image_(static_cast<size_t>(network.spec().image.count())) {
    backend.pruning.arena_absolute(parameters().edit_weight_array(), parameters().count(),
                                   backend.stream);
  }

  ParameterArena& parameters() { return network_->parameters(); }
  /// Returns the scores of the last call of score().
  Scores& scores() { return scores_; }

  /// Scores the current weights. Returns the index of the first score that is not a finite number;
  /// -1 if all are finite.
  int64_t score() {
    network_->backward_from_logit_sum(std::ldexp(1.0f, exponent_));
    parameters().store_dense();
    const kernels::PrunableRuns runs = parameters().prunable_runs();
    const ParameterArena& arena = parameters();
    scores_.values.zero();
    backend_.pruning.add_scaled(scores_.values.as<double>(), std::ldexp(1.0, -2 * exponent_),
                                arena.gradient_array(), arena.mask_array(), runs, backend_.stream);
    backend_.pruning.multiply(scores_.values.as<double>(), arena.weight_array(), runs,
                              backend_.stream);
    return backend_.pruning.first_not_finite(scores_.values.as<double>(), runs.count,
                                             workspace_.data(), backend_.stream);
  }

  /// Runs the forward pass on the signal. Returns R * 2^e.
  double forward() {
    std::ranges::fill(image_, std::ldexp(1.0f, exponent_));
    network_->load_values(image_.data(), 1);
    network_->forward(Mode::frozen);
    const std::vector<float> logits = network_->logits();
    return std::abs(std::accumulate(logits.begin(), logits.end(), 0.0));
  }

  /// Runs the forward pass with e near -log2(R) / 2. Returns false if no such e was found.
  bool forward_in_float() {
    constexpr int kMost = 100;  // leaves a factor of 2^26 for values far from the signal's mean
    constexpr int kSlack = 16;  // e is not changed if it is at most this far off
    constexpr int kStep = 50;   // change of e when R itself overflows
    constexpr int kAttempts = 4;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const double sum = forward();
      if (sum == 0) return false;
      const int wanted = std::isfinite(sum) ? (exponent_ - std::ilogb(sum)) / 2 : exponent_ - kStep;
      if (std::abs(wanted) > kMost) return false;
      if (std::isfinite(sum) && std::abs(wanted - exponent_) <= kSlack) return true;
      set_exponent(wanted);
    }
    return false;
  }

 private:
  void set_exponent(int exponent) {
    const double factor = std::ldexp(1.0, exponent - exponent_);
    exponent_ = exponent;
    ParameterArena& arena = parameters();
    arena.store_dense();
    for (const Parameter& p : arena.parameters())
      if (p.kind == ParameterKind::bias || p.kind == ParameterKind::norm_bias)
        backend_.pruning.arena_scale(static_cast<std::byte*>(arena.edit_weight_array()) +
                                         static_cast<size_t>(p.offset) * arena.element_bytes(),
                                     factor, p.count, backend_.stream);
    const auto states = arena.states();
    for (size_t id = 0; id < states.size(); ++id)
      if (states[id].name.ends_with(".running_mean"))
        backend_.pruning.arena_scale(arena.edit_state(static_cast<StateId>(id)), factor,
                                     states[id].count, backend_.stream);
  }

  std::unique_ptr<Network> network_;
  const kernels::Backend& backend_;
  Scores scores_;
  Buffer workspace_;
  std::vector<float> image_;
  int exponent_ = 0;
};

/// Prunes the flow n - 1 times and scores the remaining weights. score(flow) computes the scores
/// and returns whether they are usable.
template <class Score>
std::optional<ScoreResult> prune_step_by_step(Flow& flow, const ScoreContext& context,
                                              const PruneStep& step, KeptWeights& kept,
                                              const Score& score) {
  const Allocation& allocation = find_allocation(step.allocation);
  const int64_t n = context.options.synflow_iterations;
  KeptWeights left(flow.parameters());
  const auto total = static_cast<double>(left.total());
  const double present = static_cast<double>(left.kept()) / total;
  Phase rounds("synflow rounds", n);
  for (int64_t k = 1; k < n; ++k) {
    const double density =
        present * std::pow(step.density / present, static_cast<double>(k) / static_cast<double>(n));
    if (!score(flow)) return std::nullopt;
    left.narrow(flow.scores(), allocation, kept_for_density(density, left.total()));
    left.apply();
    rounds.advance();
  }
  if (!score(flow)) return std::nullopt;
  const kernels::Backend& from = flow.parameters().backend();
  const kernels::Backend& to = context.network.parameters().backend();
  kept.assign(std::move(left));
  return ScoreResult{{moved(std::move(flow.scores().values), from, to)}};
}

/// Throws Error, because the score of element `index` of the prunable weights is not finite in
/// double.
[[noreturn]] void fail_not_finite(Flow& flow, int64_t index) {
  const double score = flow.scores().values.as<double>()[index];
  for (const Parameter& p : flow.parameters().parameters()) {
    if (!p.prunable) continue;
    if (index < p.count)
      fail(
          "synflow: the score of element {} of '{}' is {}; the network is too deep or its "
          "weights too large for the range of double; start from other weights, or "
          "use another criterion",
          index, p.name, score);
    index -= p.count;
  }
  fail("synflow: a score is {}", score);
}

ScoreResult score_in_double(const ScoreContext& context, const PruneStep& step, KeptWeights& kept) {
  Flow flow(context.network, kernels::reference_backend());
  return *prune_step_by_step(flow, context, step, kept, [](Flow& f) {
    f.forward();
    if (const int64_t bad = f.score(); bad >= 0) fail_not_finite(f, bad);
    return true;
  });
}

std::optional<ScoreResult> score_in_float(const ScoreContext& context, const PruneStep& step,
                                          KeptWeights& kept, const kernels::Backend& backend) {
  Flow flow(context.network, backend);
  return prune_step_by_step(flow, context, step, kept,
                            [](Flow& f) { return f.forward_in_float() && f.score() < 0; });
}

}  // namespace

ScoreResult score_synflow(const ScoreContext& context, const PruneStep& step, KeptWeights& kept) {
  const kernels::Backend* in_float = context.network.parameters().backend().full_precision;
  if (in_float == nullptr) return score_in_double(context, step, kept);
  if (auto result = score_in_float(context, step, kept, *in_float)) return std::move(*result);
  ScoreResult result = score_in_double(context, step, kept);
  result.note =
      "synflow: the signal vanishes or leaves the range of float, so the scores are computed in "
      "double on the CPU";
  return result;
}

}  // namespace sculpt
