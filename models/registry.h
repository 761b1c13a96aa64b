#pragma once
// This table has the models by name. A model is a function that records its layers with a Builder;
// names of layers and parameters are those of the usual PyTorch model, so that checkpoints can be
// exchanged.

#include <span>
#include <string>
#include <string_view>

#include "engine/core/option_visitor.h"
#include "engine/nn/network.h"

namespace sculpt::models {

struct ModelOptions {
  std::string name = "resnet20";
  double width = 1.0;          ///< multiplies all channel counts
  std::string stem = "cifar";  ///< resnet18/34/50: cifar or imagenet
  double dropout = 0;          ///< before the classifier; vgg, mlp and lenet
  std::string init_fan = "fan_out";
  std::string init_distribution = "normal";
  std::string init_nonlinearity = "relu";
  std::string init_from;  ///< a safetensors file; empty: the initialisation above
  std::string init_parts = "both";

  void visit(OptionVisitor& v);
};

/// The information that a model function receives besides its input.
struct ModelContext {
  const ModelOptions& options;
  int64_t classes = 10;
  /// Returns the number of channels after the width multiplier, which is at least 1.
  int64_t scaled(int64_t channels) const;
};

struct ModelEntry {
  std::string_view name;
  Value (*record)(Builder&, Value images, const ModelContext&);
  std::string_view summary;
  std::string_view reads;  ///< config keys that only some models read, separated by spaces
};

/// Returns all models, in the order of the documentation.
std::span<const ModelEntry> model_table();

/// Returns the recording function of options.name; throws Error that lists the names if there is
/// none.
ModelFunction make_model(const ModelOptions& options, int64_t classes);

}  // namespace sculpt::models
