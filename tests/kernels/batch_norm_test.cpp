// Forward passes of batch norm are compared with plain formulas. Backward passes of the reference
// are compared with finite differences of the formulas, and those of other backends with the
// reference.

#include <cmath>

#include "kernels/common/check.h"
#include "tests/kernels/batch_norm_fixtures.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using namespace sculpt::kernels::test::batch_norm;

struct Moments {
  Values mean, var;
};

Moments naive_moments(const Case& c, const Values& x) {
  Moments m{Values(static_cast<size_t>(c.shape.channels)),
            Values(static_cast<size_t>(c.shape.channels))};
  const auto count = static_cast<double>(c.per_channel());
  for (size_t i = 0; i < x.size(); ++i)
    m.mean[c.channel(static_cast<int64_t>(i))] += x[i] / count;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t channel = c.channel(static_cast<int64_t>(i));
    m.var[channel] += (x[i] - m.mean[channel]) * (x[i] - m.mean[channel]) / count;
  }
  return m;
}

/// Computes the normalised value before ReLU.
Values naive_normalise(const Case& c, const Inputs& in, const Moments& m, bool with_residual,
                       double eps) {
  Values z(in.x.size());
  for (size_t i = 0; i < z.size(); ++i) {
    const size_t k = c.channel(static_cast<int64_t>(i));
    z[i] = in.gamma[k] * (in.x[i] - m.mean[k]) / std::sqrt(m.var[k] + eps) + in.beta[k] +
           (with_residual ? in.residual[i] : 0);
  }
  return z;
}

Values naive_relu(Values z) {
  for (double& v : z)
    v = std::max(v, 0.0);
  return z;
}

/// Returns y of forward_eval. Checks that the frame of y and the running statistics stay as they
/// are.
Values run_forward_eval(const Backend& backend, const Case& c, const Inputs& in, bool with_residual,
                        const BatchNormOptions& options, const Values* gate = nullptr) {
  const Launch launch = make_launch(backend, c.batch);
  Activation x(backend, c.shape, launch, in.x, 1000.0);
  Activation residual(backend, c.shape, launch, in.residual, 5.0);
  Activation open(backend, c.shape, launch, gate != nullptr ? *gate : in.x, 0.0);
  Activation y(backend, c.shape, launch);
  Array gamma(backend, in.gamma), beta(backend, in.beta);
  Array mean(backend, in.running_mean), var(backend, in.running_var);
  backend.batch_norm.forward_eval({.y = y.data(),
                                   .x = x.data(),
                                   .residual = with_residual ? residual.data() : nullptr,
                                   .gamma = gamma.data(),
                                   .beta = beta.data(),
                                   .running_mean = mean.data(),
                                   .running_var = var.data(),
                                   .gate = gate != nullptr ? open.data() : nullptr,
                                   .shape = c.shape,
                                   .options = options,
                                   .launch = launch});
  CHECK(y.frame_intact());
  CHECK(mean.values() == in.running_mean);
  CHECK(var.values() == in.running_var);
  return y.nchw();
}

TEST_CASE("batch norm: forward in training against plain formulas") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      for (const int variant : {0, 1, 2, 3}) {
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(variant);
        const bool with_residual = variant & 2;
        BatchNormOptions options;
        options.relu = variant & 1;
        options.momentum = 0.25f;
        const Inputs in = make_inputs(c, 11);
        const Moments m = naive_moments(c, in.x);
        Values expected = naive_normalise(c, in, m, with_residual, options.eps);
        if (options.relu) expected = naive_relu(expected);
        const Forward out = run_forward_train(*backend, c, in, with_residual, options);

        CHECK(max_error(out.y.nchw(), expected) < tolerance(*backend, 2e-5));
        CHECK(out.y.frame_intact());
        CHECK(out.y.padded_lanes_finite());
        const auto n = static_cast<double>(c.per_channel());
        for (size_t k = 0; k < m.mean.size(); ++k) {
          const double tight = parameter_tolerance(*backend, 1e-6);
          CHECK(out.mean.get(k) == doctest::Approx(m.mean[k]).epsilon(tight));
          CHECK(out.inv_std.get(k) ==
                doctest::Approx(1 / std::sqrt(m.var[k] + options.eps)).epsilon(10 * tight));
          CHECK(out.running_mean.get(k) ==
                doctest::Approx(0.75 * in.running_mean[k] + 0.25 * m.mean[k]).epsilon(tight));
          CHECK(out.running_var.get(k) ==
                doctest::Approx(0.75 * in.running_var[k] + 0.25 * m.var[k] * n / (n - 1))
                    .epsilon(10 * tight));
        }
      }
    }
  }
}

