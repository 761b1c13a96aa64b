#include "apps/sculpt_run/show.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <map>

#include "apps/sculpt_run/plan_timing.h"
#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/nn/cost.h"
#include "engine/plan/plan_cost.h"

namespace sculpt {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t n : shape)
    text += (text.empty() ? "" : "x") + std::to_string(n);
  return text;
}

void print_table(const TextTable& table) {
  const size_t width = out().width();
  out().print(out().paint(Style::heading, table.heading(width)));
  out().print(table.body(width));
}

/// Returns true for the weights of convolutions and linear layers: they are pruned unless exempt.
bool can_be_pruned(const Parameter& p) {
  return p.kind == ParameterKind::conv_weight || p.kind == ParameterKind::linear_weight;
}

/// Says which layers the config exempts from pruning; "" if there are none.
std::string exempt_text(const ParameterArena& arena) {
  std::vector<std::string> names;
  int64_t count = 0;
  for (const Parameter& p : arena.parameters()) {
    if (!can_be_pruned(p) || p.prunable) continue;
    names.push_back(p.name);
    count += p.count;
  }
  if (names.empty()) return "";
  return fmt::format(
      "Exempt from pruning: {} ({} weights). Densities are those of the other {} weights.",
      fmt::join(names, ", "), grouped(count), grouped(arena.prunable_count()));
}

}  // namespace

void show_plan(Experiment& experiment, const RunOptions& options, const Plan& plan,
               const CostSettings& settings) {
  const int64_t images = settings.images;
  const PlanCost cost = plan_cost(plan, experiment.network(), settings);
  const double dense_cycle = dense_training_flops_per_image(experiment.network()) *
                             static_cast<double>(images) *
                             static_cast<double>(options.train.epochs);
  const PlanTiming timing = time_plan(experiment, options.train.optim, cost);
  const auto seconds = [&](size_t step) {
    return step_seconds(cost.steps[step], timing.steps[step], images, experiment.test().size(),
                        options.train.eval_every);
  };

  const size_t width = out().width();
  say("{}\n\n", wrap(fmt::format("method {}: {} on {}, {}, batch {}", options.method.method,
                                 options.model.name, options.data.name,
                                 counted(images, "training image"), options.train.batch),
                     width));
  // The column "mean" is there only if it says more than the column "density", and has room.
  constexpr size_t kColumnsWithMean = 72;
  const bool shows_mean =
      width >= kColumnsWithMean && std::ranges::any_of(cost.steps, [](const PlanStepCost& step) {
        return step.epochs > 0 && step.mean_density != step.density;
      });
  std::vector<TextTable::Column> columns = {
      {""}, {"step", false, TextTable::Fit::wrap}, {"density"}};
  if (shows_mean) columns.push_back({"mean"});
  for (const char* heading : {"epochs", "FLOPs", "vs dense", "time"})
    columns.push_back({heading});
  TextTable table(columns);
  const auto add = [&](std::vector<std::string> cells, const std::string& mean) {
    if (shows_mean) cells.insert(cells.begin() + 3, mean);
    table.add(std::move(cells));
  };
  double total_seconds = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const PlanStepCost& step = cost.steps[i];
    const std::string density = fmt::format("{:.4f} %", 100 * step.density);
    const std::string number = std::to_string(i + 1);
    if (step.epochs == 0)
      add({number, describe(plan[i]), density, "", "", "", ""}, "");
    else
      add({number, describe(plan[i]), density, std::to_string(step.epochs), count_text(step.flops),
           fmt::format("{:.3f}", step.flops / dense_cycle), duration_text(seconds(i))},
          fmt::format("{:.2f} %", 100 * step.mean_density));
    total_seconds += seconds(i);
  }
  add({"", "total", "", std::to_string(cost.epochs), count_text(cost.flops),
       fmt::format("{:.3f}", cost.flops / dense_cycle), duration_text(total_seconds)},
      fmt::format("{:.2f} %", 100 * cost.mean_density));
  print_table(table);
  say("\n{}\n",
      wrap(fmt::format("FLOPs count training steps: forward, input and weight gradients of the "
                       "kept weights, and all weight gradients in steps that grow masks by "
                       "gradients.\n"
                       "\"density\" is that after the step{}. Over all training steps its mean is "
                       "{:.2f} %.\n"
                       "\"vs dense\" is the share of one dense cycle of {} ({} FLOPs).\n"
                       "Times come from a few steps at each cycle's density on this machine ({}, "
                       "{}).",
                       shows_mean ? ", \"mean\" that over its training steps" : "",
                       100 * cost.mean_density, counted(options.train.epochs, "epoch"),
                       count_text(dense_cycle), experiment.backend().name,
                       counted(experiment.identity().threads, "thread")),
           width));
  const std::string exempt = exempt_text(experiment.network().parameters());
  if (removes_weights(plan) && !exempt.empty()) say("{}\n", wrap(exempt, width));
  if (timing.timed < timing.densities)
    say("{}\n",
        wrap(fmt::format("{} of {} densities were timed; the times of the others are interpolated.",
                         timing.timed, timing.densities),
             width));
  if (cost.estimated)
    say("{}\n", wrap("Global rankings decide the layers' densities when they run; here each layer "
                     "is assumed to lose the same fraction.",
                     width));
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
  const ImageShape image = experiment.train().image_shape();
  say("{} (width {}) for {}x{}x{} images, {} classes\n\n", options.model.name, options.model.width,
      image.channels, image.height, image.width, experiment.train().classes());
  TextTable table({{"parameter", false, TextTable::Fit::shorten},
                   {"shape"},
                   {"count"},
                   {"MACs"},
                   {"prunable", false}});
  for (const Parameter& p : arena.parameters()) {
    const auto found = macs.find(p.name);
    table.add({p.name, shape_text(p.shape), grouped(p.count),
               found == macs.end() ? "" : grouped(found->second),
               p.prunable ? "yes" : (can_be_pruned(p) ? "exempt" : "")});
  }
  print_table(table);
  say("\n{}\n", wrap(fmt::format("{} parameters, {} of them prunable; {} MACs per image in a "
                                 "forward pass, {} FLOPs per image in training\n"
                                 "activations and workspace for batch {}: {:.1f} MiB",
                                 grouped(arena.count()), grouped(arena.prunable_count()),
                                 count_text(static_cast<double>(total_macs)),
                                 count_text(training_flops_per_image(network)), network.max_batch(),
                                 static_cast<double>(network.graph().planned_bytes()) / (1 << 20)),
                     out().width(), 2));
}

