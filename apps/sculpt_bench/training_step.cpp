#include "apps/sculpt_bench/training_step.h"

#include <chrono>
#include <fmt/format.h>
#include <string>

#include "kernels/device/conv_library.h"
#include "kernels/device/device.h"
#include "models/registry.h"

namespace sculpt::bench {

namespace {

void warn(const std::string& text) {
  fmt::print(stderr, "warning: {}\n", text);
}

/// Warns if the library could not run some passes, because the times would otherwise be taken for
/// the library's.
void warn_about_fallbacks(const kernels::Device& device) {
  if (device.chooser == nullptr) return;
  const std::string fallbacks = kernels::describe_fallbacks(*device.chooser);
  if (!fallbacks.empty()) warn(fallbacks);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

NetworkSpec network_spec(const StepOptions& options) {
  models::ModelOptions model;
  model.name = options.model;
  model.width = options.width;
  model.stem = options.image_size > 64 ? "imagenet" : "cifar";
  NetworkSpec spec;
  spec.model = models::make_model(model, options.classes);
  spec.image = {3, options.image_size, options.image_size};
  spec.classes = options.classes;
  return spec;
}

TrainingStep::TrainingStep(const StepOptions& options) : options_(options) {
  Execution execution = options.execution;
  const kernels::Device device =
      kernels::open_device(options.device, execution.precision, execution.conv, warn);
  execution.layers.chooser = device.chooser;
  if (execution.layers.sparse == SparseKernels::tuned && device.chooser == nullptr) {
    tuned_ = std::make_unique<kernels::Chooser>(kernels::ChoiceFile({}, "", warn));
    execution.layers.chooser = tuned_.get();
  }
  prepare(*device.backend, execution);
  warn_about_fallbacks(device);
}

TrainingStep::TrainingStep(const StepOptions& options, const kernels::Backend& backend)
    : options_(options) {
  prepare(backend, options.execution);
}

void TrainingStep::prepare(const kernels::Backend& backend, const Execution& execution) {
  const NetworkSpec spec = network_spec(options_);
  network_ = std::make_unique<Network>(spec, backend, options_.batch, execution);
  network_->initialise(1);
  optimizer_ = make_optimizer(network_->parameters(), OptimOptions{});
  recorder_ = std::make_unique<StepRecorder>(network_->graph().backend().recording);

  source_ = std::make_unique<RandomImages>(spec.image, options_.classes, options_.batch);
  feed_ = std::make_unique<BatchFeed>(*network_, *source_);
  feed_->start_epoch(0, 0);
}

void TrainingStep::run() {
  const double start = now();
  if (feed_->next() == 0) {
    feed_->start_epoch(0, 0);
    feed_->next();
  }
  load_seconds += now() - start;
  network_->begin_step(0);
  // The rate is small, so that hundreds of steps on noise stay finite.
  optimizer_->begin_step(1e-4);
  recorder_->run({options_.batch}, [&] {
    feed_->load();
    network_->forward_adding(Mode::train);
    network_->backward();
    const double update = now();
    optimizer_->step();
    update_seconds += now() - update;
  });
}

}  // namespace sculpt::bench
