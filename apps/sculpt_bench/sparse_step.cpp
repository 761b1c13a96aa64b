#include "apps/sculpt_bench/sparse_step.h"

#include <fmt/format.h>
#include <optional>

#include "apps/sculpt_bench/comparison.h"
#include "apps/sculpt_bench/machine_rates.h"
#include "apps/sculpt_bench/sparse_layers.h"

namespace sculpt::bench {

namespace {

void print_header() {
  fmt::print(
      "| model | batch | masks | sparsity | sparsity of layers | dense kernels, ms | sparse "
      "kernels, ms | "
      "ratio | least to most | FMA floor, ms | bytes floor, ms | floor / time "
      "|\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
}

void print_row(const MaskedModel& model, const Sparsity& sparsity, const Timed& timed,
               const Floor& floor) {
  const std::vector<double> ratios = timed.ratios();
  const std::string width =
      model.step.width == 1 ? "" : fmt::format(", width {:g}", model.step.width);
  fmt::print(
      "| {}{} | {} | {} | {:.4g} % | {:.4g} to {:.4g} % | {:.2f} | {:.2f} | {:.2f} | {:.2f} to "
      "{:.2f} | {:.3g} | {:.3g} | {:.3g} |\n",
      model.step.model, width, model.step.batch, model.name, 100 * sparsity.all,
      100 * sparsity.least, 100 * sparsity.most, 1e3 * timed.usual_seconds(),
      1e3 * timed.other_seconds(), median(ratios), ratios.front(), ratios.back(),
      1e3 * floor.arithmetic_seconds, 1e3 * floor.memory_seconds,
      floor.seconds() / timed.other_seconds());
}

}  // namespace

void print_sparse_steps(const std::vector<MaskedModel>& models, const SparseStepOptions& options) {
  fmt::print("Medians of {} rounds. ", options.rounds);
  std::optional<MachineRates> rates;
  for (const MaskedModel& model : models) {
    TrainingStep dense = masked_step(model, SparseKernels::off);
    TrainingStep sparse = masked_step(model, model.step.execution.layers.sparse);
    if (!rates) {
      rates = measure_device_of(sparse.network());
      explain_floors(*rates);
      if (!options.layers) print_header();
    }
    const auto run = [](TrainingStep& step) {
      step.run();
      step.finish();
    };
    const Timed timed =
        compare([&] { run(dense); }, [&] { run(sparse); }, options.rounds, options.least_seconds);
    if (options.layers) print_header();
    const Floor floor = floor_of(step_cost(sparse.network().graph(), model.step.batch), *rates);
    print_row(model, sparsity_of(sparse.network().parameters()), timed, floor);
    if (options.layers) {
      fmt::print("\n");
      print_sparse_layers(dense.network(), {.rounds = options.rounds,
                                            .least_seconds = options.layer_seconds,
                                            .winograd = model.step.execution.layers.winograd,
                                            .rates = *rates});
    }
    std::fflush(stdout);
  }
}

}  // namespace sculpt::bench
