#include "engine/run/records.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/file_format.h"
#include "engine/run/json_format.h"

namespace sculpt {
namespace {

using Json = nlohmann::ordered_json;

constexpr FileFormat kMetrics{"sculpt-metrics", 1}, kPrunes{"sculpt-prunes", 1},
    kLayers{"sculpt-layers", 1}, kSummary{"sculpt-summary", 1};
constexpr const char* kBest = "best_test_accuracy_at_final_density";

/// JSON cannot express NaN, so a value that was not measured is null.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

std::string_view kernel_name(kernels::Choice choice) {
  return choice == kernels::Choice::sparse ? "sparse" : "dense";
}

Json to_json(const kernels::PassKernels& kernels) {
  return {{"forward", kernel_name(kernels.forward)},
          {"input_grad", kernel_name(kernels.input_grad)},
          {"weight_grad", kernel_name(kernels.weight_grad)}};
}

/// Returns the seconds that the training steps would have taken if all of them had used dense
/// kernels. Not a number if all steps did use dense kernels, or if the time was not measured.
double train_seconds_dense(const RunState& state) {
  return state.dense.sparse_steps > 0 ? state.dense.total() : NAN;
}

/// Returns the seconds that the whole run would have taken with dense kernels; not a number as in
/// train_seconds_dense().
double seconds_dense(const RunState& state) {
  return state.seconds - state.dense.measuring - state.train_seconds + train_seconds_dense(state);
}

/// Returns a line for each layer, which begins with the values of `common`.
std::string layer_lines(const Json& common, const std::vector<LayerKept>& layers,
                        const LayerKernels& kernels) {
  std::string lines;
  for (const LayerKept& layer : layers) {
    Json line = common;
    line["layer"] = layer.name;
    line["shape"] = layer.shape;
    line["count"] = layer.count;
    line["kept"] = layer.kept;
    const auto of_layer = kernels.find(layer.name);
    if (of_layer != kernels.end()) line["kernels"] = to_json(of_layer->second);
    lines += line.dump() + "\n";
  }
  return lines;
}

}  // namespace

std::string to_json_line(const EpochMetrics& m) {
  Json line = {{"format", kMetrics.text()},
               {"cycle", m.cycle},
               {"cycle_epoch", m.cycle_epoch},
               {"epoch", m.epoch},
               {"lr", m.lr},
               {"train_loss", number(m.train_loss)},
               {"train_accuracy", number(m.train_accuracy)},
               {"test_loss", number(m.test_loss)},
               {"test_accuracy", number(m.test_accuracy)},
               {"density", m.density},
               {"images_per_second", m.images_per_second},
               {"seconds", m.seconds}};
  if (m.diverged) line["diverged"] = true;
  return line.dump() + "\n";
}

std::string to_json_line(const PruneMetrics& m) {
  Json line = {{"format", kPrunes.text()},
               {"plan_step", m.plan_step},
               {"epoch", m.epoch},
               {"criterion", m.step.criterion},
               {"allocation", m.step.allocation},
               {"density", m.step.density},
               {"prunable", m.prunable},
               {"kept", m.kept},
               {"test_loss", number(m.measured.now.loss)},
               {"test_accuracy", number(m.measured.now.accuracy)}};
  if (const auto& before = m.measured.before_reestimation) {
    line["reestimated_on"] = m.measured.reestimated_on;
    line["test_loss_before_reestimation"] = number(before->loss);
    line["test_accuracy_before_reestimation"] = number(before->accuracy);
  }
  return line.dump() + "\n";
}

std::string layer_lines(const PruneReport& report, const LayerKernels& kernels, int64_t plan_step,
                        int64_t epoch) {
  return layer_lines({{"format", kLayers.text()},
                      {"plan_step", plan_step},
                      {"epoch", epoch},
                      {"criterion", report.step.criterion},
                      {"allocation", report.step.allocation},
                      {"density", report.step.density}},
                     report.layers, kernels);
}

std::string layer_lines(const MaskReport& report, const LayerKernels& kernels, int64_t plan_step,
                        int64_t epoch) {
  return layer_lines(
      {{"format", kLayers.text()},
       {"plan_step", plan_step},
       {"epoch", epoch},
       {"changed_by", report.changed_by},
       {"density", ratio(static_cast<double>(report.kept), static_cast<double>(report.prunable))}},
      report.layers, kernels);
}

std::string summary_json(const RunIdentity& identity, const RunState& state, const RunCost& cost) {
  const double kept = static_cast<double>(cost.kept), prunable = static_cast<double>(cost.prunable);
  const Json summary = {
      {"format", kSummary.text()},
      {"method", identity.method},
      {"seed", identity.seed},
      {"prunable", cost.prunable},
      {"kept", cost.kept},
      {"sparsity", 1 - ratio(kept, prunable)},
      {"density_mean", number(ratio(state.density_sum, static_cast<double>(state.steps)))},
      {"test_accuracy", number(state.test_accuracy)},
      {kBest, number(state.best_test_accuracy_at_density)},
      {"best_epoch_at_final_density", state.best_epoch_at_density},
      {"test_loss", number(state.test_loss)},
      {"train_loss", number(state.train_loss)},
      {"epochs", state.epochs},
      {"steps", state.steps},
      {"train_flops", state.flops},
      {"train_flops_vs_dense", ratio(state.flops, cost.dense_cycle_flops)},
      {"seconds", state.seconds},
      {"seconds_dense", number(seconds_dense(state))},
      {"seconds_measuring_dense", state.dense.measuring},
      {"train_seconds", state.train_seconds},
      {"train_seconds_dense", number(train_seconds_dense(state))},
      {"sparse_steps", state.dense.sparse_steps},
      {"images_per_second", ratio(static_cast<double>(state.images), state.train_seconds)},
      {"peak_memory_bytes", cost.peak_memory_bytes},
      {"peak_device_memory_bytes", cost.peak_device_memory_bytes},
      {"device", identity.device},
      {"backend", identity.backend},
      {"threads", identity.threads},
      {"ranks", identity.ranks},
      {"model", identity.model},
      {"data", identity.data},
      {"evaluated_on", identity.evaluated_on},
      {"batch", identity.batch}};
  return summary.dump(2) + "\n";
}

FileFormat metrics_format() {
  return kMetrics;
}

FileFormat prunes_format() {
  return kPrunes;
}

FileFormat layers_format() {
  return kLayers;
}

FileFormat summary_format() {
  return kSummary;
}

RunSummary parse_summary(const std::string& json, const std::string& name) {
  const auto values = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!values.is_object()) fail("{} is damaged: it is not a JSON object", name);
  require_known(format_of(values), kSummary, name);
  const auto read = [&](const char* key, auto& value, bool required) {
    const auto found = values.find(key);
    if (found != values.end() && found->is_number())
      found->get_to(value);
    else if (required)
      fail("{} is damaged: '{}' is {}", name, key,
           found == values.end() ? "missing" : "not a number");
  };
  RunSummary summary;
  if (const auto found = values.find("evaluated_on"); found != values.end() && found->is_string())
    found->get_to(summary.evaluated_on);
  read("test_accuracy", summary.test_accuracy, true);
  read(kBest, summary.best_test_accuracy_at_final_density, false);
  read("best_epoch_at_final_density", summary.best_epoch_at_final_density, false);
  read("sparsity", summary.sparsity, true);
  read("prunable", summary.prunable, true);
  read("kept", summary.kept, true);
  read("epochs", summary.epochs, true);
  read("train_flops_vs_dense", summary.train_flops_vs_dense, true);
  read("seconds", summary.seconds, true);
  read("seconds_dense", summary.seconds_dense, false);
  return summary;
}

}  // namespace sculpt
