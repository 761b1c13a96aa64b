// The joint backward pass of a convolution and the batch norm behind it, against the separate
// passes of the reference.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <span>

#include "tests/kernels/conv2d_case.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// The parts of the joint pass that a case takes.
struct Mode {
  bool training = true;
  bool relu = true;
  bool with_residual = false;
  bool residual_needs_grad = true;
  bool input_needs_grad = true;
  bool sums = false;
  bool shifted_weight = false;  ///< the weight does not begin at a multiple of 16 bytes
  GradWrite write_dx = GradWrite::overwrite;
  GradWrite write_dresidual = GradWrite::overwrite;

  std::string name() const {
    return fmt::format(
        "training {} relu {} residual {} (gradient {}) input gradient {} sums {} shifted weight {} "
        "writes {}{}",
        training, relu, with_residual, residual_needs_grad, input_needs_grad, sums, shifted_weight,
        static_cast<int>(write_dx), static_cast<int>(write_dresidual));
  }
};

/// The numbers that the two ops have read and written forward, and the gradients before the pass.
struct Problem {
  explicit Problem(const Case& sizes)
      : conv(sizes),
        shape(conv.shape),
        batch(sizes.batch),
        out_count(batch * shape.out.elements_per_image()),
        y(random_values(out_count, 11)),
        dy(random_values(out_count, 12)),
        before_dx(random_values(std::ssize(conv.x), 13)),
        before_dresidual(random_values(out_count, 14)),
        below(random_values(std::ssize(conv.x), 15, 2.0)),
        gamma(random_values(shape.out.channels, 16)),
        beta(random_values(shape.out.channels, 17, 0.5)),
        mean(random_values(shape.out.channels, 18, 0.3)),
        inv_std(random_values(shape.out.channels, 19, 0.2)),
        variance(random_values(shape.out.channels, 20, 0.5)),
        below_mean(random_values(shape.in.channels, 21, 1.0)) {
    // The convolution's input is the output of a batch norm with ReLU, so half of it is zero.
    for (double& value : conv.x)
      value = std::max(value, 0.0);
    for (double& value : inv_std)
      value = representable(value + 1.2);
    for (double& value : variance)
      value = representable(value + 1.5);
  }

  ConvInputs conv;  ///< conv.x is the input; the output is conv.dy
  Conv2dShape shape;
  int64_t batch, out_count;
  const Values& c = conv.dy;  ///< the output, which is any numbers here
  Values y, dy, before_dx, before_dresidual, below;
  Values gamma, beta, mean, inv_std, variance, below_mean;
};

struct Result {
  Values dx, dweight, dresidual, dgamma, dbeta;
  Values sums;  ///< [channel][chunk][2]
  int64_t chunks = 0;
};

/// The arrays of a pass on a backend.
struct Arrays {
  Arrays(const Backend& the_backend, const Problem& p)
      : backend(the_backend),
        launch(make_launch(backend, p.batch)),
        x(backend, p.shape.in, launch, p.conv.x, 0),
        c(backend, p.shape.out, launch, p.c, 1000),
        y(backend, p.shape.out, launch, p.y, 1000),
        dy(backend, p.shape.out, launch, p.dy, 0),
        dx(backend, p.shape.in, launch, p.before_dx, 0),
        dresidual(backend, p.shape.out, launch, p.before_dresidual, 0),
        below(backend, p.shape.in, launch, p.below, 1000),
        weight(packed_weight(backend, p.conv.weight, p.shape.in_channels_per_group(),
                             p.shape.kernel_h * p.shape.kernel_w)),
        shifted_weight(backend, backend.activation_bytes, shifted(weight.values())),
        dweight(backend, Values(p.conv.weight.size(), 55.0)),
        gamma(backend, p.gamma),
        beta(backend, p.beta),
        mean(backend, p.mean),
        inv_std(backend, p.inv_std),
        variance(backend, p.variance),
        dgamma(backend, Values(p.gamma.size(), 77.0)),
        dbeta(backend, Values(p.gamma.size(), 77.0)),
        below_mean(backend, p.below_mean),
        workspace(backend, std::max(backend.conv2d.workspace_bytes(p.shape, p.batch),
                                    backend.batch_norm.workspace_bytes(p.shape.out, p.batch))) {}

