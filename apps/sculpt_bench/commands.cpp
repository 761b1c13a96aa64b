#include "apps/sculpt_bench/commands.h"

#include <fmt/format.h>
#include <map>
#include <memory>
#include <string>

#include "apps/sculpt_bench/break_even.h"
#include "apps/sculpt_bench/choices.h"
#include "apps/sculpt_bench/conv_layers.h"
#include "apps/sculpt_bench/floors.h"
#include "apps/sculpt_bench/hessian_step.h"
#include "apps/sculpt_bench/kernel_times.h"
#include "apps/sculpt_bench/profile.h"
#include "apps/sculpt_bench/serve.h"
#include "apps/sculpt_bench/sparse_step.h"
#include "engine/core/error.h"

namespace sculpt::bench {
namespace {

std::map<std::string, SparseKernels> sparse_kernels_by_name() {
  return {{"auto", SparseKernels::automatic},
          {"tuned", SparseKernels::tuned},
          {"on", SparseKernels::on},
          {"off", SparseKernels::off}};
}

/// Replaces CLI::PositiveNumber, whose message prints the largest double with all of its digits.
CLI::Validator above_zero() {
  return {[](std::string& text) {
            double value = 0;
            const bool good = CLI::detail::lexical_cast(text, value) && value > 0;
            return good ? std::string() : fmt::format("{} is not a number above 0", text);
          },
          "POSITIVE"};
}

void add_model_options(CLI::App& app, StepOptions& step) {
  app.add_option("--model", step.model, "a model of sculpt_run")->capture_default_str();
  app.add_option("--width", step.width, "channel multiplier")
      ->check(above_zero())
      ->capture_default_str();
  app.add_option("--batch", step.batch, "images per step")
      ->check(above_zero())
      ->capture_default_str();
  app.add_option("--image-size", step.image_size, "height and width of an image, in pixels")
      ->check(above_zero())
      ->capture_default_str();
}

void add_execution_options(CLI::App& app, StepOptions& step) {
  app.add_option("--device", step.device, "same values as sculpt_run's --device")
      ->capture_default_str();
  app.add_option("--precision", step.execution.precision, "auto, fp32, tf32 or bf16")
      ->capture_default_str();
  app.add_option("--conv", step.execution.conv, "native, cudnn or auto")->capture_default_str();
  const std::map<std::string, bool> switches = {{"auto", true}, {"off", false}};
  app.add_option("--winograd", step.execution.layers.winograd,
                 "auto or off, same as execution.winograd")
      ->transform(CLI::CheckedTransformer(switches))
      ->default_str("auto");
  app.add_option("--sparse", step.execution.layers.sparse,
                 "same values as execution.sparse: auto, tuned, on or off")
      ->transform(CLI::CheckedTransformer(sparse_kernels_by_name()));
}

void add_mask_options(CLI::App& app, MaskOptions& masks) {
  app.add_option("--masks", masks.sources,
                 "random, magnitude (global, after some training on the built-in images), or run "
                 "folders and checkpoints, which also decide the model")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--sparsity", masks.sparsities,
                 "fractions that random and magnitude mask; if not given, sparse uses "
                 "0,0.5,0.8,0.9,0.95,0.98,0.99, and serve uses none")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 0.9999));
  app.add_option("--mask-training", masks.training, "steps that magnitude trains for")
      ->capture_default_str();
}

/// Adds the options of a comparison of two kinds of steps that alternate.
void add_block_options(CLI::App& command, int& rounds, double& least_seconds) {
  command.add_option("--rounds", rounds, "blocks of each kind, alternating")
      ->check(above_zero())
      ->capture_default_str();
  command.add_option("--seconds", least_seconds, "least seconds of a block")->capture_default_str();
}

/// Returns a step of the one network that the options describe, with its masks if they name any.
TrainingStep one_step(const SharedOptions& shared) {
  const std::vector<MaskedModel> masked = make_masks(shared.step, shared.masks);
  if (masked.size() > 1) fail("give one source of masks and one sparsity, for one network");
  TrainingStep step(masked.empty() ? shared.step : masked.front().step);
  if (!masked.empty()) apply_mask(step.network(), masked.front());
  return step;
}

/// Returns masks for the sparsities of the command line, or for `defaults` if it names none.
std::vector<MaskedModel> masks_or(const SharedOptions& shared, std::vector<double> defaults) {
  MaskOptions masks = shared.masks;
  if (masks.sparsities.empty()) masks.sparsities = std::move(defaults);
  return make_masks(shared.step, masks);
}

// Each function below adds a subcommand. The values of its options live as long as its `run`.

