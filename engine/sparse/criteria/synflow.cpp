// SynFlow: how much of the signal flows through a weight, when the network has lost all signs.
//
// R is the sum of the logits for an input of ones, on a copy of the network in which every
// parameter (biases and batch norm's gamma and beta too) is replaced by its absolute value, with
// batch norm as the constant map of its running statistics. score = abs(w) * dR/dabs(w).
//
// One prune by this score removes whole layers, so it is applied n times (100) with densities
// d^(k/n). Each of these prunes uses the allocation of the step that is asked for. The copy
// computes in double: R grows with every layer (about 1e150 for ResNet-110) and would overflow a
// float.
//
// Works from a network that has been pruned before, too: the densities then go from the present one
// p to d, as p * (d / p)^(k/n).

#include <cmath>

#include "engine/core/error.h"
#include "engine/sparse/criteria.h"
#include "engine/sparse/prune.h"
#include "kernels/backend.h"

namespace sculpt {

namespace {

void take_absolute_values(ParameterArena& parameters) {
  for (double& w : parameters.weights<double>())
    w = std::abs(w);
}

std::vector<double> flow(Network& network, const std::vector<float>& ones) {
  network.load_values(ones.data(), 1);
  network.forward(Mode::frozen);
  network.backward_from_logit_sum();
  ParameterArena& parameters = network.parameters();
  std::vector<double> scores;
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    const auto weight = ParameterArena::slice(parameters.weights<double>(), p);
    const auto gradient = ParameterArena::slice(parameters.gradients<double>(), p);
    for (size_t i = 0; i < weight.size(); ++i) {
      const double score = weight[i] * gradient[i];
      if (!std::isfinite(score))
        fail(
            "synflow: the score of element {} of '{}' is {}; the network is too deep or its "
            "weights too large for the range of double; use another criterion",
            i, p.name, score);
      scores.push_back(score);
    }
  }
  return scores;
}

}  // namespace

ScoreResult score_synflow(const ScoreContext& context, const PruneStep& step) {
  const auto copy = context.network.rebuild(kernels::reference_backend(), 1);
  ParameterArena& parameters = copy->parameters();
  take_absolute_values(parameters);
  const std::vector<float> ones(static_cast<size_t>(copy->spec().image.count()), 1.0f);

  const int64_t n = context.options.synflow_iterations;
  const int64_t total = parameters.prunable_count();
  const double present = static_cast<double>(parameters.kept_count()) / static_cast<double>(total);
  std::vector<uint8_t> mask = prunable_mask(parameters);
  for (int64_t k = 1; k < n; ++k) {
    const double density =
        present * std::pow(step.density / present, static_cast<double>(k) / static_cast<double>(n));
    const Scores scores = flow(*copy, ones);
    mask = select_kept(prunable_layers(parameters), scores, mask, step.allocation,
                       kept_for_density(density, total));
    write_masks(parameters, mask);
  }
  return {flow(*copy, ones), std::move(mask)};
}

}  // namespace sculpt