void show_result(const RunFolder& folder, const RunSummary& summary) {
  const auto line = [](const std::vector<std::string>& fields) {
    return join_fields(fields, out().redraws() ? out().width() : std::string::npos) + "\n";
  };
  const std::string best =
      std::isfinite(summary.best_test_accuracy_at_final_density)
          ? fmt::format("{:.2f} % in epoch {}", 100 * summary.best_test_accuracy_at_final_density,
                        summary.best_epoch_at_final_density)
          : "not recorded";
  const std::string accuracy =
      fmt::format("{} accuracy {:.2f} %", summary.evaluated_on, 100 * summary.test_accuracy);
  say("{}",
      line(
          {out().paint(Style::good, accuracy), fmt::format("(best at the final density {}),", best),
           fmt::format("sparsity {:.2f} %,", 100 * summary.sparsity),
           counted(summary.epochs, "epoch") + ",",
           fmt::format("{:.3f} of one dense cycle's training FLOPs,", summary.train_flops_vs_dense),
           duration_text(summary.seconds)}));
  if (summary.seconds_dense > 0)
    say("{}", line({fmt::format("with dense kernels {}", duration_text(summary.seconds_dense)),
                    fmt::format("({:.2f} times as long, as timed on a few steps)",
                                summary.seconds_dense / summary.seconds)}));
  say("run folder {}\n", folder.root().string());
}

}  // namespace sculpt