Command profile_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "profile", "times per op and per layer, compared with the rates of this machine");
  auto steps = std::make_shared<int>(20);
  parser->add_option("--steps", *steps, "steps to average over")->capture_default_str();
  return {
      parser, [&shared, steps] {
        TrainingStep step = one_step(shared);
        if (step.network().graph().backend().memory)
          fail("profile times only the CPU; use --device cpu, or for a GPU see docs/profiling.md");
        print_profile(step, *steps);
      }};
}

Command kernels_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "kernels",
      "times of each kernel separately, compared with the rates of copying and matrix products");
  auto least_seconds = std::make_shared<double>(0.05);
  parser
      ->add_option("--seconds", *least_seconds,
                   "least seconds for which the calls of a kernel are repeated")
      ->capture_default_str();
  return {parser, [&shared, least_seconds] {
            TrainingStep step = one_step(shared);
            print_kernel_times(step.network(), *least_seconds);
          }};
}

Command sparse_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "sparse", "steps of masked networks, on kernels that skip masked weights and on dense ones");
  auto options = std::make_shared<SparseStepOptions>();
  add_block_options(*parser, options->rounds, options->least_seconds);
  parser->add_flag("--layers", options->layers, "also time each convolution and pass separately");
  parser
      ->add_option("--layer-seconds", options->layer_seconds,
                   "least seconds of a block of one layer's pass")
      ->capture_default_str();
  return {parser, [&shared, options] {
            print_sparse_steps(masks_or(shared, {0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99}), *options);
          }};
}

Command conv_command(CLI::App& app, SharedOptions& shared) {
  auto* parser =
      app.add_subcommand("conv", "3x3 convolutions, by Winograd's algorithm and by direct kernels");
  auto rounds = std::make_shared<int>(5);
  auto least_seconds = std::make_shared<double>(1);
  add_block_options(*parser, *rounds, *least_seconds);
  return {parser, [&shared, rounds, least_seconds] {
            print_conv_layers(shared.step, *rounds, *least_seconds);
          }};
}

Command floors_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "floors", "bytes and FLOPs of a step's kernels on a GPU, as JSON; needs no GPU");
  return {parser, [&shared] { print_floors(shared.step); }};
}

Command choices_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "choices", "steps of masked networks, with kernels chosen by timing and by the rule");
  auto rounds = std::make_shared<int>(9);
  auto least_seconds = std::make_shared<double>(0.5);
  add_block_options(*parser, *rounds, *least_seconds);
  return {parser, [&shared, rounds, least_seconds] {
            print_choices(masks_or(shared, {0.8, 0.9, 0.95, 0.99}), *rounds, *least_seconds);
          }};
}

Command rule_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "rule",
      "densities up to which kernels that skip masked weights are faster, by layer and pass");
  auto options = std::make_shared<BreakEvenOptions>();
  parser->add_option("--densities", options->densities, "kept fractions that are timed")
      ->delimiter(',')
      ->check(CLI::Range(0.0001, 0.9999));
  parser
      ->add_option("--repeats", options->repeats,
                   "timings of each density, of which the shortest counts")
      ->check(above_zero())
      ->capture_default_str();
  return {parser, [&shared, options] { print_break_even(shared.step, *options); }};
}

Command hessian_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand(
      "hessian", "products with the Hessian, in training steps on as many images");
  auto options = std::make_shared<HessianStepOptions>();
  add_block_options(*parser, options->rounds, options->least_seconds);
  parser->add_option("--batches", options->batches, "batches of a product")
      ->check(above_zero())
      ->capture_default_str();
  parser->add_option("--directions", options->directions, "products that are computed together")
      ->check(above_zero())
      ->capture_default_str();
  return {parser, [&shared, options] {
            print_hessian_steps(masks_or(shared, {0, 0.9}), *options);
          }};
}

Command serve_command(CLI::App& app, SharedOptions& shared) {
  auto* parser = app.add_subcommand("serve", "run steps on request, for alternating benchmarks");
  return {parser, [&shared] {
            TrainingStep step = one_step(shared);
            serve(step, shared.step.batch);
          }};
}

}  // namespace

void add_shared_options(CLI::App& app, SharedOptions& shared) {
  add_model_options(app, shared.step);
  app.add_option("--threads", shared.threads, "number of threads; 0: one per core")
      ->capture_default_str();
  add_execution_options(app, shared.step);
  add_mask_options(app, shared.masks);
}

std::vector<Command> add_commands(CLI::App& app, SharedOptions& shared) {
  return {profile_command(app, shared), kernels_command(app, shared), sparse_command(app, shared),
          conv_command(app, shared),    floors_command(app, shared),  choices_command(app, shared),
          rule_command(app, shared),    hessian_command(app, shared), serve_command(app, shared)};
}

}  // namespace sculpt::bench
