#include "engine/nn/builder.h"

#include <cmath>

#include "engine/ops/ops.h"

namespace sculpt {

Builder::Scope::Scope(Builder& builder, std::string_view name)
    : builder_(builder), restore_(builder.prefix_.size()) {
  builder_.prefix_ += name;
  builder_.prefix_ += '.';
}

Builder::Scope::~Scope() {
  builder_.prefix_.resize(restore_);
}

std::string Builder::full(std::string_view name) const {
  return prefix_ + std::string(name);
}

ParameterId Builder::parameter(const std::string& name, ParameterKind kind,
                               std::vector<int64_t> shape, Initialisation init) {
  initialisations_.push_back(init);
  return graph_.parameters().add(name, kind, std::move(shape));
}

Initialisation Builder::kaiming(int64_t fan_in, int64_t fan_out) const {
  const double fan = static_cast<double>(kaiming_.fan_out ? fan_out : fan_in);
  const double std_dev = kaiming_.gain / std::sqrt(fan);
  if (kaiming_.normal) return {Initialisation::Kind::normal, static_cast<float>(std_dev)};
  return {Initialisation::Kind::uniform, static_cast<float>(std::sqrt(3.0) * std_dev)};
}

namespace {

// Returns PyTorch's default for biases, and for linear weights in torchvision's models: U(-b, b)
// with b = 1 / sqrt(fan_in).
Initialisation uniform_by_fan_in(int64_t fan_in) {
  return {Initialisation::Kind::uniform,
          static_cast<float>(1 / std::sqrt(static_cast<double>(fan_in)))};
}

}  // namespace

Value Builder::conv(std::string_view name, Value x, int64_t out_channels, ConvOptions options) {
  const std::string layer = full(name);
  const int64_t in_per_group = channels(x) / options.groups;
  const int64_t taps = options.kernel * options.kernel;
  const auto weight = parameter(layer + ".weight", ParameterKind::conv_weight,
                                {out_channels, in_per_group, options.kernel, options.kernel},
                                kaiming(in_per_group * taps, out_channels / options.groups * taps));
  std::optional<ParameterId> bias;
  if (options.bias)
    bias = parameter(layer + ".bias", ParameterKind::bias, {out_channels},
                     uniform_by_fan_in(in_per_group * taps));
  const int64_t padding = options.padding < 0 ? options.kernel / 2 : options.padding;
  return ops::conv2d(graph_, layer, x, weight, bias, {options.stride, padding, options.groups},
                     kernels_);
}

Value Builder::batch_norm(std::string_view name, Value x, NormOptions options) {
  const std::string layer = full(name);
  const int64_t n = channels(x);
  ops::BatchNormParameters parameters;
  parameters.gamma = parameter(layer + ".weight", ParameterKind::norm_weight, {n},
                               {Initialisation::Kind::constant, 1});
  parameters.beta = parameter(layer + ".bias", ParameterKind::norm_bias, {n},
                              {Initialisation::Kind::constant, 0});
  parameters.running_mean = graph_.parameters().add_state(layer + ".running_mean", n, 0);
  parameters.running_var = graph_.parameters().add_state(layer + ".running_var", n, 1);
  ops::BatchNormOptions norm;
  norm.relu = options.relu;
  if (options.residual.index >= 0) norm.residual = options.residual;
  return ops::batch_norm(graph_, layer, x, parameters, norm);
}

Value Builder::linear(std::string_view name, Value x, int64_t out_features, bool bias) {
  const std::string layer = full(name);
  const int64_t in_features = channels(x);
  const auto weight = parameter(layer + ".weight", ParameterKind::linear_weight,
                                {out_features, in_features}, uniform_by_fan_in(in_features));
  std::optional<ParameterId> b;
  if (bias)
    b = parameter(layer + ".bias", ParameterKind::bias, {out_features},
                  uniform_by_fan_in(in_features));
  return ops::linear(graph_, layer, x, weight, b, kernels_);
}

Value Builder::relu(Value x) {
  return ops::relu(graph_, full("relu"), x);
}

Value Builder::add(Value a, Value b) {
  return ops::add(graph_, full("add"), a, b);
}

Value Builder::max_pool(Value x, int64_t kernel, int64_t stride, int64_t padding) {
  return ops::max_pool(graph_, full("maxpool"), x, {kernel, stride, padding});
}

Value Builder::average_pool(Value x, int64_t kernel, int64_t stride, int64_t padding) {
  return ops::average_pool(graph_, full("avgpool"), x, {kernel, stride, padding});
}

Value Builder::global_average_pool(Value x) {
  return ops::global_average_pool(graph_, full("avgpool"), x);
}

Value Builder::flatten(Value x) {
  return ops::flatten(graph_, full("flatten"), x);
}

Value Builder::dropout(Value x, double rate) {
  const int salt = dropouts_++;
  return ops::dropout(graph_, full("dropout"), x, static_cast<float>(rate),
                      static_cast<uint64_t>(salt));
}

}  // namespace sculpt
