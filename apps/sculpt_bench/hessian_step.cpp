#include "apps/sculpt_bench/hessian_step.h"

#include <fmt/format.h>

#include "apps/sculpt_bench/comparison.h"
#include "engine/nn/hessian_product.h"

namespace sculpt::bench {

namespace {

/// Products with the Hessian of a network on noise.
class Products {
 public:
  Products(TrainingStep& step, const StepOptions& options, int batches, int directions)
      : network_(step.network()),
        source_(network_.spec().image, options.classes, options.batch),
        batches_(batches) {
    for (int i = 0; i < directions; ++i) {
      directions_.push_back(zeroed_scores(network_.parameters()));
      // The gradient of the last step is a direction that every backend has in its memory.
      add_gradient(network_, 1 + i, directions_.back());
    }
  }

  void run() { hessian_products(loss(), directions_); }
  /// Returns the seconds per batch and direction.
  double share(double seconds) const {
    return seconds / batches_ / static_cast<double>(directions_.size());
  }

 private:
  MeanLoss loss() {
    return {.network = network_,
            .batches = batches_,
            .batch =
                [this](int64_t) {
                  source_.start_epoch(0, 0);
                  return source_.next();
                },
            .normalization = source_.normalization(),
            .mode = Mode::frozen};
  }

  Network& network_;
  RandomImages source_;
  int batches_;
  std::vector<Buffer> directions_;
};

}  // namespace

void print_hessian_steps(const std::vector<MaskedModel>& models,
                         const HessianStepOptions& options) {
  fmt::print(
      "Medians of {} rounds; products over {} batches, per batch and direction.\n\n"
      "| model | batch | sparsity | training step, ms | product, ms | steps | {} products "
      "together, ms | steps |\n|---|---|---|---|---|---|---|---|\n",
      options.rounds, options.batches, options.directions);
  for (const MaskedModel& model : models) {
    TrainingStep training = masked_step(model, model.step.execution.layers.sparse);
    TrainingStep analysed = masked_step(model, model.step.execution.layers.sparse);
    Products one(analysed, model.step, options.batches, 1);
    Products several(analysed, model.step, options.batches, options.directions);
    const auto step = [&] {
      training.run();
      training.finish();
    };
    const Timed single = compare(
        step, [&] { one.run(); }, options.rounds, options.least_seconds);
    const Timed group = compare(
        step, [&] { several.run(); }, options.rounds, options.least_seconds);
    const double step_seconds = single.usual_seconds();
    const double alone = one.share(single.other_seconds());
    const double together = several.share(group.other_seconds());
    fmt::print("| {}, width {:g} | {} | {:.4g} % | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n",
               model.step.model, model.step.width, model.step.batch,
               100 * sparsity_of(analysed.network().parameters()).all, 1e3 * step_seconds,
               1e3 * alone, alone / step_seconds, 1e3 * together, together / group.usual_seconds());
    std::fflush(stdout);
  }
}

}  // namespace sculpt::bench
