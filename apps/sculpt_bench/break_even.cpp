#include "apps/sculpt_bench/break_even.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <optional>

#include "engine/core/error.h"
#include "engine/ops/kernel_rule.h"
#include "engine/ops/weighted_node.h"
#include "engine/sparse/prune.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {

namespace {

using ops::ConvPass;
using ops::PassProblem;

constexpr ConvPass kPasses[] = {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad};

/// The times of one pass of one layer at several densities.
struct Sweep {
  PassProblem problem;
  double native = HUGE_VAL;         ///< shortest time of the dense kernels, in microseconds
  std::map<double, double> sparse;  ///< maps a density to the shortest time of the sparse kernels

  void add(double density, const kernels::Timing& timing) {
    native = std::min(native, timing.native);
    double& least = sparse.try_emplace(density, HUGE_VAL).first->second;
    least = std::min(least, timing.other);
  }
};

bool same_but_for_density(const PassProblem& a, const PassProblem& b) {
  PassProblem with_density_of_b = a;
  with_density_of_b.density = b.density;
  return choice_key(with_density_of_b) == choice_key(b);
}

Sweep& sweep_of(std::vector<Sweep>& sweeps, const PassProblem& problem) {
  const auto known = std::ranges::find_if(
      sweeps, [&](const Sweep& s) { return same_but_for_density(s.problem, problem); });
  if (known != sweeps.end()) return *known;
  return sweeps.emplace_back(Sweep{problem, HUGE_VAL, {}});
}

/// Times every different pass of a network under random masks of this density. The network is new
/// and has a chooser of its own, so that every pass is timed again.
void time_passes(const StepOptions& options, double density, std::vector<Sweep>& sweeps) {
  kernels::Chooser chooser(kernels::ChoiceFile({}, "", [](const std::string&) {}));
  Execution execution = options.execution;
  execution.layers.sparse = SparseKernels::tuned;
  execution.layers.chooser = &chooser;
  Network network(network_spec(options), kernels::cpu_backend(), options.batch, execution);
  network.initialise(1);
  prune(ScoreContext{network, 1, {}, {}, {}}, {"random", "uniform", density});
  network.graph().follow_masks();
  for (const auto& node : network.graph().nodes())
    if (const ops::WeightedNode* weighted = ops::weighted_node(*node))
      for (const ConvPass pass : kPasses) {
        const PassProblem problem = weighted->pass_problem(pass);
        const auto timing = chooser.timings().find(choice_key(problem));
        if (timing != chooser.timings().end())
          sweep_of(sweeps, problem).add(density, timing->second);
      }
}

/// Returns the density at which the interpolated sparse times cross the dense kernels' time.
/// Returns 0 if the sparse kernels were slower at all densities, and 1 if they were faster at all.
double break_even(const Sweep& sweep) {
  double before_density = 0, before = 0;
  for (const auto& [density, time] : sweep.sparse) {
    if (time > sweep.native) {
      if (before_density == 0) return 0;
      return before_density +
             (density - before_density) * (sweep.native - before) / (time - before);
    }
    before_density = density;
    before = time;
  }
  return 1;
}

std::string break_even_text(const Sweep& sweep) {
  const double density = break_even(sweep);
  if (density == 0) return fmt::format("below {:g}", sweep.sparse.begin()->first);
  if (density == 1) return fmt::format("above {:g}", sweep.sparse.rbegin()->first);
  return fmt::format("{:.2f}", density);
}

std::string layer_text(const kernels::Conv2dShape& s) {
  return fmt::format("{}x{}x{} -> {}, {}x{}, stride {}{}", s.in.channels, s.in.height, s.in.width,
                     s.out.channels, s.kernel_h, s.kernel_w, s.stride,
                     s.groups > 1 ? fmt::format(", groups {}", s.groups) : "");
}

void print_sweeps(const std::vector<Sweep>& sweeps, const ops::Machine& machine) {
  fmt::print("| layer | pass | dense kernels | ms | break-even | rule |");
  for (const auto& [density, time] : sweeps.front().sparse)
    fmt::print(" {:g} |", density);
  fmt::print("\n|---|---|---|---|---|---|");
  for (size_t i = 0; i < sweeps.front().sparse.size(); ++i)
    fmt::print("---|");
  for (const Sweep& sweep : sweeps) {
    fmt::print("\n| {} | {} | {} | {:.3f} | {} | {:.2f} |", layer_text(sweep.problem.shape),
               kernels::name_of(sweep.problem.pass), sweep.problem.winograd ? "Winograd" : "direct",
               1e-3 * sweep.native, break_even_text(sweep),
               break_even_density(sweep.problem, machine));
    for (const auto& [density, time] : sweep.sparse)
      fmt::print(" {:.3f} |", 1e-3 * time);
  }
  fmt::print("\n");
}

}  // namespace

void print_break_even(const StepOptions& options, const BreakEvenOptions& break_even) {
  std::vector<Sweep> sweeps;
  for (int repeat = 0; repeat < break_even.repeats; ++repeat)
    for (const double density : break_even.densities)
      time_passes(options, density, sweeps);
  if (sweeps.empty()) fail("rule: nothing was timed; give a network with weights and densities");
  const ops::Machine machine = ops::this_machine(kernels::cpu_backend().name);
  fmt::print("{}, batch {}, {}, {} threads, L2 {} KiB.\n\n", options.model, options.batch,
             machine.backend, machine.threads, machine.l2_bytes >> 10);
  print_sweeps(sweeps, machine);
}

}  // namespace sculpt::bench