  /// The arguments of batch norm's backward pass, without dx and dresidual.
  BatchNormBackward norm(const Problem& p, const Mode& mode) {
    BatchNormOptions options;
    options.relu = mode.relu;
    return {.write_dresidual = mode.write_dresidual,
            .dgamma = dgamma.data(),
            .dbeta = dbeta.data(),
            .dy = dy.data(),
            .x = c.data(),
            .y = mode.with_residual ? y.data() : nullptr,
            .gamma = gamma.data(),
            .beta = beta.data(),
            .saved_mean = mode.training ? mean.data() : nullptr,
            .saved_inv_std = mode.training ? inv_std.data() : nullptr,
            .running_mean = mode.training ? nullptr : mean.data(),
            .running_var = mode.training ? nullptr : variance.data(),
            .shape = p.shape.out,
            .options = options,
            .workspace = workspace.data(),
            .launch = launch};
  }
  void* wanted_dresidual(const Mode& mode) {
    return mode.with_residual && mode.residual_needs_grad ? dresidual.data() : nullptr;
  }
  void run_norm(const BatchNormBackward& args, const Mode& mode) const {
    (mode.training ? backend.batch_norm.backward_train : backend.batch_norm.backward_eval)(args);
  }
  /// Returns the values behind one more element.
  static Values shifted(Values values) {
    values.insert(values.begin(), std::nan(""));
    return values;
  }
  const void* weight_of(const Mode& mode) {
    return mode.shifted_weight
               ? static_cast<const std::byte*>(shifted_weight.data()) + backend.activation_bytes
               : weight.data();
  }
  Result result() const {
    return {dx.nchw(), dweight.values(), dresidual.nchw(), dgamma.values(), dbeta.values(), {}, 0};
  }

  const Backend& backend;
  Launch launch;
  Activation x, c, y, dy, dx, dresidual, below;
  Array weight, shifted_weight, dweight, gamma, beta, mean, inv_std, variance, dgamma, dbeta,
      below_mean;
  DeviceScratch workspace;
};

Result run_jointly(const Backend& backend, const Problem& p, const Mode& mode) {
  Arrays a(backend, p);
  DeferredGradient deferred{a.norm(p, mode), !mode.training};
  a.run_norm(deferred.norm, mode);
  deferred.norm.dresidual = a.wanted_dresidual(mode);

  const size_t sums_bytes = backend.conv_norm.sums_bytes(p.shape, p.batch);
  DeviceCopy<double> partials(backend, Values(sums_bytes / sizeof(double), std::nan("")));
  GradientSums sums = {partials.data(), 0, a.below.data(), a.below_mean.data()};
  backend.conv_norm.backward({.dx = mode.input_needs_grad ? a.dx.data() : nullptr,
                              .write = mode.write_dx,
                              .dweight = a.dweight.data(),
                              .x = a.x.data(),
                              .weight = a.weight_of(mode),
                              .dy = &deferred,
                              .sums = mode.sums ? &sums : nullptr,
                              .workspace = a.workspace.data(),
                              .launch = a.launch},
                             p.shape);
  CHECK(a.dx.frame_intact());
  CHECK(a.dresidual.frame_intact());
  CHECK(a.dy.nchw() == p.dy);
  Result result = a.result();
  result.chunks = sums.chunks;
  result.sums = partials.values();
  return result;
}

/// Batch norm and then the two passes of the convolution, on the reference backend.
Result run_separately(const Problem& p, const Mode& mode) {
  const Backend& backend = reference_backend();
  Arrays a(backend, p);
  Activation dc(backend, p.shape.out, a.launch, p.before_dresidual, 0);
  dc.zero_frame();
  a.x.zero_frame();
  BatchNormBackward norm = a.norm(p, mode);
  norm.dx = dc.data();
  norm.dresidual = a.wanted_dresidual(mode);
  a.run_norm(norm, mode);
  if (mode.input_needs_grad)
    backend.conv2d.input_grad({.dx = a.dx.data(),
                               .write = mode.write_dx,
                               .dy = dc.data(),
                               .weight = a.weight.data(),
                               .workspace = a.workspace.data(),
                               .launch = a.launch},
                              p.shape);
  backend.conv2d.weight_grad({.dweight = a.dweight.data(),
                              .dy = dc.data(),
                              .x = a.x.data(),
                              .workspace = a.workspace.data(),
                              .launch = a.launch},
                             p.shape);
  return a.result();
}

