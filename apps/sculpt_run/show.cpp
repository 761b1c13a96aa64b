#include "apps/sculpt_run/show.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/sculpt_run/plan_timing.h"
#include "engine/core/error.h"
#include "engine/nn/cost.h"
#include "engine/train/plan_cost.h"
#include "engine/train/progress.h"

namespace sculpt {
namespace {

std::string count_text(double n) {
  const char* const units[] = {"", " k", " M", " G", " T", " P", " E"};
  size_t unit = 0;
  while (n >= 1000 && unit + 1 < std::size(units)) {
    n /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f}{}", n, unit == 0 ? 0 : 2, units[unit]);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape)
    text += (text.empty() ? "" : "x") + std::to_string(n);
  return text;
}

}  // namespace

void show_plan(Experiment& experiment, const RunOptions& options, const Plan& plan) {
  const int64_t images = experiment.train().images_per_epoch();
  const PlanCost cost = plan_cost(plan, experiment.network(), images);
  const double dense_cycle = training_flops_per_image(experiment.network()) *
                             static_cast<double>(images) *
                             static_cast<double>(options.train.epochs);
  const PlanTiming timing = time_plan(experiment, options.train.optim, cost);
  const auto seconds = [&](size_t step) {
    const auto epochs = static_cast<double>(cost.steps[step].epochs);
    const double evaluations = epochs / static_cast<double>(options.train.eval_every);
    return epochs * static_cast<double>(images) * timing.steps[step].train +
           evaluations * static_cast<double>(experiment.test().size()) * timing.steps[step].test;
  };

  fmt::print("method {}: {} on {}, {} training images, batch {}\n\n", options.method.method,
             options.model.name, options.data.name, images, options.train.batch);
  const auto row = [](const std::string& number, const std::string& step,
                      const std::string& density, const std::string& epochs,
                      const std::string& flops, const std::string& share, const std::string& time) {
    fmt::print("{:>4}  {:<32} {:>10} {:>7} {:>10} {:>9} {:>8}\n", number, step, density, epochs,
               flops, share, time);
  };
  row("", "step", "density", "epochs", "FLOPs", "vs dense", "time");
  double total_seconds = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const PlanStepCost& step = cost.steps[i];
    const std::string density = fmt::format("{:.4f} %", 100 * step.density);
    const std::string number = std::to_string(i + 1);
    if (step.epochs == 0)
      row(number, describe(plan[i]), density, "", "", "", "");
    else
      row(number, describe(plan[i]), density, std::to_string(step.epochs), count_text(step.flops),
          fmt::format("{:.3f}", step.flops / dense_cycle), duration_text(seconds(i)));
    total_seconds += seconds(i);
  }
  row("", "total", "", std::to_string(cost.epochs), count_text(cost.flops),
      fmt::format("{:.3f}", cost.flops / dense_cycle), duration_text(total_seconds));
  fmt::print(
      "\nFLOPs count training steps: forward, input and weight gradients of the kept weights.\n"
      "\"vs dense\" is the share of one dense cycle of {} epochs ({} FLOPs).\n"
      "Times come from a few steps at each cycle's density on this machine ({}, {} threads).\n",
      options.train.epochs, count_text(dense_cycle), experiment.backend().name,
      experiment.identity().threads);
  if (timing.timed < timing.densities)
    fmt::print("{} of {} densities were timed; times of the others lie between.\n", timing.timed,
               timing.densities);
  if (cost.estimated)
    fmt::print(
        "Global rankings decide the layers' densities when they run; here each layer is assumed\n"
        "to lose the same fraction.\n");
}

void show_network(Experiment& experiment, const RunOptions& options) {
  const Network& network = experiment.network();
  const ParameterArena& arena = network.parameters();
  std::map<std::string, int64_t> macs;
  int64_t total_macs = 0;
  for (const LayerCost& cost : layer_costs(network)) {
    macs[arena[cost.weight].name] = cost.macs;
    total_macs += cost.macs;
  }
  size_t width = 9;
  for (const Parameter& p : arena.parameters())
    width = std::max(width, p.name.size());

  const ImageShape image = experiment.train().image_shape();
  fmt::print("{} (width {}) for {}x{}x{} images, {} classes\n\n", options.model.name,
             options.model.width, image.channels, image.height, image.width,
             experiment.train().classes());
  fmt::print("{:<{}}  {:>14} {:>12} {:>14}  {}\n", "parameter", width, "shape", "count", "MACs",
             "prunable");
  for (const Parameter& p : arena.parameters()) {
    const auto found = macs.find(p.name);
    fmt::print("{:<{}}  {:>14} {:>12} {:>14}  {}\n", p.name, width, shape_text(p.shape), p.count,
               found == macs.end() ? "" : std::to_string(found->second), p.prunable ? "yes" : "");
  }
  fmt::print(
      "\n{} parameters, {} of them prunable; {} MACs an image forward, {} FLOPs an image in "
      "training\n",
      arena.count(), arena.prunable_count(), count_text(static_cast<double>(total_macs)),
      count_text(training_flops_per_image(network)));
  fmt::print("activations and workspace for batch {}: {:.1f} MiB\n", network.max_batch(),
             static_cast<double>(network.graph().planned_bytes()) / (1 << 20));
}

void show_result(const RunFolder& folder) {
  const auto summary = nlohmann::json::parse(read_text(folder.summary()), nullptr, false);
  const auto number = [&](const char* key) {
    return summary.is_object() && summary.contains(key) && summary[key].is_number()
               ? summary[key].get<double>()
               : 0.0;
  };
  fmt::print(
      "test accuracy {:.2f} % (best {:.2f} %), sparsity {:.2f} %, {} epochs, {:.3f} of one dense "
      "cycle's training FLOPs, {}\n",
      100 * number("test_accuracy"), 100 * number("best_test_accuracy"), 100 * number("sparsity"),
      number("epochs"), number("train_flops_vs_dense"), duration_text(number("seconds")));
  const double dense = number("seconds_dense");
  if (dense > 0)
    fmt::print("with dense kernels {} ({:.2f} times as long, as timed on a few steps)\n",
               duration_text(dense), dense / number("seconds"));
  fmt::print("run folder {}\n", folder.root().string());
}

}  // namespace sculpt
