// Cases for every op, mostly of odd sizes. See op_harness.h for what is checked.

#include "engine/ops/ops.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/nn/network.h"
#include "models/registry.h"
#include "tests/ops/op_harness.h"

namespace sculpt {
namespace {

using test::check_op;
using test::OpCase;

ParameterId add_parameter(Graph& g, const char* name, ParameterKind kind,
                          std::vector<int64_t> shape) {
  return g.parameters().add(name, kind, std::move(shape));
}

struct ConvCase {
  int64_t in, out, height, width, kernel, stride, padding, groups, batch;
  bool bias;
};

Value record_conv(Graph& g, Value x, const ConvCase& c, const char* prefix = "c") {
  const std::string name = prefix;
  const auto w = add_parameter(g, (name + ".weight").c_str(), ParameterKind::conv_weight,
                               {c.out, c.in / c.groups, c.kernel, c.kernel});
  std::optional<ParameterId> b;
  if (c.bias) b = add_parameter(g, (name + ".bias").c_str(), ParameterKind::bias, {c.out});
  return ops::conv2d(g, name, x, w, b, {c.stride, c.padding, c.groups});
}

Value record_norm(Graph& g, Value x, ops::BatchNormOptions options, const char* prefix = "n") {
  const std::string name = prefix;
  const int64_t n = g.shape(x).channels;
  ops::BatchNormParameters p;
  p.gamma = add_parameter(g, (name + ".weight").c_str(), ParameterKind::norm_weight, {n});
  p.beta = add_parameter(g, (name + ".bias").c_str(), ParameterKind::norm_bias, {n});
  p.running_mean = g.parameters().add_state(name + ".running_mean", n, 0);
  p.running_var = g.parameters().add_state(name + ".running_var", n, 1);
  return ops::batch_norm(g, name, x, p, options);
}

void check_all_ops() {
  for (const auto& c : std::vector<ConvCase>{
           ConvCase{3, 5, 7, 9, 3, 1, 1, 1, 3, true}, ConvCase{4, 6, 8, 8, 3, 2, 1, 1, 17, false},
           ConvCase{5, 7, 6, 5, 1, 1, 0, 1, 16, false}, ConvCase{4, 8, 9, 7, 1, 2, 0, 1, 5, true},
           ConvCase{3, 4, 11, 13, 7, 2, 3, 1, 2, false}, ConvCase{2, 3, 9, 9, 5, 1, 0, 1, 2, true},
           ConvCase{6, 4, 10, 8, 3, 3, 2, 2, 4, false}, ConvCase{9, 9, 5, 5, 3, 1, 1, 9, 19, false},
           ConvCase{4, 4, 1, 1, 3, 1, 1, 1, 33, true}}) {
    check_op({.name = fmt::format("conv2d {}->{} {}x{} k{} s{} p{} g{} n{}", c.in, c.out, c.height,
                                  c.width, c.kernel, c.stride, c.padding, c.groups, c.batch),
              .inputs = {{c.in, c.height, c.width, 0}},
              .batch = c.batch,
              .record = [c](Graph& g, const auto& x) { return record_conv(g, x[0], c); }});
  }
  for (const int64_t batch : {1, 16, 37}) {
    check_op({.name = fmt::format("linear n{}", batch),
              .inputs = {{13, 1, 1, 0}},
              .batch = batch,
              .record = [](Graph& g, const auto& x) {
                const auto w = add_parameter(g, "w", ParameterKind::linear_weight, {7, 13});
                const auto b = add_parameter(g, "b", ParameterKind::bias, {7});
                return ops::linear(g, "linear", x[0], w, b);
              }});
  }
  for (const Mode mode : {Mode::train, Mode::frozen}) {
    for (const bool relu : {false, true}) {
      check_op({.name = fmt::format("batch_norm relu={} mode={}", relu, static_cast<int>(mode)),
                .inputs = {{5, 3, 7, 0}},
                .batch = 19,
                .record =
                    [relu](Graph& g, const auto& x) {
                      return record_norm(g, x[0], {.relu = relu, .residual = {}});
                    },
                .mode = mode,
                .input_shift = 2});
      check_op(
          {.name = fmt::format("batch_norm residual relu={} mode={}", relu, static_cast<int>(mode)),
           .inputs = {{4, 5, 2, 0}, {4, 5, 2, 0}},
           .batch = 18,
           .record =
               [relu](Graph& g, const auto& x) {
                 return record_norm(g, x[0], {.relu = relu, .residual = x[1]});
               },
           .mode = mode});
    }
  }
  check_op({.name = "relu",
            .inputs = {{3, 5, 7, 0}},
            .batch = 18,
            .record = [](Graph& g, const auto& x) { return ops::relu(g, "relu", x[0]); }});
  check_op({.name = "add",
            .inputs = {{3, 5, 7, 0}, {3, 5, 7, 0}},
            .batch = 7,
            .record = [](Graph& g, const auto& x) { return ops::add(g, "add", x[0], x[1]); }});
  check_op({.name = "dropout",
            .inputs = {{3, 5, 3, 0}},
            .batch = 18,
            .record = [](Graph& g, const auto& x) {
              return ops::dropout(g, "dropout", x[0], 0.3f, 1);
            }});
  check_op({.name = "flatten",
            .inputs = {{3, 5, 3, 0}},
            .batch = 18,
            .record = [](Graph& g, const auto& x) { return ops::flatten(g, "flatten", x[0]); }});
  check_op({.name = "flatten from a halo",
            .inputs = {{3, 5, 4, 0}},
            .batch = 18,
            .record = [](Graph& g, const auto& x) {
              const Value y = record_conv(g, x[0], {3, 2, 5, 4, 5, 1, 2, 1, 18, false});
              return ops::flatten(g, "flatten", y);
            }});
  for (const ops::PoolOptions o : {ops::PoolOptions{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {3, 3, 0}}) {
    check_op(
        {.name = fmt::format("max_pool k{} s{} p{}", o.kernel, o.stride, o.padding),
         .inputs = {{3, 8, 7, 0}},
         .batch = 17,
         .record = [o](Graph& g, const auto& x) { return ops::max_pool(g, "pool", x[0], o); }});
    check_op(
        {.name = fmt::format("average_pool k{} s{} p{}", o.kernel, o.stride, o.padding),
         .inputs = {{3, 8, 7, 0}},
         .batch = 17,
         .record = [o](Graph& g, const auto& x) { return ops::average_pool(g, "pool", x[0], o); }});
  }
  check_op({.name = "global_average_pool",
            .inputs = {{5, 4, 7, 0}},
            .batch = 18,
            .record = [](Graph& g, const auto& x) {
              return ops::global_average_pool(g, "pool", x[0]);
            }});
}

// Batch norm behind a convolution, which may sum the channels for it.
void check_normalised_convolutions() {
  for (const auto& c : std::vector<ConvCase>{
           ConvCase{3, 5, 7, 9, 3, 1, 1, 1, 19, true}, ConvCase{8, 16, 8, 8, 3, 2, 1, 1, 17, false},
           ConvCase{16, 24, 5, 6, 3, 1, 1, 2, 5, true}, ConvCase{6, 6, 5, 5, 3, 1, 1, 6, 7, false}})
    for (const Mode mode : {Mode::train, Mode::frozen})
      check_op({.name = fmt::format("conv2d {}->{} g{} and batch_norm mode={}", c.in, c.out,
                                    c.groups, static_cast<int>(mode)),
                .inputs = {{c.in, c.height, c.width, 0}},
                .batch = c.batch,
                .record =
                    [c](Graph& g, const auto& x) {
                      return record_norm(g, record_conv(g, x[0], c), {.residual = {}});
                    },
                .mode = mode});
}

// Several ops in a row, with values that are read twice: gradients must add up, and buffers that
// share memory must not disturb each other.
void check_residual_block() {
  check_op({.name = "residual block",
            .inputs = {{6, 9, 7, 0}},
            .batch = 21,
            .record = [](Graph& g, const auto& x) {
              Value y = record_conv(g, x[0], {6, 8, 9, 7, 3, 2, 1, 1, 21, false}, "c1");
              y = record_norm(g, y, {.relu = true, .residual = {}}, "n1");
              y = record_conv(g, y, {8, 8, 5, 4, 3, 1, 1, 1, 21, false}, "c2");
              Value s = record_conv(g, x[0], {6, 8, 9, 7, 1, 2, 0, 1, 21, false}, "c3");
              s = record_norm(g, s, {.residual = {}}, "n3");
              y = record_norm(g, y, {.relu = true, .residual = s}, "n2");
              const Value z = record_conv(g, y, {8, 8, 5, 4, 3, 1, 1, 1, 21, false}, "c4");
              y = ops::relu(g, "relu", ops::add(g, "add", y, record_norm(g, z, {}, "n4")));
              return ops::global_average_pool(g, "pool", ops::max_pool(g, "m", y, {2, 2, 0}));
            }});
}

TEST_CASE("ops: gradients against finite differences, CPU backends against the reference") {
  check_all_ops();
  check_normalised_convolutions();
  check_residual_block();
}

TEST_CASE("ops: every op that a model records has a case") {
  check_all_ops();
  const auto checked = test::checked_ops();
  for (const auto& entry : models::model_table()) {
    models::ModelOptions options;
    options.name = entry.name;
    options.width = 0.05;
    options.dropout = 0.1;
    NetworkSpec spec;
    spec.model = models::make_model(options, 10);
    const Network network(spec, kernels::cpu_backend(), 1);
    for (const auto& node : network.graph().nodes()) {
      CAPTURE(node->info.op);
      if (node->info.op == "softmax_cross_entropy") continue;  // network_test.cpp
      CHECK(std::ranges::find(checked, std::string(node->info.op)) != checked.end());
    }
  }
}

TEST_CASE("ops: shape errors name the layer and the shapes") {
  ParameterArena arena;
  Graph g(kernels::cpu_backend(), arena, 4);
  const Value x = g.input(3, 8, 8);
  const auto w = add_parameter(g, "w", ParameterKind::conv_weight, {4, 2, 3, 3});
  CHECK_THROWS_WITH_AS(ops::conv2d(g, "conv1", x, w, {}, {1, 1, 1}),
                       doctest::Contains("conv2d 'conv1': input [3, 8, 8] and weight [4, 2, 3, 3]"),
                       Error);
  const auto fc = add_parameter(g, "fc", ParameterKind::linear_weight, {4, 5});
  CHECK_THROWS_WITH_AS(ops::linear(g, "fc", x, fc, {}), doctest::Contains("flatten or pool first"),
                       Error);
  const Value y = g.input(3, 4, 8);
  CHECK_THROWS_WITH_AS(ops::add(g, "sum", x, y),
                       doctest::Contains("[3, 8, 8] and [3, 4, 8] differ"), Error);
  CHECK_THROWS_WITH_AS(ops::max_pool(g, "pool", g.input(3, 1, 1), {2, 2, 0}),
                       doctest::Contains("smaller than the window"), Error);
}

}  // namespace
}  // namespace sculpt
