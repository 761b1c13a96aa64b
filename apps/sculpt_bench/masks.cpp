#include "apps/sculpt_bench/masks.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "data/loader.h"
#include "data/registry.h"
#include "data/split.h"
#include "engine/config/config.h"
#include "engine/core/error.h"
#include "engine/run/checkpoint.h"
#include "engine/run/run_folder.h"
#include "engine/sparse/prune.h"

namespace sculpt::bench {

namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> mask_of(const ParameterArena& parameters) {
  const auto masks = parameters.masks();
  return {masks.begin(), masks.end()};
}

void prune_to(Network& network, const char* criterion, const char* allocation, double sparsity) {
  if (sparsity == 0) return;
  prune(ScoreContext{network, 1, {}, {}, {}}, {criterion, allocation, 1 - sparsity});
}

/// The network is on the CPU, whatever device the benchmark uses.
std::unique_ptr<Network> network_of(const StepOptions& step) {
  auto network = std::make_unique<Network>(network_spec(step), kernels::cpu_backend(), step.batch);
  network->initialise(1);
  return network;
}

void train(Network& network, int64_t steps) {
  data::DataOptions options;  // the defaults are the built-in images
  options.synthetic_train = std::max(options.synthetic_train, network.max_batch());
  const data::DataSplits images = data::load(options, 1);
  const auto source =
      data::make_train_loader(images.train, options, {.batch = network.max_batch(), .seed = 1});
  if (source->image_shape() != network.spec().image)
    fail("--masks magnitude trains on images of 32x32 pixels; choose --image-size 32");
  BatchFeed feed(network, *source);
  const auto optimizer = make_optimizer(network.parameters(), OptimOptions{});
  for (int64_t step = 0, epoch = -1; step < steps; ++step) {
    if (epoch < 0 || feed.next() == 0) {
      feed.start_epoch(++epoch, 0);
      feed.next();
    }
    feed.load();
    network.forward(Mode::train, static_cast<uint64_t>(step));
    network.backward();
    optimizer->step(0.05);
  }
}

std::vector<MaskedModel> random_masks(const StepOptions& step, const MaskOptions& options) {
  std::vector<MaskedModel> made;
  const auto network = network_of(step);
  for (const double sparsity : options.sparsities) {
    network->initialise(1);
    prune_to(*network, "random", "uniform", sparsity);
    made.push_back({"random", step, mask_of(network->parameters())});
  }
  return made;
}

std::vector<MaskedModel> magnitude_masks(const StepOptions& step, const MaskOptions& options) {
  std::vector<MaskedModel> made;
  const auto network = network_of(step);
  train(*network, options.training);
  // The prunes go from low to high sparsity, so that each mask is a subset of the one before. The
  // weights do not change in between.
  std::vector<double> sparsities = options.sparsities;
  std::ranges::sort(sparsities);
  for (const double sparsity : sparsities) {
    prune_to(*network, "magnitude", "global", sparsity);
    made.push_back({"magnitude", step, mask_of(network->parameters())});
  }
  return made;
}

std::string unquoted(const std::string& toml) {
  return toml.size() >= 2 && toml.front() == '"' ? toml.substr(1, toml.size() - 2) : toml;
}

/// Sets the model and width of the config beside a checkpoint, if there is a config.
void take_config(StepOptions& step, const fs::path& config) {
  if (!fs::exists(config)) return;
  const auto values = flatten_config(read_text(config), config.string());
  if (const auto name = values.find("model.name"); name != values.end())
    step.model = unquoted(name->second);
  if (const auto width = values.find("model.width"); width != values.end())
    step.width = std::stod(width->second);
}

/// Returns the number of outputs of the last linear layer.
std::optional<int64_t> classes_of(const safetensors::File& file) {
  std::optional<int64_t> classes;
  for (const safetensors::Tensor& tensor : file.tensors())
    if (tensor.dtype == safetensors::Dtype::f32 && tensor.shape.size() == 2)
      classes = tensor.shape[0];
  return classes;
}

MaskedModel masks_of_run(StepOptions step, const std::string& source) {
  const RunFolder folder(source);
  const bool is_folder = fs::is_directory(source);
  if (is_folder) take_config(step, folder.config());
  const auto file = safetensors::File::read(
      is_folder ? folder.final_checkpoint() : fs::path(source), /*require_checksum=*/false);
  step.classes = classes_of(file).value_or(step.classes);
  const auto network = network_of(step);
  read_checkpoint(file, network->parameters(), {.masks = true, .optimizer = false});
  fs::path path = fs::path(source).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return {(is_folder ? path.filename() : path.stem()).string(), step,
          mask_of(network->parameters())};
}

}  // namespace

std::vector<MaskedModel> make_masks(const StepOptions& step, const MaskOptions& options) {
  std::vector<MaskedModel> made;
  for (const std::string& source : options.sources) {
    const bool pruned = source == "random" || source == "magnitude";
    if (pruned && options.sparsities.empty()) continue;
    if (source == "random")
      std::ranges::move(random_masks(step, options), std::back_inserter(made));
    else if (source == "magnitude")
      std::ranges::move(magnitude_masks(step, options), std::back_inserter(made));
    else
      made.push_back(masks_of_run(step, source));
  }
  return made;
}

void apply_mask(Network& network, const MaskedModel& masked) {
  network.parameters().edit_masks(
      [&](std::span<uint8_t> masks) { std::ranges::copy(masked.mask, masks.begin()); });
}

TrainingStep masked_step(const MaskedModel& model, SparseKernels kernels) {
  StepOptions options = model.step;
  options.execution.layers.sparse = kernels;
  TrainingStep step(options);
  apply_mask(step.network(), model);
  step.run();
  return step;
}

Sparsity sparsity_of(const ParameterArena& parameters) {
  Sparsity sparsity{1 - static_cast<double>(parameters.kept_count()) /
                            static_cast<double>(parameters.prunable_count()),
                    0, 1};
  for (size_t id = 0; id < parameters.parameters().size(); ++id) {
    const Parameter& parameter = parameters.parameters()[id];
    if (!parameter.prunable) continue;
    const double masked = 1 - parameters.pattern()->density(static_cast<ParameterId>(id));
    sparsity.most = std::max(sparsity.most, masked);
    sparsity.least = std::min(sparsity.least, masked);
  }
  return sparsity;
}

}  // namespace sculpt::bench
