#include "engine/optim/soft_thresholds.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/core/error.h"

namespace sculpt {

using kernels::SoftThreshold;
using kernels::SoftThresholdArena;
using kernels::SoftThresholdRun;

namespace {

constexpr const char* kWhat = "the soft thresholds";
constexpr std::string_view kPrefix = "threshold.";

double sigmoid(double s) {
  return 1 / (1 + std::exp(-s));
}

/// Makes the weights of one layer those behind the threshold.
template <class T>
void apply(std::span<T> weights, double of_layer) {
  const auto threshold = static_cast<T>(of_layer);
  for (T& w : weights)
    w = w > threshold ? w - threshold : w < -threshold ? w + threshold : T{0};
}

/// Reads the three numbers of a value; throws Error if the text is something else.
SoftThreshold layer_from(const std::string& key, const std::string& text) {
  double numbers[3];
  const char* at = text.c_str();
  for (double& number : numbers) {
    char* end = nullptr;
    number = std::strtod(at, &end);
    if (end == at) fail("the value '{}' of the optimizer is '{}', not three numbers", key, text);
    at = end;
  }
  if (*at != '\0') fail("the value '{}' of the optimizer is '{}', not three numbers", key, text);
  return {.s = numbers[0], .momentum = numbers[1], .second = numbers[2]};
}

}  // namespace

void require_soft_thresholds(const OptimOptions& options) {
  if (options.ham)
    fail("the rule str trains thresholds and does not work with HAM; set optim.ham = false");
  if (options.sign_in > 0)
    fail("the rule str trains thresholds and does not work with Sign-In; set optim.sign_in = 0");
  if (options.ema > 0)
    fail(
        "the rule str trains thresholds and does not work with an average of weights; set "
        "optim.ema = 0");
}

SoftThresholds::SoftThresholds(ParameterArena& parameters)
    : parameters_(parameters), raw_(parameters.add_optimizer_array("raw")) {
  for (size_t id = 0; id < parameters.parameters().size(); ++id)
    if (parameters.parameters()[id].prunable) prunable_.push_back(static_cast<ParameterId>(id));
  const kernels::Backend& backend = parameters.backend();
  layers_ = MirroredBuffer(prunable_.size() * sizeof(SoftThreshold), kWhat, backend.memory);
}

void SoftThresholds::follow_layout() {
  if (layout_ == parameters_.layout()) return;
  layout_ = parameters_.layout();
  std::vector<SoftThresholdRun> runs;
  int64_t layer = 0;
  for (size_t id = 0; id < parameters_.parameters().size(); ++id) {
    const ParameterLayout& stored = (*layout_)[id];
    const bool prunable = parameters_.parameters()[id].prunable;
    if (!prunable && !runs.empty() && runs.back().layer < 0)
      runs.back().count += stored.count;
    else
      runs.push_back({stored.offset, stored.count, prunable ? layer++ : -1});
  }
  const kernels::Backend& backend = parameters_.backend();
  run_count_ = std::ssize(runs);
  const size_t bytes = runs.size() * sizeof(SoftThresholdRun);
  runs_ = MirroredBuffer(bytes, kWhat, backend.memory);
  if (bytes > 0) std::memcpy(runs_.edit_host(), runs.data(), bytes);
  workspace_ = Buffer(backend.soft_threshold.workspace_bytes(run_count_), kWhat, backend.memory);
}

void SoftThresholds::set(const std::vector<SoftThreshold>& layers) {
  auto* const values = reinterpret_cast<SoftThreshold*>(layers_.edit_host());
  for (size_t l = 0; l < layers.size(); ++l) {
    values[l] = layers[l];
    values[l].threshold = sigmoid(values[l].s);
  }
}

const SoftThreshold* SoftThresholds::layers() const {
  return reinterpret_cast<const SoftThreshold*>(layers_.host());
}

void SoftThresholds::begin(double initial) {
  set(std::vector<SoftThreshold>(prunable_.size(), SoftThreshold{.s = initial}));
  parameters_.store_dense();
  const auto split = [&]<class T>(T) {
    std::ranges::copy(parameters_.weights<T>(), parameters_.edit_optimizer_values<T>(raw_).begin());
    for (const ParameterId id : prunable_)
      apply(ParameterArena::slice(parameters_.edit_weights<T>(), parameters_[id]),
            sigmoid(initial));
  };
  parameters_.element_bytes() == sizeof(double) ? split(double{}) : split(float{});
  active_ = true;
}

void SoftThresholds::end() {
  active_ = false;
  parameters_.zero_optimizer_array(raw_);
}

std::vector<double> SoftThresholds::thresholds() const {
  std::vector<double> values;
  for (size_t l = 0; l < prunable_.size(); ++l)
    values.push_back(layers()[l].threshold);
  return values;
}

void SoftThresholds::begin_step() {
  follow_layout();
  runs_.device();
  layers_.edit_device();
}

void* SoftThresholds::edit_raw() {
  return parameters_.edit_stored_optimizer_array(raw_);
}

SoftThresholdArena SoftThresholds::arena() {
  follow_layout();
  return {.raw = edit_raw(),
          .runs = reinterpret_cast<const SoftThresholdRun*>(runs_.device()),
          .run_count = run_count_,
          .thresholds = reinterpret_cast<SoftThreshold*>(layers_.edit_device())};
}

void SoftThresholds::replace_gradients() {
  SoftThresholdArena parts = arena();
  parts.grad = parameters_.edit_stored_gradients();
  const kernels::Backend& backend = parameters_.backend();
  backend.soft_threshold.gradients(parts, workspace_.data(), backend.stream);
}

void SoftThresholds::finish_step(const kernels::UpdateScalars* scalars,
                                 const kernels::UpdateOptions& options, float weight_decay) {
  SoftThresholdArena parts = arena();
  parts.weight = parameters_.update_arena(nullptr, 0).weight;
  const kernels::Backend& backend = parameters_.backend();
  backend.soft_threshold.apply(parts, scalars, options, weight_decay, backend.stream);
}

void SoftThresholds::save(std::map<std::string, std::string>& values) const {
  if (!active_) return;
  for (size_t l = 0; l < prunable_.size(); ++l) {
    const SoftThreshold& layer = layers()[l];
    values[std::string(kPrefix) + parameters_[prunable_[l]].name] =
        fmt::format("{:a} {:a} {:a}", layer.s, layer.momentum, layer.second);
  }
}

void SoftThresholds::restore(const std::map<std::string, std::string>& values) {
  const auto first = values.lower_bound(std::string(kPrefix));
  active_ = first != values.end() && first->first.starts_with(kPrefix);
  if (!active_) return;
  std::vector<SoftThreshold> layers;
  for (const ParameterId id : prunable_) {
    const std::string key = std::string(kPrefix) + parameters_[id].name;
    const auto found = values.find(key);
    if (found == values.end())
      fail(
          "the checkpoint has no value '{}' of the optimizer, so it is of another network; start "
          "again",
          key);
    layers.push_back(layer_from(key, found->second));
  }
  set(layers);
}

}  // namespace sculpt
