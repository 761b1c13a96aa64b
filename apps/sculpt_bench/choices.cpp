#include "apps/sculpt_bench/choices.h"

#include <fmt/format.h>
#include <optional>

#include "apps/sculpt_bench/comparison.h"
#include "apps/sculpt_bench/machine_rates.h"
#include "engine/core/error.h"

namespace sculpt::bench {

namespace {

struct Passes {
  int all = 0, sparse_tuned = 0, sparse_ruled = 0;
  std::string different;  ///< list of the passes for which the two networks chose different kernels
  int different_count = 0;
};

Passes passes_of(const Network& tuned, const Network& ruled) {
  Passes passes;
  const auto of_ruled = ruled.pass_kernels();
  for (const auto& [layer, of_tuned] : tuned.pass_kernels()) {
    const kernels::PassKernels& other = of_ruled.at(layer);
    const auto count = [&, name = layer](kernels::Choice t, kernels::Choice r, const char* pass) {
      ++passes.all;
      passes.sparse_tuned += t == kernels::Choice::sparse;
      passes.sparse_ruled += r == kernels::Choice::sparse;
      if (t == r) return;
      ++passes.different_count;
      passes.different += fmt::format("{}{} {} {}", passes.different.empty() ? "" : ", ", name,
                                      pass, r == kernels::Choice::sparse ? "sparse" : "dense");
    };
    count(of_tuned.forward, other.forward, "forward");
    count(of_tuned.input_grad, other.input_grad, "input_grad");
    count(of_tuned.weight_grad, other.weight_grad, "weight_grad");
  }
  return passes;
}

void run(TrainingStep& step) {
  step.run();
  step.finish();
}

void print_row(const MaskedModel& model, const Sparsity& sparsity, const Timed& timed,
               const Passes& passes, const Floor& floor) {
  // The ratios are usual / other, and the step with ruled kernels is the other one.
  const std::vector<double> ratios = timed.ratios();
  fmt::print(
      "| {} | {} | {} | {:.4g} % | {:.2f} | {:.2f} | {:.3f} | {:.2f} to {:.2f} | {} | {} | {} | {} "
      "| {:.3g} |\n",
      model.step.model, model.step.batch, model.name, 100 * sparsity.all,
      1e3 * timed.usual_seconds(), 1e3 * timed.other_seconds(), 1 / median(ratios),
      1 / ratios.back(), 1 / ratios.front(), passes.all, passes.sparse_tuned, passes.sparse_ruled,
      passes.different_count, floor.seconds() / timed.other_seconds());
}

void print_header() {
  fmt::print(
      "| model | batch | masks | sparsity | tuned, ms | ruled, ms | ruled / tuned | least to most "
      "| "
      "passes | sparse if tuned | sparse if ruled | differ | floor / time |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
}

}  // namespace

void print_choices(const std::vector<MaskedModel>& models, int rounds, double least_seconds) {
  fmt::print("Medians of {} rounds. ", rounds);
  std::optional<MachineRates> rates;
  std::string differences;
  for (const MaskedModel& model : models) {
    TrainingStep tuned = masked_step(model, SparseKernels::tuned);
    TrainingStep ruled = masked_step(model, SparseKernels::automatic);
    const Passes passes = passes_of(tuned.network(), ruled.network());
    if (passes.all == 0)
      fail("choices: the backend {} has no kernels that skip masked weights",
           ruled.network().graph().backend().name);
    if (!rates) {
      rates = measure_device_of(ruled.network());
      explain_floors(*rates);
      print_header();
    }
    const Timed timed = compare([&] { run(tuned); }, [&] { run(ruled); }, rounds, least_seconds);
    const Sparsity sparsity = sparsity_of(ruled.network().parameters());
    print_row(model, sparsity, timed, passes,
              floor_of(step_cost(ruled.network().graph(), model.step.batch), *rates));
    if (passes.different_count > 0)
      differences +=
          fmt::format("- {} {:.4g} %: {}\n", model.name, 100 * sparsity.all, passes.different);
    std::fflush(stdout);
  }
  if (!differences.empty())
    fmt::print("\nPasses for which the rule chooses other kernels:\n\n{}", differences);
}

}  // namespace sculpt::bench
