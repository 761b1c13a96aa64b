#include "apps/sculpt_bench/conv_layers.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <vector>

#include "apps/sculpt_bench/comparison.h"
#include "apps/sculpt_bench/machine_rates.h"
#include "apps/sculpt_bench/pass_titles.h"
#include "engine/core/error.h"
#include "engine/core/random.h"

namespace sculpt::bench {

namespace {

using kernels::ActivationShape;
using kernels::Backend;
using kernels::Conv2dShape;
using kernels::ConvPass;
using kernels::Launch;

constexpr int64_t kErrorBatch = 16;
const char* const kWhat = "a convolution to be timed";

std::vector<float> normal_values(int64_t count, uint64_t stream) {
  const RandomStream random(1, Purpose::test, stream);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = random.normal(i);
  return values;
}

/// Holds the arrays of one convolution on one backend.
class Layer {
 public:
  Layer(const Backend& backend, const Conv2dShape& shape, int64_t batch)
      : backend_(backend),
        shape_(shape),
        launch_{batch, backend.stream},
        x_(bytes_of(shape.in), kWhat),
        y_(bytes_of(shape.out), kWhat),
        dx_(bytes_of(shape.in), kWhat),
        dy_(bytes_of(shape.out), kWhat),
        weight_(static_cast<size_t>(shape.weight_count()) * backend.parameter_bytes, kWhat),
        dweight_(weight_.bytes(), kWhat),
        workspace_(workspace_bytes(), kWhat) {
    fill(x_, shape.in, 1);
    fill(dy_, shape.out, 2);
    const std::vector<float> values = normal_values(shape.weight_count(), 3);
    for (size_t i = 0; i < values.size(); ++i)
      if (backend.parameter_bytes == sizeof(double))
        weight_.as<double>()[i] = values[i];
      else
        weight_.as<float>()[i] = values[i];
  }

  void run(ConvPass pass, bool winograd) {
    const auto& direct = backend_.conv2d;
    const auto& fast = backend_.winograd;
    void *x = cells(x_, shape_.in), *y = cells(y_, shape_.out);
    void *dx = cells(dx_, shape_.in), *dy = cells(dy_, shape_.out);
    void *w = weight_.data(), *dw = dweight_.data(), *scratch = workspace_.data();
    switch (pass) {
      case ConvPass::forward:
        return (winograd ? fast.forward : direct.forward)(
            {.y = y, .x = x, .weight = w, .workspace = scratch, .launch = launch_}, shape_);
      case ConvPass::input_grad:
        return (winograd ? fast.input_grad : direct.input_grad)(
            {.dx = dx, .dy = dy, .weight = w, .workspace = scratch, .launch = launch_}, shape_);
      case ConvPass::weight_grad:
        return (winograd ? fast.weight_grad : direct.weight_grad)(
            {.dweight = dw, .dy = dy, .x = x, .workspace = scratch, .launch = launch_}, shape_);
    }
  }

  /// Returns the output of the last run of the pass.
  std::vector<float> result(ConvPass pass) {
    if (pass == ConvPass::forward) return values(y_, shape_.out);
    if (pass == ConvPass::input_grad) return values(dx_, shape_.in);
    std::vector<float> result(static_cast<size_t>(shape_.weight_count()));
    for (size_t i = 0; i < result.size(); ++i)
      result[i] = backend_.parameter_bytes == sizeof(double)
                      ? static_cast<float>(dweight_.as<double>()[i])
                      : dweight_.as<float>()[i];
    return result;
  }

 private:
  size_t bytes_of(const ActivationShape& shape) const {
    const int64_t cells = shape.buffer_cells(backend_.blocks(launch_.batch));
    return static_cast<size_t>(cells * backend_.lanes) * backend_.activation_bytes;
  }
  size_t workspace_bytes() const {
    const size_t direct = backend_.conv2d.workspace_bytes(shape_, launch_.batch);
    if (backend_.winograd.workspace_bytes == nullptr) return direct;
    return std::max(direct, backend_.winograd.workspace_bytes(shape_, launch_.batch));
  }
  /// Returns the address of cell 0 of the activation. The buffer begins with guard cells.
  void* cells(Buffer& buffer, const ActivationShape& shape) const {
    const auto guard = static_cast<size_t>(shape.guard_cells() * backend_.lanes);
    return buffer.data() + guard * backend_.activation_bytes;
  }
  void fill(Buffer& buffer, const ActivationShape& shape, uint64_t stream) {
    const auto values = normal_values(launch_.batch * shape.elements_per_image(), stream);
    backend_.input.load_f32(cells(buffer, shape), values.data(), shape, launch_);
  }
  std::vector<float> values(Buffer& buffer, const ActivationShape& shape) const {
    std::vector<float> values(static_cast<size_t>(launch_.batch * shape.elements_per_image()));
    backend_.input.store_f32(values.data(), cells(buffer, shape), shape, launch_);
    return values;
  }

