#pragma once
// Builds models layer by layer. A builder registers parameters under PyTorch's names and records
// the layers' ops. Models use nothing else.

#include <string>
#include <string_view>
#include <vector>

#include "engine/autograd/graph.h"
#include "engine/ops/kernel_settings.h"

namespace sculpt {

/// The options of Kaiming initialisation (He et al. 2015).
struct KaimingOptions {
  bool fan_out = true;               ///< false: fan_in
  bool normal = true;                ///< false: uniform
  double gain = 1.4142135623730951;  ///< sqrt(2): followed by ReLU
};

struct Initialisation {
  enum class Kind { constant, normal, uniform } kind = Kind::constant;
  float value = 0;  ///< the constant, the standard deviation, or the bound of [-b, b)
};

struct ConvOptions {
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t padding = -1;  ///< -1: kernel / 2
  int64_t groups = 1;
  bool bias = false;
};

struct NormOptions {
  bool relu = false;
  Value residual = {};  ///< added before the ReLU, if any
};

class Builder {
 public:
  /// `kernels` is for all layers with a weight.
  Builder(Graph& graph, std::vector<Initialisation>& initialisations, const KernelSettings& kernels)
      : graph_(graph), initialisations_(initialisations), kernels_(kernels) {}

  /// Adds a prefix to layer names: scope("layer1.0") leads to "layer1.0.conv1". Nested scopes are
  /// joined by dots.
  class Scope {
   public:
    Scope(Builder& builder, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Builder& builder_;
    size_t restore_;
  };

  Value conv(std::string_view name, Value x, int64_t out_channels, ConvOptions options = {});
  /// Adds a batch norm, optionally fused with a residual add and ReLU.
  Value batch_norm(std::string_view name, Value x, NormOptions options = {});
  Value linear(std::string_view name, Value x, int64_t out_features, bool bias = true);
  Value relu(Value x);
  Value add(Value a, Value b);
  Value max_pool(Value x, int64_t kernel, int64_t stride, int64_t padding = 0);
  Value average_pool(Value x, int64_t kernel, int64_t stride, int64_t padding = 0);
  Value global_average_pool(Value x);
  Value flatten(Value x);
  Value dropout(Value x, double rate);

  int64_t channels(Value v) const { return graph_.shape(v).channels; }
  int64_t height(Value v) const { return graph_.shape(v).height; }
  int64_t width(Value v) const { return graph_.shape(v).width; }
  Graph& graph() { return graph_; }
  void set_kaiming(KaimingOptions kaiming) { kaiming_ = kaiming; }

 private:
  std::string full(std::string_view name) const;
  ParameterId parameter(const std::string& name, ParameterKind kind, std::vector<int64_t> shape,
                        Initialisation init);
  Initialisation kaiming(int64_t fan_in, int64_t fan_out) const;

  Graph& graph_;
  std::vector<Initialisation>& initialisations_;
  KernelSettings kernels_;
  KaimingOptions kaiming_;
  std::string prefix_;
  int dropouts_ = 0;
};

}  // namespace sculpt
