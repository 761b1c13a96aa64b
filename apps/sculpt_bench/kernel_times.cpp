#include "apps/sculpt_bench/kernel_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <functional>
#include <limits>

#include "engine/core/random.h"
#include "engine/core/staging.h"
#include "engine/optim/optimizer.h"
#include "engine/sparse/kept_weights.h"

namespace sculpt::bench {

namespace {

using kernels::ActivationShape;
using kernels::Backend;
using kernels::GradWrite;
using kernels::Launch;

/// Returns the seconds of one call of `body`, which may only launch kernels. The function waits for
/// a device once per round, so that launches overlap with kernels as they do in training.
double seconds_per_call(const Backend& backend, double least_seconds,
                        const std::function<void()>& body) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 3;
  const auto seconds_of = [&](int64_t calls) {
    const auto start = Clock::now();
    for (int64_t i = 0; i < calls; ++i)
      body();
    if (backend.memory) backend.memory->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  seconds_of(1);  // this call warms up
  int64_t calls = 1;
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds;) {
    const double seconds = seconds_of(calls);
    if (seconds < least_seconds) {
      calls *= 2;
      continue;
    }
    best = std::min(best, seconds / static_cast<double>(calls));
    ++round;
  }
  return best;
}

std::string text_of(const ActivationShape& shape) {
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

}  // namespace

std::string shape_of(const Graph& graph, const Node& node) {
  std::string text = text_of(graph.shape(node.inputs[0]));
  if (node.output.index >= 0) text += " -> " + text_of(graph.shape(node.output));
  if (node.inputs.size() > 1) text += fmt::format(", {} inputs", node.inputs.size());
  if (node.info.weight >= 0)
    text += fmt::format(", weight {}", fmt::join(graph.parameters()[node.info.weight].shape, "x"));
  return text;
}

namespace {

/// Collects times. A kernel of the same shape is timed once; later calls are only counted.
class Times {
 public:
  Times(const Backend& backend, double least_seconds)
      : backend_(backend), least_seconds_(least_seconds) {}

  void add(std::string kernel, std::string shape, int64_t calls, Cost cost,
           const std::function<void()>& body) {
    for (KernelTime& row : rows_) {
      if (row.kernel != kernel || row.shape != shape) continue;
      row.calls += calls;
      return;
    }
    const double seconds = seconds_per_call(backend_, least_seconds_, body);
    rows_.push_back({std::move(kernel), std::move(shape), calls, seconds, cost});
  }
  std::vector<KernelTime> take() { return std::move(rows_); }

