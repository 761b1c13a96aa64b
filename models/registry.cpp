#include "models/registry.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/registry.h"
#include "models/models.h"

namespace sculpt::models {

namespace {

constexpr std::string_view kConvolutions =
    "model.init_fan model.init_distribution model.init_nonlinearity prune.first_conv";
constexpr std::string_view kStem =
    "model.init_fan model.init_distribution model.init_nonlinearity prune.first_conv "
    "model.stem";
constexpr std::string_view kDropout =
    "model.init_fan model.init_distribution model.init_nonlinearity prune.first_conv "
    "model.dropout";

constexpr ModelEntry kModels[] = {
    {"resnet20", resnet20, "CIFAR ResNet, 20 layers, 0.27 M parameters", kConvolutions},
    {"resnet32", resnet32, "CIFAR ResNet, 32 layers", kConvolutions},
    {"resnet44", resnet44, "CIFAR ResNet, 44 layers", kConvolutions},
    {"resnet56", resnet56, "CIFAR ResNet, 56 layers", kConvolutions},
    {"resnet110", resnet110, "CIFAR ResNet, 110 layers", kConvolutions},
    {"resnet18", resnet18, "ResNet-18, 11 M parameters; see model.stem", kStem},
    {"resnet34", resnet34, "ResNet-34; see model.stem", kStem},
    {"resnet50", resnet50, "ResNet-50 (bottlenecks); see model.stem", kStem},
    {"vgg11_bn", vgg11_bn, "VGG-11 with batch norm and one classifier layer", kDropout},
    {"vgg16_bn", vgg16_bn, "VGG-16 with batch norm and one classifier layer", kDropout},
    {"vgg19_bn", vgg19_bn, "VGG-19 with batch norm and one classifier layer", kDropout},
    {"mobilenet_v1", mobilenet_v1, "MobileNet v1 (depthwise convolutions), CIFAR strides",
     kConvolutions},
    {"mlp", mlp, "LeNet-300-100: three linear layers", "model.dropout"},
    {"lenet", lenet, "LeNet-5 with ReLU and max pooling", kDropout},
};

/// Returns the gain of torch.nn.init.calculate_gain.
double gain(const std::string& nonlinearity) {
  if (nonlinearity == "relu") return std::sqrt(2.0);
  return 1.0;
}

}  // namespace

void ModelOptions::visit(OptionVisitor& v) {
  v.choice("name", name, names_of(kModels), "the network");
  v.real("width", width, {.low = 0, .high = 64, .low_open = true},
         "multiplies every layer's channel count (rounded, at least 1)");
  v.choice("stem", stem, {"cifar", "imagenet"},
           "first layers of resnet18/34/50: 3x3 stride 1, or 7x7 stride 2 and max pooling");
  v.real("dropout", dropout, {.low = 0, .high = 1, .high_open = true},
         "dropout rate before the last layer of vgg, mlp and lenet");
  v.choice("init_fan", init_fan, {"fan_out", "fan_in"},
           "Kaiming initialisation of convolutions: which fan keeps its variance");
  v.choice("init_distribution", init_distribution, {"normal", "uniform"},
           "Kaiming initialisation of convolutions: the distribution");
  v.choice("init_nonlinearity", init_nonlinearity, {"relu", "linear"},
           "Kaiming initialisation of convolutions: gain sqrt(2) or 1");
  v.text("init_from", init_from,
         "safetensors file that the run starts from: a checkpoint of a run folder, or a file with "
         "the names and shapes of the usual PyTorch model; empty: the initialisation above");
  v.choice("init_parts", init_parts, {"both", "weights", "masks"},
           "what is taken from model.init_from: weights with batch-norm statistics, masks, or both "
           "(a file without masks then masks nothing)");
}

int64_t ModelContext::scaled(int64_t channels) const {
  return std::max<int64_t>(1, std::llround(static_cast<double>(channels) * options.width));
}

std::span<const ModelEntry> model_table() {
  return kModels;
}

ModelFunction make_model(const ModelOptions& options, int64_t classes) {
  const KaimingOptions kaiming{options.init_fan == "fan_out", options.init_distribution == "normal",
                               gain(options.init_nonlinearity)};
  return [record = find_row(kModels, options.name, "model").record, options, classes, kaiming](
             Builder& builder, Value images) {
    builder.set_kaiming(kaiming);
    return record(builder, images, ModelContext{options, classes});
  };
}

}  // namespace sculpt::models
