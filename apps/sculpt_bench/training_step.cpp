#include "apps/sculpt_bench/training_step.h"

#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <string>

#include "engine/core/random.h"
#include "kernels/device.h"
#include "models/registry.h"

namespace sculpt::bench {

namespace {

void warn(const std::string& text) {
  fmt::print(stderr, "warning: {}\n", text);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

TrainingStep::TrainingStep(const StepOptions& options)
    : options_(options), normalization_{{0.49f, 0.48f, 0.45f}, {0.25f, 0.24f, 0.26f}} {
  models::ModelOptions model;
  model.name = options.model;
  model.width = options.width;
  model.stem = options.image_size > 64 ? "imagenet" : "cifar";
  NetworkSpec spec;
  spec.model = models::make_model(model, options.classes);
  spec.image = {3, options.image_size, options.image_size};
  spec.classes = options.classes;
  network_ = std::make_unique<Network>(
      spec, *kernels::open_device(options.device, options.precision, options.conv, warn).backend,
      options.batch);
  network_->initialise(1);
  optimizer_ = std::make_unique<Sgd>(network_->parameters(), OptimOptions{});

  const RandomStream stream(1, Purpose::test);
  images_.resize(static_cast<size_t>(options.batch * spec.image.count()));
  for (size_t i = 0; i < images_.size(); ++i)
    images_[i] = static_cast<uint8_t>(stream.word(i));
  labels_.resize(static_cast<size_t>(options.batch));
  for (size_t i = 0; i < labels_.size(); ++i)
    labels_[i] = static_cast<int32_t>(i % static_cast<size_t>(options.classes));
}

void TrainingStep::run() {
  const double start = now();
  network_->load({images_.data(), labels_.data(), options_.batch}, normalization_);
  load_seconds += now() - start;
  network_->forward_adding(Mode::train);
  network_->backward();
  const double update = now();
  // Small, so that hundreds of steps on noise stay finite.
  optimizer_->step(1e-4);
  update_seconds += now() - update;
}

int64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;)
    if (key == "VmHWM:") {
      int64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

}  // namespace sculpt::bench