TEST_CASE("batch norm: variance is accurate far from zero") {
  const Case c{100, {3, 16, 16, 1}};
  for (const double mean : {100.0, 3000.0}) {
    const Inputs in = make_inputs(c, 21, mean, 1.0);
    const Moments m = naive_moments(c, in.x);
    for (const Backend* backend : all_backends()) {
      CAPTURE(backend->name);
      CAPTURE(mean);
      BatchNormOptions options;
      options.eps = 1e-12f;
      const Forward out = run_forward_train(*backend, c, in, false, options);
      for (size_t k = 0; k < m.var.size(); ++k) {
        const double var = 1 / (out.inv_std.get(k) * out.inv_std.get(k));
        CHECK(var == doctest::Approx(m.var[k]).epsilon(1e-5));
      }
      // The mean is stored as a float, so y may differ by half a unit in the last place of the
      // mean.
      CHECK(max_error(out.y.nchw(), naive_normalise(c, in, m, false, options.eps)) <
            std::max(3e-4, tolerance(*backend, 3e-4)));
    }
  }
}

TEST_CASE("batch norm: statistics of given sums" * needs_gpu()) {
  // The given sums are those of another array than x. Batch norm must use them, however many chunks
  // they have.
  const Case c{37, {17, 5, 3, 0}};
  const Inputs in = make_inputs(c, 26), other = make_inputs(c, 27, -40.0, 0.5);
  const Moments m = naive_moments(c, other.x);
  for (const Backend* backend : tested_backends()) {
    for (const int64_t chunks : {1, 3, 700}) {
      CAPTURE(backend->name);
      CAPTURE(chunks);
      Values partials(static_cast<size_t>(2 * c.shape.channels * chunks));
      for (int64_t i = 0; i < c.count(); ++i) {
        const double x = other.x[static_cast<size_t>(i)];
        const size_t chunk =
            c.channel(i) * static_cast<size_t>(chunks) + static_cast<size_t>(i % chunks);
        partials[2 * chunk] += x;
        partials[2 * chunk + 1] += x * x;
      }
      DeviceCopy<double> copy(*backend, partials);
      const ChannelSums sums = {copy.data(), chunks};
      const BatchNormOptions options;
      const Forward out = run_forward_train(*backend, c, in, true, options, &sums);
      CHECK(max_error(out.y.nchw(), naive_normalise(c, in, m, true, options.eps)) <
            tolerance(*backend, 2e-5));
      CHECK(max_error(out.mean.values(), m.mean) < 1e-6);
    }
  }
}

TEST_CASE("batch norm: forward in evaluation against plain formulas") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      for (const int variant : {0, 1, 2, 3}) {
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(variant);
        const bool with_residual = variant & 2;
        BatchNormOptions options;
        options.relu = variant & 1;
        const Inputs in = make_inputs(c, 31);
        Values expected =
            naive_normalise(c, in, {in.running_mean, in.running_var}, with_residual, options.eps);
        if (options.relu) expected = naive_relu(expected);
        CHECK(max_error(run_forward_eval(*backend, c, in, with_residual, options), expected) <
              tolerance(*backend, 2e-5));
      }
    }
  }
}

TEST_CASE("batch norm: a gate cuts where it is not positive, whatever the sign of z") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      for (const int variant : {0, 1, 2, 3}) {
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(variant);
        const bool with_residual = variant & 2;
        BatchNormOptions plain, with_relu;
        plain.relu = false;
        with_relu.relu = variant & 1;  // the gate takes its place
        const Inputs in = make_inputs(c, 35);
        Values gate = random_values(c.count(), 36);
        for (size_t i = 0; i < gate.size(); i += 5)
          gate[i] = 0;
        const auto cut = [&](Values z) {
          for (size_t i = 0; i < z.size(); ++i)
            z[i] = gate[i] > 0 ? z[i] : 0;
          return z;
        };
        CHECK(run_forward_eval(*backend, c, in, with_residual, with_relu, &gate) ==
              cut(run_forward_eval(*backend, c, in, with_residual, plain)));
        const Forward out =
            run_forward_train(*backend, c, in, with_residual, with_relu, nullptr, nullptr, &gate);
        CHECK(out.y.frame_intact());
        CHECK(out.y.nchw() ==
              cut(run_forward_train(*backend, c, in, with_residual, plain).y.nchw()));
      }
    }
  }
}

