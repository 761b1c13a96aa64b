#include "apps/sculpt_run/preflight.h"

#include <algorithm>
#include <optional>
#include <set>

#include "apps/sculpt_run/table.h"
#include "data/registry.h"
#include "engine/core/error.h"
#include "engine/dist/shards.h"
#include "engine/masks/mask_checks.h"
#include "engine/plan/plan_cost.h"
#include "engine/run/run_store.h"
#include "engine/sparse/criteria.h"
#include "kernels/common/layout.h"

namespace sculpt {
namespace {

bool needs_data(const Plan& plan) {
  return std::ranges::any_of(plan, [](const PlanStep& step) {
    const auto* prune = std::get_if<PruneStep>(&step);
    return prune != nullptr && find_criterion(prune->criterion).needs_data;
  });
}

/// Returns the node that needs the most images in a training batch.
const Node& most_demanding(const Network& network) {
  const auto least = [](const auto& node) { return node->least_training_batch(); };
  return **std::ranges::max_element(network.graph().nodes(), {}, least);
}

void check_parts(const TrainOptions& train) {
  if (train.accumulate > train.batch)
    fail("train.accumulate = {} is more than the {} of a step; lower it", train.accumulate,
         counted(train.batch, "image"));
}

void check_epochs(const TrainOptions& train, const BatchSource& source) {
  if (source.steps_per_epoch() > 0) return;
  fail(
      "an epoch has no step: train.drop_last leaves out batches of fewer than train.batch = {} "
      "images, but there are only {}; lower train.batch",
      train.batch, source.size());
}

/// The accuracies of two networks on fewer images than these differ mostly by luck.
constexpr int64_t kFewValidationImages = 100;

/// Returns a warning if the share data.val_split holds out too few images; "" otherwise.
std::string few_validation_images(const data::DataOptions& data, int64_t images) {
  if (data.val_split == 0 || images >= kFewValidationImages) return "";
  return fmt::format(
      "data.val_split = {} holds out only {}, so that every accuracy is a multiple of "
      "{:.3g} %; raise data.val_split",
      data.val_split, counted(images, "image"), 100.0 / static_cast<double>(images));
}

/// Returns true if batch norm uses the statistics of each rank's own images.
bool has_own_statistics(const Network& network) {
  return network.execution().ranks->size() > 1 && !network.execution().sync_batch_norm;
}

/// Returns the fewest images over which batch norm computes statistics in a step of `images`. A
/// rank without images computes none.
int64_t fewest_images(const Network& network, int64_t images) {
  const int sharers = has_own_statistics(network) ? network.execution().ranks->size() : 1;
  const int parts = network.parts_of(images);
  int64_t fewest = images;
  for (int index = 0; index < parts; ++index)
    for (int rank = 0; rank < sharers; ++rank)
      if (const int64_t count = share_of_part(images, {index, parts}, rank, sharers).count;
          count > 0)
        fewest = std::min(fewest, count);
  return fewest;
}

/// Returns what divides a step of `images`: "in 2 parts on 4 ranks has".
std::string divided(const Network& network, int64_t images) {
  const int parts = network.parts_of(images);
  std::string text;
  if (parts > 1) text += fmt::format("in {} parts ", parts);
  if (has_own_statistics(network))
    text += fmt::format("on {} ranks ", network.execution().ranks->size());
  return text + "has";
}

/// Throws Error if the smallest batch of an epoch, or of the images to score, is too small for a
/// layer.
void check_batches(const Request& request, Experiment& experiment) {
  const Network& network = experiment.network();
  const Node& node = most_demanding(network);
  const int64_t least = node.least_training_batch();
  const auto what = [&] {
    const kernels::ActivationShape& shape = network.graph().shape(node.output);
    return fmt::format(
        "but batch norm '{}' has planes of {}x{} and needs {} images for its statistics",
        node.info.name, shape.height, shape.width, least);
  };
  const BatchSource& source = experiment.train();
  const int64_t batch = source.batch_size(), rest = source.images_per_epoch() % batch;
  if (source.size() < least)
    fail("there is {} image to train on, {}; raise data.train_limit", source.size(), what());
  if (batch < least) fail("a step has {} image, {}; raise train.batch", batch, what());
  const int64_t of_batch = fewest_images(network, batch);
  if (of_batch < least)
    fail("a step of {} images {} {} image at a time, {}; {}", batch, divided(network, batch),
         of_batch, what(),
         has_own_statistics(network) ? "set dist.sync_batch_norm = on" : "lower train.accumulate");
  const int64_t of_rest = rest > 0 ? fewest_images(network, rest) : least;
  if (of_rest < least && of_rest == rest)
    fail(
        "the last batch of an epoch has {} image ({} images in batches of {}), {}; set "
        "train.drop_last = true or change train.batch",
        rest, source.size(), batch, what());
  if (of_rest < least)
    fail(
        "the last batch of an epoch, of {} images, {} {} image at a time, {}; set "
        "train.drop_last = true{}, or change train.batch",
        rest, divided(network, rest), of_rest, what(),
        has_own_statistics(network) ? " or dist.sync_batch_norm = on" : "");

  if (!needs_data(request.plan)) return;
  const int64_t scored = request.options.prune.score_images_per_class * source.classes();
  const int64_t pieces = kernels::ceil_div(scored, network.max_batch());
  if (scored / pieces < least)
    fail("a batch of {} images to score is cut into pieces of {}, {}; raise train.batch", scored,
         scored / pieces, what());
}

void check_score_images(const Request& request, Experiment& experiment, bool labels_known) {
  if (!needs_data(request.plan)) return;
  experiment.require_images_to_score(request.options.prune.score_images_per_class, labels_known);
}

/// Adds a warning for each rule with a cycle in which it changes masks never or only a few times.
void add_warnings_of_rules(const Request& request, const BatchSource& source, const PlanCost& cost,
                           std::vector<std::string>& warnings) {
  std::set<std::string> warned;
  for (size_t i = 0; i < request.plan.size(); ++i) {
    const auto* const cycle = std::get_if<Cycle>(&request.plan[i]);
    if (cycle == nullptr || cycle->rule.empty() || warned.contains(cycle->rule)) continue;
    const int64_t per_epoch = source.steps_per_epoch();
    const MaskRule& rule = find_mask_rule(cycle->rule);
    std::string text = few_changes_warning(
        rule,
        {.steps = cycle->epochs * per_epoch, .first = cycle->first_epoch * per_epoch, .range = {}},
        request.options.masks);
    if (!rule.changes_density && cost.steps[i].density == 1)
      text = fmt::format(
          "{} exchanges masked weights for others, but no weight is masked; prune before",
          rule.name);
    if (text.empty()) continue;
    warned.insert(cycle->rule);
    warnings.push_back(
        fmt::format("step {} of the plan, \"{}\": {}", i + 1, describe(request.plan[i]), text));
  }
}

void check_profile(const Request& request, const BatchSource& source) {
  if (!request.profiled_steps) return;
  const int64_t steps = total_epochs(request.plan) * source.steps_per_epoch();
  if (request.profiled_steps->first >= steps)
    fail("--profile begins at step {}, but the run has {}, counted from 0",
         request.profiled_steps->first, counted(steps, "step"));
}

}  // namespace

CostSettings cost_settings(const Request& request, Experiment& experiment) {
  CostSettings settings{.images = experiment.train().images_per_epoch(),
                        .batch = request.options.train.batch,
                        .masks = request.options.masks};
  if (request.files)
    settings.stored = [&request](const Intervention& step) { return request.files->find(step); };
  return settings;
}

std::vector<std::string> check_before_run(const Request& request, Experiment& experiment,
                                          bool labels_known) {
  const TrainOptions& train = request.options.train;
  const BatchSource& source = experiment.train();
  check_parts(train);
  check_epochs(train, source);
  check_batches(request, experiment);
  check_score_images(request, experiment, labels_known);
  check_profile(request, source);
  if (request.start == Start::go_on)
    RunStore(request.folder, request.config_hash).check_rewinds(request.plan);

  std::vector<std::string> warnings;
  const PlanCost cost =
      plan_cost(request.plan, experiment.network(), cost_settings(request, experiment));
  add_warnings_of_rules(request, source, cost, warnings);
  std::vector<std::string> empty;
  for (size_t i = 0; i < request.plan.size(); ++i) {
    if (cost.steps[i].empty_layers.size() <= empty.size()) continue;
    empty = cost.steps[i].empty_layers;
    warnings.push_back(fmt::format("step {} of the plan, \"{}\", leaves no weight in {}", i + 1,
                                   describe(request.plan[i]), fmt::join(empty, ", ")));
  }
  if (train.batch > source.size())
    warnings.push_back(
        fmt::format("train.batch = {} is more than the {} training images, so an epoch is one step",
                    train.batch, source.size()));
  const std::string few = few_validation_images(request.options.data, experiment.test().size());
  if (!few.empty()) warnings.push_back(few);
  return warnings;
}

void require_images_for_all(const RunOptions& options, int ranks) {
  check_parts(options.train);
  const int64_t images = options.train.images_at_a_time();
  if (images >= ranks) return;
  const bool exact = options.dist.exact();
  const char* const logical = exact ? "logical " : "";
  const char* const fewer = exact ? "lower dist.logical_ranks" : "use fewer ranks";
  if (options.train.accumulate == 1)
    throw UsageError(
        fmt::format("train.batch = {} is fewer than the {} {}ranks; use a larger batch or {}",
                    options.train.batch, ranks, logical, fewer));
  throw UsageError(
      fmt::format("train.batch = {} in train.accumulate = {} parts has {} at a time, fewer than "
                  "the {} {}ranks; "
                  "use a larger batch or fewer parts, or {}",
                  options.train.batch, options.train.accumulate, counted(images, "image"), ranks,
                  logical, fewer));
}

void require_logical_ranks(const DistOptions& dist, int ranks) try {
  if (dist.exact()) sculpt::require_logical_ranks(dist.logical_ranks, ranks);
} catch (const Error& error) {
  throw UsageError(fmt::format("dist.reduction = exact: {}", error.what()));
}

void require_ranks_fit(const RunOptions& options, int ranks) {
  require_logical_ranks(options.dist, ranks);
  const bool exact = options.dist.exact();
  require_images_for_all(options, exact ? static_cast<int>(options.dist.logical_ranks) : ranks);
}

PlannedExperiment experiment_for_plan(const Request& request, const kernels::Device& device) {
  const data::DataOptions& data = request.options.data;
  PlannedExperiment planned;
  planned.labels_known = data::labels_without_files(data);
  if (needs_data(request.plan) && !planned.labels_known) {
    try {
      planned.experiment = std::make_unique<Experiment>(
          request.options, device, load_run_data(request.options, Images::real));
      planned.labels_known = true;
      return planned;
    } catch (const Error&) {
      planned.note =
          "The data set could not be read, so it was not checked whether each class has enough "
          "images to score.\n";
    }
  }
  planned.experiment = std::make_unique<Experiment>(request.options, device,
                                                    load_run_data(request.options, Images::blank));
  return planned;
}

}  // namespace sculpt