  const Backend& backend_;
  Conv2dShape shape_;
  Launch launch_;
  Buffer x_, y_, dx_, dy_, weight_, dweight_, workspace_;
};

double relative_error(const std::vector<float>& values, const std::vector<float>& exact) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - double{exact[i]}, 2);
    norm += std::pow(double{exact[i]}, 2);
  }
  return std::sqrt(error / norm);
}

/// Returns the different 3x3 convolutions of the network whose output planes are as large as their
/// input planes.
std::vector<Conv2dShape> shapes_of(const Graph& graph) {
  std::vector<Conv2dShape> shapes;
  for (const auto& node : graph.nodes()) {
    if (node->info.op != "conv2d") continue;
    const auto& weight = graph.parameters()[node->info.weight].shape;
    Conv2dShape shape{.in = graph.shape(node->inputs[0]),
                      .out = graph.shape(node->output),
                      .kernel_h = weight[2],
                      .kernel_w = weight[3],
                      .padding = 1};
    if (!kernels::winograd_fits(shape) || weight[1] != shape.in.channels ||
        shape.in.height != shape.out.height || shape.in.width != shape.out.width)
      continue;
    const bool known = std::ranges::any_of(
        shapes, [&](const Conv2dShape& s) { return s.in == shape.in && s.out == shape.out; });
    if (!known) shapes.push_back(shape);
  }
  return shapes;
}

void print_pass(const Backend& backend, const Conv2dShape& shape, ConvPass pass, Layer& timed,
                int64_t batch, const MachineRates& rates, int rounds, double least_seconds) {
  Layer exact(kernels::reference_backend(), shape, kErrorBatch),
      tested(backend, shape, kErrorBatch);
  exact.run(pass, false);
  double errors[2];
  for (const bool winograd : {false, true}) {
    tested.run(pass, winograd);
    errors[winograd] = relative_error(tested.result(pass), exact.result(pass));
    timed.run(pass, winograd);  // this call warms up
  }
  const Timed times = compare([&] { timed.run(pass, false); }, [&] { timed.run(pass, true); },
                              rounds, least_seconds);
  const Cost direct_sums{.flops = 2.0 * static_cast<double>(shape.macs() * batch)};
  const double floor = floor_of(direct_sums, rates).arithmetic_seconds;
  fmt::print(
      "| {}x{}x{} -> {} | {} | {:.2f} | {:.2f} | {:.2f} | {} | {:.1e} | {:.1e} | {:.3g} | {:.3g} "
      "|\n",
      shape.in.channels, shape.in.height, shape.in.width, shape.out.channels, title_of(pass),
      1e3 * times.usual_seconds(), 1e3 * times.other_seconds(), median(times.ratios()),
      backend.winograd.pays(shape, batch) ? "yes" : "no", errors[0], errors[1],
      floor / times.usual_seconds(), floor / times.other_seconds());
  std::fflush(stdout);
}

}  // namespace

void print_conv_layers(const StepOptions& options, int rounds, double least_seconds) {
  std::vector<Conv2dShape> shapes;
  const Backend* backend = nullptr;
  {
    TrainingStep step(options);
    backend = &step.network().graph().backend();
    shapes = shapes_of(step.network().graph());
  }
  if (backend->winograd.forward == nullptr)
    fail("the backend {} has no Winograd kernels; use --device cpu", backend->name);
  if (shapes.empty())
    fail("{} has no convolution that Winograd's algorithm can compute; choose another --model",
         options.model);
  const MachineRates rates = measure_machine();
  fmt::print("{}, batch {}, {}, medians of {} rounds. Machine: {:.0f} GFLOP/s, as measured now.\n",
             options.model, options.batch, backend->name, rounds, rates.flops_per_second * 1e-9);
  fmt::print(
      "The columns \"/ peak\" say which share of this rate the multiply-adds of the direct sums "
      "reach in that time; Winograd's algorithm needs fewer, so its share can be above 1.\n\n"
      "| layer | pass | direct, ms | Winograd, ms | ratio | chosen | error, direct | error, "
      "Winograd | direct / peak | Winograd / peak |\n|---|---|---|---|---|---|---|---|---|---|\n");
  for (const Conv2dShape& shape : shapes) {
    Layer timed(*backend, shape, options.batch);
    for (const ConvPass pass : kernels::kConvPasses)
      print_pass(*backend, shape, pass, timed, options.batch, rates, rounds, least_seconds);
  }
}

}  // namespace sculpt::bench