TEST_CASE("batch norm: without gradients of gamma and beta, those of activations are the same") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      for (const int variant : {0, 1, 2, 3}) {
        Mode mode;
        mode.training = false;
        mode.relu = variant & 1;
        mode.with_residual = variant & 2;
        mode.write_dx = kWrites[variant / 2];
        CAPTURE(backend->name);
        CAPTURE(c.name());
        CAPTURE(mode.name());
        const Inputs in = make_inputs(c, 55);
        const Values dy = random_values(c.count(), 56), before = random_values(c.count(), 57);
        const Backward whole = run_backward(*backend, c, in, dy, before, mode);
        mode.channels_need_grad = false;
        const Backward part = run_backward(*backend, c, in, dy, before, mode);
        CHECK(part.dx == whole.dx);
        CHECK(part.dresidual == whole.dresidual);
        CHECK(part.dgamma == Values(part.dgamma.size(), 77.0));  // not written
      }
    }
  }
}

TEST_CASE("batch norm: the reference's gradients against finite differences") {
  const Case c{3, {2, 3, 2, 1}};
  const Inputs in = make_inputs(c, 41);
  const Values dy = random_values(c.count(), 42);
  for (const int variant : {0, 1, 2, 3, 4, 5, 6, 7}) {
    Mode mode;
    mode.training = variant & 1;
    mode.relu = variant & 2;
    mode.with_residual = variant & 4;
    CAPTURE(mode.name());
    const double eps = BatchNormOptions{}.eps;
    auto preactivation = [&](const Inputs& inputs) {
      const Moments m = mode.training ? naive_moments(c, inputs.x)
                                      : Moments{inputs.running_mean, inputs.running_var};
      return naive_normalise(c, inputs, m, mode.with_residual, eps);
    };
    for (const double z : preactivation(in))
      REQUIRE(std::abs(z) > 1e-4);  // away from the kink
    auto loss = [&](const Inputs& inputs) {
      const Values z = preactivation(inputs);
      return dot(mode.relu ? naive_relu(z) : z, dy);
    };
    auto differences = [&](Values Inputs::*member) {
      Inputs moved = in;
      return finite_differences(
          [&](const Values& at) {
            moved.*member = at;
            return loss(moved);
          },
          in.*member);
    };
    const Backward out = run_backward(reference_backend(), c, in, dy, Values(dy.size()), mode);
    CHECK(max_error(out.dx, differences(&Inputs::x)) < 1e-8);
    CHECK(max_error(out.dgamma, differences(&Inputs::gamma)) < 1e-8);
    CHECK(max_error(out.dbeta, differences(&Inputs::beta)) < 1e-8);
    if (mode.with_residual) CHECK(max_error(out.dresidual, differences(&Inputs::residual)) < 1e-8);
  }
}

/// dy without the places where float and double may disagree about ReLU.
Values gradient_away_from_kinks(const Case& c, const Inputs& in, const Mode& mode, uint64_t seed) {
  const Moments m =
      mode.training ? naive_moments(c, in.x) : Moments{in.running_mean, in.running_var};
  const Values z = naive_normalise(c, in, m, mode.with_residual, BatchNormOptions{}.eps);
  Values dy = random_values(c.count(), seed);
  for (size_t i = 0; i < dy.size(); ++i)
    if (std::abs(z[i]) < 1e-4) dy[i] = 0;
  return dy;
}

