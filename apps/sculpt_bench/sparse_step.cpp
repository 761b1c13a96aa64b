#include "apps/sculpt_bench/sparse_step.h"

#include <fmt/format.h>

#include "apps/sculpt_bench/comparison.h"
#include "apps/sculpt_bench/sparse_layers.h"

namespace sculpt::bench {

namespace {

void print_header() {
  fmt::print(
      "| model | batch | masks | sparsity | sparsity of layers | dense kernels, ms | sparse "
      "kernels, ms | "
      "ratio | least to most |\n|---|---|---|---|---|---|---|---|---|\n");
}

void print_row(const MaskedModel& model, const Sparsity& sparsity, const Timed& timed) {
  const std::vector<double> ratios = timed.ratios();
  const std::string width =
      model.step.width == 1 ? "" : fmt::format(", width {:g}", model.step.width);
  fmt::print(
      "| {}{} | {} | {} | {:.4g} % | {:.4g} to {:.4g} % | {:.2f} | {:.2f} | {:.2f} | {:.2f} to "
      "{:.2f} |\n",
      model.step.model, width, model.step.batch, model.name, 100 * sparsity.all,
      100 * sparsity.least, 100 * sparsity.most, 1e3 * timed.usual_seconds(),
      1e3 * timed.other_seconds(), median(ratios), ratios.front(), ratios.back());
}

}  // namespace

void print_sparse_steps(const std::vector<MaskedModel>& models, const SparseStepOptions& options) {
  fmt::print("Medians of {} rounds.\n\n", options.rounds);
  if (!options.layers) print_header();
  for (const MaskedModel& model : models) {
    TrainingStep dense = masked_step(model, SparseKernels::off);
    TrainingStep sparse = masked_step(model, model.step.execution.layers.sparse);
    const auto run = [](TrainingStep& step) {
      step.run();
      step.finish();
    };
    const Timed timed =
        compare([&] { run(dense); }, [&] { run(sparse); }, options.rounds, options.least_seconds);
    if (options.layers) print_header();
    print_row(model, sparsity_of(sparse.network().parameters()), timed);
    if (options.layers) {
      fmt::print("\n");
      print_sparse_layers(dense.network(), options.rounds, options.layer_seconds);
    }
    std::fflush(stdout);
  }
}

}  // namespace sculpt::bench
