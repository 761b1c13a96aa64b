// Cases for every op, mostly of odd sizes. See op_harness.h for what is checked.

#include "engine/ops/ops.h"

#include <doctest/doctest.h>
#include <map>

#include "engine/core/error.h"
#include "engine/nn/network.h"
#include "models/registry.h"
#include "tests/ops/op_harness.h"

namespace sculpt {
namespace {

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

using Cases = std::vector<OpCase>;

Cases conv2d_cases() {
  Cases cases;
  for (const auto& c : std::vector<ConvCase>{
           ConvCase{3, 5, 7, 9, 3, 1, 1, 1, 3, true}, ConvCase{4, 6, 8, 8, 3, 2, 1, 1, 17, false},
           ConvCase{5, 7, 6, 5, 1, 1, 0, 1, 16, false}, ConvCase{4, 8, 9, 7, 1, 2, 0, 1, 5, true},
           ConvCase{3, 4, 11, 13, 7, 2, 3, 1, 2, false}, ConvCase{2, 3, 9, 9, 5, 1, 0, 1, 2, true},
           ConvCase{6, 4, 10, 8, 3, 3, 2, 2, 4, false}, ConvCase{9, 9, 5, 5, 3, 1, 1, 9, 19, false},
           ConvCase{4, 4, 1, 1, 3, 1, 1, 1, 33, true}})
    cases.push_back(
        {.name = fmt::format("conv2d {}->{} {}x{} k{} s{} p{} g{} n{}", c.in, c.out, c.height,
                             c.width, c.kernel, c.stride, c.padding, c.groups, c.batch),
         .inputs = {{c.in, c.height, c.width, 0}},
         .batch = c.batch,
         .record = [c](Graph& g, const auto& x) { return record_conv(g, x[0], c); }});
  return cases;
}

Cases linear_cases() {
  Cases cases;
  for (const int64_t batch : {1, 16, 37})
    cases.push_back({.name = fmt::format("linear n{}", batch),
                     .inputs = {{13, 1, 1, 0}},
                     .batch = batch,
                     .record = [](Graph& g, const auto& x) {
                       const auto w = add_parameter(g, "w", ParameterKind::linear_weight, {7, 13});
                       const auto b = add_parameter(g, "b", ParameterKind::bias, {7});
                       return ops::linear(g, "linear", x[0], w, b);
                     }});
  return cases;
}

Cases batch_norm_cases() {
  Cases cases;
  for (const Mode mode : {Mode::train, Mode::frozen})
    for (const bool relu : {false, true}) {
      cases.push_back({.name = fmt::format("relu={} mode={}", relu, static_cast<int>(mode)),
                       .inputs = {{5, 3, 7, 0}},
                       .batch = 19,
                       .record =
                           [relu](Graph& g, const auto& x) {
                             return record_norm(g, x[0], {.relu = relu, .residual = {}});
                           },
                       .mode = mode,
                       .input_shift = 2});
      cases.push_back(
          {.name = fmt::format("residual relu={} mode={}", relu, static_cast<int>(mode)),
           .inputs = {{4, 5, 2, 0}, {4, 5, 2, 0}},
           .batch = 18,
           .record =
               [relu](Graph& g, const auto& x) {
                 return record_norm(g, x[0], {.relu = relu, .residual = x[1]});
               },
           .mode = mode});
    }
  return cases;
}

Cases relu_cases() {
  return {{.name = "relu",
           .inputs = {{3, 5, 7, 0}},
           .batch = 18,
           .record = [](Graph& g, const auto& x) { return ops::relu(g, "relu", x[0]); }}};
}

Cases add_cases() {
  return {{.name = "add",
           .inputs = {{3, 5, 7, 0}, {3, 5, 7, 0}},
           .batch = 7,
           .record = [](Graph& g, const auto& x) { return ops::add(g, "add", x[0], x[1]); }}};
}

Cases dropout_cases() {
  return {
      {.name = "dropout", .inputs = {{3, 5, 3, 0}}, .batch = 18, .record = [](Graph& g, auto& x) {
         return ops::dropout(g, "dropout", x[0], 0.3f, 1);
       }}};
}

Cases flatten_cases() {
  return {{.name = "flatten",
           .inputs = {{3, 5, 3, 0}},
           .batch = 18,
           .record = [](Graph& g, const auto& x) { return ops::flatten(g, "flatten", x[0]); }},
          {.name = "flatten from a halo",
           .inputs = {{3, 5, 4, 0}},
           .batch = 18,
           .record = [](Graph& g, const auto& x) {
             const Value y = record_conv(g, x[0], {3, 2, 5, 4, 5, 1, 2, 1, 18, false});
             return ops::flatten(g, "flatten", y);
           }}};
}

/// Cases of a pooling op that has windows.
template <class Pool>
Cases window_cases(Pool pool) {
  Cases cases;
  for (const ops::PoolOptions o : {ops::PoolOptions{2, 2, 0}, {3, 2, 1}, {3, 1, 1}, {3, 3, 0}})
    cases.push_back({.name = fmt::format("k{} s{} p{}", o.kernel, o.stride, o.padding),
                     .inputs = {{3, 8, 7, 0}},
                     .batch = 17,
                     .record = [o, pool](Graph& g, const auto& x) { return pool(g, x[0], o); }});
  return cases;
}

Cases max_pool_cases() {
  return window_cases([](Graph& g, Value x, const ops::PoolOptions& options) {
    return ops::max_pool(g, "pool", x, options);
  });
}

Cases average_pool_cases() {
  return window_cases([](Graph& g, Value x, const ops::PoolOptions& options) {
    return ops::average_pool(g, "pool", x, options);
  });
}

Cases global_average_pool_cases() {
  return {{.name = "global_average_pool",
           .inputs = {{5, 4, 7, 0}},
           .batch = 18,
           .record = [](Graph& g, const auto& x) {
             return ops::global_average_pool(g, "pool", x[0]);
           }}};
}

/// Batch norm behind a convolution. The convolution may sum the channels for the batch norm.
Cases conv2d_batch_norm_cases() {
  Cases cases;
  for (const auto& c : std::vector<ConvCase>{
           ConvCase{3, 5, 7, 9, 3, 1, 1, 1, 19, true}, ConvCase{8, 16, 8, 8, 3, 2, 1, 1, 17, false},
           ConvCase{16, 24, 5, 6, 3, 1, 1, 2, 5, true}, ConvCase{6, 6, 5, 5, 3, 1, 1, 6, 7, false}})
    for (const Mode mode : {Mode::train, Mode::frozen})
      cases.push_back(
          {.name = fmt::format("{}->{} g{} mode={}", c.in, c.out, c.groups, static_cast<int>(mode)),
           .inputs = {{c.in, c.height, c.width, 0}},
           .batch = c.batch,
           .record =
               [c](Graph& g, const auto& x) {
                 return record_norm(g, record_conv(g, x[0], c), {.residual = {}});
               },
           .mode = mode});
  return cases;
}

/// Several ops in a row, with values that two ops read. Gradients must add up, and buffers that
/// share memory must not disturb each other.
Cases residual_block_cases() {
  return {{.name = "residual block",
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
           }}};
}

// The name of a case begins with the name of its op, so that -tc='conv2d*' selects the
// convolutions. op_harness.h says what is checked.
#define CHECK_OP(op, what)         \
  TEST_CASE(#op ": " what) {       \
    test::check_ops(op##_cases()); \
  }

CHECK_OP(conv2d, "windows, strides, groups and batches of odd sizes")
CHECK_OP(conv2d_batch_norm, "batch norm uses sums of the channels that a convolution leaves")
CHECK_OP(linear, "batches of odd sizes")
CHECK_OP(batch_norm, "with and without residual and ReLU, in training and frozen")
CHECK_OP(relu, "an odd plane")
CHECK_OP(add, "two values of the same shape")
CHECK_OP(dropout, "the same elements are dropped in every replay of a step")
CHECK_OP(flatten, "from values with and without a halo")
CHECK_OP(max_pool, "windows that overlap, touch, and reach over the border")
CHECK_OP(average_pool, "windows that overlap, touch, and reach over the border")
CHECK_OP(global_average_pool, "an odd plane")
CHECK_OP(residual_block, "gradients of values that two ops read add up")

TEST_CASE("ops: every op that a model records has cases of its own name") {
  const std::map<std::string, Cases> cases = {{"conv2d", conv2d_cases()},
                                              {"linear", linear_cases()},
                                              {"batch_norm", batch_norm_cases()},
                                              {"relu", relu_cases()},
                                              {"add", add_cases()},
                                              {"dropout", dropout_cases()},
                                              {"flatten", flatten_cases()},
                                              {"max_pool", max_pool_cases()},
                                              {"average_pool", average_pool_cases()},
                                              {"global_average_pool", global_average_pool_cases()}};
  for (const auto& [op, of_op] : cases)
    for (const OpCase& c : of_op) {
      CAPTURE(op);
      CAPTURE(c.name);
      CHECK(test::ops_of(c).contains(op));
    }
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
      CHECK(cases.contains(std::string(node->info.op)));
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