/// The gradient of the convolution's output is rounded to bf16 once, relative to its own size.
constexpr double kRounding = 1.0 / 256;

void check(const Backend& backend, const Problem& p, const Mode& mode) {
  CAPTURE(mode.name());
  const Result actual = run_jointly(backend, p, mode);
  const Result expected = run_separately(p, mode);
  CHECK(relative_error(actual.dx, expected.dx) < kRounding);
  CHECK(relative_error(actual.dweight, expected.dweight) < kRounding);
  CHECK(relative_error(actual.dresidual, expected.dresidual) < kRounding);
  CHECK(relative_error(actual.dgamma, expected.dgamma) < 1e-4);
  CHECK(relative_error(actual.dbeta, expected.dbeta) < 1e-4);
}

/// Checks the sums against those of the stored dx.
void check_sums(const Backend& backend, const Problem& p, const Mode& mode) {
  CAPTURE(mode.name());
  const Result actual = run_jointly(backend, p, mode);
  REQUIRE(actual.chunks > 0);
  const auto channels = static_cast<size_t>(p.shape.in.channels);
  const auto pixels = static_cast<size_t>(p.shape.in.height * p.shape.in.width);
  const auto chunks = static_cast<size_t>(actual.chunks);
  REQUIRE(2 * channels * chunks <= actual.sums.size());
  for (size_t i = 2 * channels * chunks; i < actual.sums.size(); ++i)
    CHECK(std::isnan(actual.sums[i]));
  Values expected(2 * channels), sizes(2 * channels);
  for (size_t i = 0; i < actual.dx.size(); ++i) {
    if (p.conv.x[i] <= 0) continue;
    const size_t channel = i / pixels % channels;
    const double terms[2] = {actual.dx[i], actual.dx[i] * (p.below[i] - p.below_mean[channel])};
    for (size_t e = 0; e < 2; ++e) {
      expected[2 * channel + e] += terms[e];
      sizes[2 * channel + e] += std::abs(terms[e]);
    }
  }
  for (size_t channel = 0; channel < channels; ++channel)
    for (size_t e = 0; e < 2; ++e) {
      double sum = 0;
      for (size_t chunk = 0; chunk < chunks; ++chunk)
        sum += actual.sums[(channel * chunks + chunk) * 2 + e];
      CAPTURE(channel);
      const size_t i = 2 * channel + e;
      CHECK(std::abs(sum - expected[i]) <= 1e-5 * sizes[i]);
    }
}

/// Everything that a convolution computes from its input.
struct FromInput {
  Values y, sums, dx, dweight, gradient_sums;
};

/// Runs batch norm forward, and then a convolution forward and its joint backward pass. Batch norm
/// writes the input of the convolution only if it is not deferred.
FromInput run_from_input(const Backend& backend, const Problem& p, bool training, bool relu,
                         bool deferred) {
  Arrays a(backend, p);
  Activation x(backend, p.shape.in, a.launch);
  Activation y(backend, p.shape.out, a.launch);
  Array running_mean(backend, p.mean), running_var(backend, p.variance);
  BatchNormForward norm = {.y = deferred ? nullptr : x.data(),
                           .x = a.below.data(),
                           .gamma = a.gamma.data(),
                           .beta = a.beta.data(),
                           .saved_mean = a.mean.data(),
                           .saved_inv_std = a.inv_std.data(),
                           .running_mean = running_mean.data(),
                           .running_var = running_var.data(),
                           .shape = p.shape.in,
                           .options = {.relu = relu},
                           .workspace = a.workspace.data(),
                           .launch = a.launch};
  (training ? backend.batch_norm.forward_train : backend.batch_norm.forward_eval)(norm);
  const DeferredActivation activation = {norm, !training};

  DeviceCopy<double> partials(
      backend, Values(backend.conv2d.output_sums_bytes(p.shape, p.batch) / sizeof(double)));
  ChannelSums sums = {partials.data()};
  if (deferred)
    backend.conv_norm.forward({.y = y.data(),
                               .x = &activation,
                               .weight = a.weight.data(),
                               .sums = training ? &sums : nullptr,
                               .launch = a.launch},
                              p.shape);
  else
    backend.conv2d.forward({.y = y.data(),
                            .x = x.data(),
                            .weight = a.weight.data(),
                            .sums = training ? &sums : nullptr,
                            .workspace = a.workspace.data(),
                            .launch = a.launch},
                           p.shape);

  const DeferredGradient gradient{a.norm(p, {})};
  DeviceCopy<double> gradient_partials(
      backend, Values(backend.conv_norm.sums_bytes(p.shape, p.batch) / sizeof(double)));
  GradientSums gradient_sums = {gradient_partials.data(), 0, a.below.data(), a.mean.data()};
  backend.conv_norm.backward({.dx = a.dx.data(),
                              .dweight = a.dweight.data(),
                              .x = deferred ? nullptr : x.data(),
                              .deferred_x = deferred ? &activation : nullptr,
                              .weight = a.weight.data(),
                              .dy = &gradient,
                              .sums = &gradient_sums,
                              .workspace = a.workspace.data(),
                              .launch = a.launch},
                             p.shape);
  CHECK(y.frame_intact());
  CHECK((x.written() == 0) == deferred);
  return {y.nchw(), partials.values(), a.dx.nchw(), a.dweight.values(), gradient_partials.values()};
}