TEST_CASE("batch norm: every backend's gradients against the reference's") {
  for (const Case& c : kCases) {
    for (int variant = 0; variant < 48; ++variant) {
      Mode mode;
      mode.training = variant & 1;
      mode.relu = variant & 2;
      mode.with_residual = variant & 4;
      mode.write_dx = kWrites[variant / 8 % 2];
      mode.write_dresidual = kWrites[variant / 16 % 2];
      if (!mode.with_residual && variant >= 16 && variant < 40) continue;
      mode.residual_needs_grad = variant < 28 || (variant >= 32 && variant < 40);
      mode.input_needs_grad = variant < 32;
      CAPTURE(c.name());
      CAPTURE(mode.name());
      const Inputs in = make_inputs(c, 51);
      const Values dy = gradient_away_from_kinks(c, in, mode, 52);
      const Values before = random_values(c.count(), 53);
      const Backward expected = run_backward(reference_backend(), c, in, dy, before, mode);
      for (const Backend* backend : tested_backends()) {
        CAPTURE(backend->name);
        const Backward actual = run_backward(*backend, c, in, dy, before, mode);
        CHECK(max_error(actual.dx, expected.dx) < tolerance(*backend, 3e-5));
        CHECK(max_error(actual.dgamma, expected.dgamma) < 3e-5);
        CHECK(max_error(actual.dbeta, expected.dbeta) < 3e-5);
        CHECK(max_error(actual.dresidual, expected.dresidual) < tolerance(*backend, 1e-6));
      }
    }
  }
}

TEST_CASE("batch norm: the backward pass cuts exactly where the forward pass did") {
  // Few distinct values around the mean and beta = 0: many z are within rounding of zero. With dy =
  // 1 dbeta counts the positive y.
  const Case c{61, {4, 9, 7, 1}};
  Inputs in = make_inputs(c, 61);
  for (double& v : in.x)
    v = std::floor(v);
  for (double& v : in.beta)
    v = 0;
  for (const Backend* backend : all_backends()) {
    for (const bool training : {true, false}) {
      CAPTURE(backend->name);
      CAPTURE(training);
      Moments m = naive_moments(c, in.x);
      in.running_mean = m.mean;
      for (double& v : in.running_mean)
        v = static_cast<float>(std::round(v));
      BatchNormOptions options;
      options.relu = true;
      Mode mode;
      mode.training = training;
      mode.relu = true;
      const Values y = training ? run_forward_train(*backend, c, in, false, options).y.nchw()
                                : run_forward_eval(*backend, c, in, false, options);
      Values positive(static_cast<size_t>(c.shape.channels));
      for (size_t i = 0; i < y.size(); ++i)
        positive[c.channel(static_cast<int64_t>(i))] += y[i] > 0 ? 1 : 0;
      const Values ones(y.size(), 1.0);
      CHECK(run_backward(*backend, c, in, ones, ones, mode).dbeta == positive);
    }
  }
}

TEST_CASE("batch norm: results do not depend on the number of threads") {
  const Case c{50, {10, 6, 5, 1}};  // 10 channels: whole channels for 2 and 5 threads, planes for 3
  const Inputs in = make_inputs(c, 71);
  const Values dy = random_values(c.count(), 72);
  Mode mode;
  mode.relu = true;
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    std::vector<Backward> gradients;
    std::vector<Values> outputs;
    for (const int threads : {1, 2, 3, 5}) {
      const ThreadCount scope(threads);
      BatchNormOptions options;
      options.relu = true;
      Forward f = run_forward_train(*backend, c, in, false, options);
      outputs.push_back(f.y.nchw());
      outputs.back().push_back(f.running_var.get(9));
      gradients.push_back(run_backward(*backend, c, in, dy, dy, mode));
    }
    for (size_t i = 1; i < outputs.size(); ++i) {
      CHECK(outputs[i] == outputs[0]);
      CHECK(gradients[i].dx == gradients[0].dx);
      CHECK(gradients[i].dgamma == gradients[0].dgamma);
    }
  }
}

TEST_CASE("batch norm: NaN stays visible through the fused ReLU") {
  const Case c{2, {1, 2, 2, 0}};
  Inputs in = make_inputs(c, 81);
  in.x[3] = std::nan("");
  BatchNormOptions options;
  options.relu = true;
  for (const Backend* backend : all_backends()) {
    const Values y = run_forward_train(*backend, c, in, false, options).y.nchw();
    for (const double v : y)
      CHECK(std::isnan(v));
  }
}

TEST_CASE("batch norm: one value per channel is refused in training") {
  const Case c{1, {3, 1, 1, 0}};
  const Inputs in = make_inputs(c, 91);
  for (const Backend* backend : all_backends())
    CHECK_THROWS_AS(run_forward_train(*backend, c, in, false, {}), sculpt::Error);
}

}  // namespace