 private:
  const Backend& backend_;
  double least_seconds_;
  std::vector<KernelTime> rows_;
};

void time_ops(Times& times, Network& network) {
  Graph& graph = network.graph();
  const int64_t batch = graph.max_batch();
  const Storage storage = storage_of(graph);
  for (const bool forward : {true, false})
    for (const auto& node : graph.nodes()) {
      // A loss computes its gradient in the forward pass.
      if (!forward && node->output.index < 0) continue;
      times.add(fmt::format("{}, {}", node->info.op, forward ? "forward" : "backward"),
                shape_of(graph, *node), 1,
                forward ? forward_cost(graph, *node, batch, storage)
                        : backward_cost(graph, *node, batch, storage),
                [&] { forward ? node->forward(graph.replay()) : node->backward(graph.replay()); });
    }
}

void time_update(Times& times, Network& network) {
  ParameterArena& parameters = network.parameters();
  const auto count = static_cast<double>(parameters.count());
  const auto time = [&](const char* name, const OptimOptions& options, size_t state_arrays,
                        int calls) {
    const auto optimizer = make_optimizer(parameters, options);
    optimizer->begin_step(0);
    // The update reads and writes the weight and the optimizer's arrays, and reads the gradient. It
    // also reads a byte of the mask and writes the compute copy.
    const size_t bytes = (3 + 2 * state_arrays) * parameters.element_bytes() + 1 +
                         parameters.backend().compute_weight_bytes;
    times.add(name, fmt::format("{} weights", parameters.count()), calls,
              {0, count * static_cast<double>(bytes)}, [&] { optimizer->step(); });
  };
  OptimOptions ham, adamw, sign_in, ema;
  ham.ham = true;
  adamw.rule = "adamw";
  sign_in.sign_in = 1;
  ema.ema = 0.999;
  time("masked SGD", {}, 1, 1);
  time("masked SGD, HAM", ham, 1, 0);
  time("masked AdamW", adamw, 2, 0);
  time("masked SGD, Sign-In", sign_in, 3, 0);
  time("masked SGD, average", ema, 2, 0);
}

void time_pruning(Times& times, Network& network) {
  ParameterArena& parameters = network.parameters();
  parameters.store_dense();
  const Backend& backend = parameters.backend();
  const kernels::PrunableRuns runs = parameters.prunable_runs();
  const auto n = static_cast<double>(runs.count);
  const auto count = static_cast<size_t>(runs.count);
  const size_t element = parameters.element_bytes();
  const char* const what = "pruning scores";
  Buffer scores(count * element, what, backend.memory);
  Buffer candidates(count, what, backend.memory), keep(count, what, backend.memory);
  Buffer workspace(backend.ranking.workspace_bytes(runs.count, runs.run_count), what,
                   backend.memory);
  const std::string shape = fmt::format("{} weights", runs.count);

  times.add("magnitude scores", shape, 0, {0, n * 2 * static_cast<double>(element)}, [&] {
    backend.pruning.magnitude(scores.data(), parameters.weight_array(), runs, backend.stream);
  });
  backend.pruning.gather_mask(candidates.as<uint8_t>(), parameters.mask_array(), runs,
                              backend.stream);
  std::vector<kernels::RankingSegment> per_layer;
  const KeptWeights kept(parameters);
  int64_t first = 0;
  for (const PrunableLayer& layer : kept.layers()) {
    per_layer.push_back({first, layer.count, layer.present / 10});
    first += layer.count;
  }
  std::vector<kernels::RankingSegment> global = {{0, runs.count, kept.kept() / 10}};
  // The ranking makes five passes over scores and candidates and writes one byte of mask per weight
  // (kernels/cuda/ranking/ranking.cu).
  const Cost cost{0, n * (5 * (static_cast<double>(element) + 1) + 1)};
  for (const auto* segments : {&global, &per_layer})
    times.add(segments == &global ? "ranking, global" : "ranking, per layer",
              fmt::format("{}, {} segments", shape, segments->size()), 0, cost, [&] {
                backend.ranking.select_f32(keep.as<uint8_t>(), scores.as<float>(),
                                           candidates.as<uint8_t>(), *segments, workspace.data(),
                                           backend.stream);
              });
}

}  // namespace

std::vector<KernelTime> time_kernels(Network& network, double least_seconds) {
  Times times(network.graph().backend(), least_seconds);
  const ImageShape image = network.spec().image;
  const std::vector<uint8_t> pixels(static_cast<size_t>(image.count() * network.max_batch()), 100);
  const std::vector<int32_t> labels(static_cast<size_t>(network.max_batch()), 0);
  const std::vector<float> ones(static_cast<size_t>(image.channels), 1.0f);
  network.load({pixels.data(), labels.data(), network.max_batch()}, {ones, ones});
  // A step node by node fills every buffer. A step in blocks would leave some buffers unwritten.
  network.graph().set_profiling(true);
  network.forward(Mode::train);
  network.backward();
  network.graph().set_profiling(false);
  time_ops(times, network);
  time_update(times, network);
  time_pruning(times, network);
  return times.take();
}

BackendRates measure_backend(const Backend& backend, double least_seconds) {
  const char* const what = "the rates of the machine";
  BackendRates rates;
  const Launch launch{backend.lanes, backend.stream};
  // Each array has 256 MiB. The backward pass of an addition is a copy.
  const int64_t elements = (int64_t{256} << 20) / static_cast<int64_t>(backend.activation_bytes);
  const ActivationShape plane{64, 256, elements / (64 * 256 * backend.lanes), 0};
  const size_t bytes =
      static_cast<size_t>(plane.buffer_cells(1) * backend.lanes) * backend.activation_bytes;
  Buffer from(bytes, what, backend.memory), to(bytes, what, backend.memory);
  const double copy = seconds_per_call(backend, least_seconds, [&] {
    backend.elementwise.pass_through(to.data(), from.data(), plane, GradWrite::overwrite, launch);
  });
  rates.bytes_per_second = 2 * static_cast<double>(bytes) / copy;
  from = {};
  to = {};

  const int64_t side = backend.memory ? 4096 : 1024;
  const kernels::LinearShape square{side, side};
  const Launch rows{side, backend.stream};
  Buffer x(static_cast<size_t>(side * side) * backend.activation_bytes, what, backend.memory);
  Buffer y(x.bytes(), what, backend.memory);
  Buffer workspace(backend.linear.workspace_bytes(square, side), what, backend.memory);
  // A GPU multiplies zeros at higher clocks, because they switch fewer transistors; hence random
  // numbers.
  std::vector<float> values(static_cast<size_t>(side * side));
  const RandomStream random(1, Purpose::test);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = random.uniform(i) - 0.5f;
  Staging staging(what, backend.memory);
  backend.input.load_f32(x.data(), staging.send(std::span<const float>(values)), {side, 1, 1, 0},
                         rows);
  // The activations also serve as weights, because both have the same bytes per element.
  const double product = seconds_per_call(backend, least_seconds, [&] {
    backend.linear.forward({.y = y.data(),
                            .x = x.data(),
                            .weight = x.data(),
                            .workspace = workspace.data(),
                            .launch = rows},
                           square);
  });
  rates.flops_per_second = 2 * std::pow(static_cast<double>(side), 3) / product;
  return rates;
}

void print_kernel_times(Network& network, double least_seconds) {
  const Backend& backend = network.graph().backend();
  const BackendRates rates = measure_backend(backend, least_seconds);
  fmt::print("Batch {}, {}: copies {:.1f} GB/s, multiplies matrices at {:.2f} TFLOP/s.\n\n",
             network.max_batch(), backend.name, rates.bytes_per_second * 1e-9,
             rates.flops_per_second * 1e-12);
  fmt::print(
      "| kernel | shape | calls per step | us per call | MB | GFLOP | GB/s | share of copying | "
      "TFLOP/s | share of the product |\n|---|---|---|---|---|---|---|---|---|---|\n");
  double step = 0;
  for (const KernelTime& row : time_kernels(network, least_seconds)) {
    step += static_cast<double>(row.calls) * row.seconds;
    const double bytes = row.cost.bytes / row.seconds, flops = row.cost.flops / row.seconds;
    fmt::print(
        "| {} | {} | {} | {:.1f} | {:.2f} | {:.3f} | {:.1f} | {:.0f} % | {:.3f} | {:.0f} % |\n",
        row.kernel, row.shape, row.calls, row.seconds * 1e6, row.cost.bytes * 1e-6,
        row.cost.flops * 1e-9, bytes * 1e-9, 100 * bytes / rates.bytes_per_second, flops * 1e-12,
        100 * flops / rates.flops_per_second);
  }
  fmt::print("\nSum of a step: {:.3f} ms, {:.0f} images/s.\n", step * 1e3,
             static_cast<double>(network.max_batch()) / step);
}

}  // namespace sculpt::bench