void check_deferred_input(const Backend& backend, const Problem& p, bool training, bool relu) {
  const FromInput deferred = run_from_input(backend, p, training, relu, true);
  const FromInput written = run_from_input(backend, p, training, relu, false);
  CHECK(deferred.y == written.y);
  CHECK(deferred.sums == written.sums);
  CHECK(deferred.dx == written.dx);
  CHECK(deferred.dweight == written.dweight);
  CHECK(deferred.gradient_sums == written.gradient_sums);
}

const Case kCases[] = {
    {2, 16, 32, 32, 16, 3, 3, 1, 1}, {3, 16, 7, 5, 16, 3, 3, 1, 1},  {1, 16, 1, 2, 16, 3, 3, 1, 1},
    {2, 32, 16, 16, 32, 3, 3, 1, 1}, {3, 32, 9, 11, 32, 3, 3, 1, 1}, {2, 64, 8, 8, 64, 3, 3, 1, 1},
    {3, 64, 3, 5, 64, 3, 3, 1, 1},
};
/// These cases have several images per partial weight gradient, and so many blocks.
const Case kSplitCases[] = {
    {259, 16, 2, 3, 16, 3, 3, 1, 1},
    {131, 32, 2, 2, 32, 3, 3, 1, 1},
    {70, 64, 2, 3, 64, 3, 3, 1, 1},
};

/// Calls body(backend, problem) for every tested backend and every case.
template <class Body>
void for_each_problem(std::span<const Case> cases, const Body& body) {
  for (const Case& c : cases) {
    const Problem problem(c);
    for (const Backend* backend : tested_backends()) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      REQUIRE(backend->conv_norm.fits(problem.shape));
      body(*backend, problem);
    }
  }
}

}  // namespace

TEST_CASE("conv norm: gradients against those of the separate passes" * needs_joint_passes()) {
  for_each_problem(kCases, [](const Backend& backend, const Problem& p) {
    check(backend, p, {});
    check(backend, p, {.with_residual = true, .write_dx = GradWrite::accumulate});
    check(backend, p, {.with_residual = true, .write_dresidual = GradWrite::accumulate});
    check(backend, p, {.relu = false, .input_needs_grad = false});
    check(backend, p, {.relu = false, .with_residual = true, .residual_needs_grad = false});
    check(backend, p, {.training = false, .with_residual = true});
    check(backend, p, {.shifted_weight = true});
  });
}

TEST_CASE("conv norm: sums of the gradient of the input" * needs_joint_passes()) {
  for_each_problem(kCases, [](const Backend& backend, const Problem& p) {
    check_sums(backend, p, {.sums = true});
    check_sums(backend, p,
               {.with_residual = true, .sums = true, .write_dx = GradWrite::accumulate});
  });
}

TEST_CASE("conv norm: several images per partial weight gradient" * needs_joint_passes()) {
  for_each_problem(kSplitCases, [](const Backend& backend, const Problem& p) {
    check(backend, p, {.with_residual = true});
    check_sums(backend, p, {.sums = true, .write_dx = GradWrite::accumulate});
    check_deferred_input(backend, p, /*training=*/true, /*relu=*/true);
  });
}

TEST_CASE("conv norm: batch norm takes sums in the place of a pass over dy" *
          needs_joint_passes()) {
  const Case c{5, 16, 8, 8, 16, 3, 3, 1, 1};
  const Problem p(c);
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    // Batch norm's output is the input of the convolution, and its gradient is dx.
    const Result left = run_jointly(*backend, p, {.sums = true});
    Arrays a(*backend, p);
    const auto gradients = [&](const GradientSums* sums) {
      Activation dy(*backend, p.shape.in, a.launch, left.dx, 0);
      BatchNormBackward norm = a.norm(p, {.with_residual = true});
      norm.dy = dy.data();
      norm.x = a.below.data();
      norm.y = a.x.data();
      norm.saved_mean = a.below_mean.data();
      norm.sums = sums;
      backend->batch_norm.backward_train(norm);
      return std::pair{a.dgamma.values(), a.dbeta.values()};
    };
    const auto read = gradients(nullptr);
    DeviceCopy<double> partials(*backend, left.sums);
    const GradientSums sums = {partials.data(), left.chunks, nullptr, nullptr};
    const auto taken = gradients(&sums);
    CHECK(relative_error(taken.first, read.first) < 1e-5);
    CHECK(relative_error(taken.second, read.second) < 1e-5);
    Values doubled = left.sums;
    for (double& sum : doubled)
      sum *= 2;
    DeviceCopy<double> twice(*backend, doubled);
    const GradientSums more = {twice.data(), left.chunks, nullptr, nullptr};
    const auto of_doubled = gradients(&more);
    for (size_t i = 0; i < read.first.size(); ++i) {
      CHECK(of_doubled.first[i] == 2 * taken.first[i]);
      CHECK(of_doubled.second[i] == 2 * taken.second[i]);
    }
  }
}

TEST_CASE("conv norm: a deferred input gives the bits of the written one" * needs_joint_passes()) {
  for_each_problem(kCases, [](const Backend& backend, const Problem& p) {
    check_deferred_input(backend, p, /*training=*/true, /*relu=*/true);
    check_deferred_input(backend, p, /*training=*/false, /*relu=*/false);
  });
}

TEST_CASE("conv norm: the result repeats, with and without sums" * needs_joint_passes()) {
  const Problem p(Case{9, 16, 8, 8, 16, 3, 3, 1, 1});
  for (const Backend* backend : tested_backends()) {
    const Result first = run_jointly(*backend, p, {.sums = true});
    const Result second = run_jointly(*backend, p, {.sums = true});
    const Result without = run_jointly(*backend, p, {});
    const auto used = static_cast<size_t>(2 * p.shape.in.channels * first.chunks);
    CHECK(std::equal(first.sums.begin(), first.sums.begin() + static_cast<int64_t>(used),
                     second.sums.begin()));
    for (const Result* other : {&second, &without}) {
      CHECK(first.dx == other->dx);
      CHECK(first.dweight == other->dweight);
    }
  }
}

TEST_CASE("conv norm: layers that the joint kernels take" * needs_joint_passes()) {
  for (const Backend* backend : tested_backends()) {
    const auto fits = [&](const Case& c) { return backend->conv_norm.fits(make_shape(c)); };
    CHECK(fits({1, 16, 32, 32, 16, 3, 3, 1, 1}));
    CHECK(fits({1, 32, 16, 16, 32, 3, 3, 1, 1}));
    CHECK(fits({1, 64, 8, 8, 64, 3, 3, 1, 1}));
    CHECK_FALSE(fits({1, 16, 32, 32, 16, 3, 3, 1, 0}));
    CHECK_FALSE(fits({1, 16, 33, 32, 16, 3, 3, 1, 1}));
    CHECK_FALSE(fits({1, 16, 32, 32, 32, 3, 3, 1, 1}));
    CHECK_FALSE(fits({1, 16, 32, 32, 16, 3, 3, 2, 1}));
    CHECK_FALSE(fits({1, 16, 32, 32, 16, 1, 1, 1, 0}));
    CHECK_FALSE(fits({1, 16, 32, 32, 16, 3, 3, 1, 1, 2}));
    CHECK_FALSE(fits({1, 3, 32, 32, 16, 3, 3, 1, 1}));
  }
}
