#include <cmath>

#include "kernels/common/batch_norm_check.h"
#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(const ActivationShape&, int64_t) {
  return 0;
}

/// Sum of value(index) over one channel of the batch.
template <class Value>
double channel_sum(const ActivationShape& s, int64_t batch, int64_t c, const Value& value) {
  double sum = 0;
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        sum += value(at(s, n, c, row, column));
  return sum;
}

/// Calls body(index) for every value of one channel of the batch.
template <class Body>
void for_each_in_channel(const ActivationShape& s, int64_t batch, int64_t c, const Body& body) {
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        body(at(s, n, c, row, column));
}

struct Statistics {
  double mean = 0;
  double inv_std = 0;
};

void normalise(double* y, const double* x, const double* residual, const Statistics& stats,
               double gamma, double beta, const ActivationShape& shape, int64_t batch, int64_t c,
               bool relu) {
  for_each_in_channel(shape, batch, c, [&](int64_t i) {
    double z = gamma * (x[i] - stats.mean) * stats.inv_std + beta;
    if (residual != nullptr) z += residual[i];
    y[i] = relu && z < 0 ? 0 : z;
  });
}

void forward_train(void* y, void* saved_mean, void* saved_inv_std, void* running_mean,
                   void* running_var, const void* x, const ChannelSums* /*sums*/,
                   const void* residual, const void* gamma, const void* beta,
                   const ActivationShape& shape, const BatchNormOptions& options,
                   void* /*workspace*/, const Launch& launch) {
  check_batch_norm_count(shape, launch.batch);
  const auto count = static_cast<double>(launch.batch * shape.height * shape.width);
  const double momentum = options.momentum;
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const double* in = doubles(x);
    const double mean =
        channel_sum(shape, launch.batch, c, [&](int64_t i) { return in[i]; }) / count;
    const double squares = channel_sum(shape, launch.batch, c,
                                       [&](int64_t i) { return (in[i] - mean) * (in[i] - mean); });
    const Statistics stats = {mean, 1 / std::sqrt(squares / count + options.eps)};
    doubles(saved_mean)[c] = stats.mean;
    doubles(saved_inv_std)[c] = stats.inv_std;
    double& moving_mean = doubles(running_mean)[c];
    double& moving_var = doubles(running_var)[c];
    moving_mean = (1 - momentum) * moving_mean + momentum * mean;
    moving_var = (1 - momentum) * moving_var + momentum * squares / (count - 1);
    normalise(doubles(y), in, doubles(residual), stats, doubles(gamma)[c], doubles(beta)[c], shape,
              launch.batch, c, options.relu);
  });
}

Statistics running_statistics(const void* running_mean, const void* running_var, int64_t c,
                              const BatchNormOptions& options) {
  return {doubles(running_mean)[c], 1 / std::sqrt(doubles(running_var)[c] + options.eps)};
}

void forward_eval(void* y, const void* x, const void* residual, const void* gamma, const void* beta,
                  const void* running_mean, const void* running_var, const ActivationShape& shape,
                  const BatchNormOptions& options, const Launch& launch) {
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    normalise(doubles(y), doubles(x), doubles(residual),
              running_statistics(running_mean, running_var, c, options), doubles(gamma)[c],
              doubles(beta)[c], shape, launch.batch, c, options.relu);
  });
}

/// Computes the gradient of one channel. With constant statistics, the last two terms of dx vanish.
void backward_channel(double* dx, GradWrite write_dx, double* dresidual, GradWrite write_dresidual,
                      double* dgamma, double* dbeta, const double* dy, const double* x,
                      const double* y, const Statistics& stats, double gamma, double beta,
                      bool constant_statistics, const ActivationShape& shape, int64_t batch,
                      int64_t c, bool relu) {
  auto normalised = [&](int64_t i) { return (x[i] - stats.mean) * stats.inv_std; };
  auto output = [&](int64_t i) { return y != nullptr ? y[i] : gamma * normalised(i) + beta; };
  auto gated = [&](int64_t i) { return relu && !(output(i) > 0) ? 0.0 : dy[i]; };
  const double sum_g = channel_sum(shape, batch, c, gated);
  const double sum_gx =
      channel_sum(shape, batch, c, [&](int64_t i) { return gated(i) * normalised(i); });
  const auto count = static_cast<double>(batch * shape.height * shape.width);
  for_each_in_channel(shape, batch, c, [&](int64_t i) {
    const double g = gated(i);
    const double through_statistics =
        constant_statistics ? 0.0 : sum_g / count + normalised(i) * sum_gx / count;
    if (dresidual != nullptr) write_grad(dresidual + i, g, write_dresidual);
    if (dx != nullptr)
      write_grad(dx + i, gamma * stats.inv_std * (g - through_statistics), write_dx);
  });
  dbeta[c] = sum_g;
  dgamma[c] = sum_gx;
}

void backward_train(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                    void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                    const void* saved_mean, const void* saved_inv_std, const void* gamma,
                    const void* beta, const ActivationShape& shape, const BatchNormOptions& options,
                    void* /*workspace*/, const Launch& launch) {
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const Statistics stats = {doubles(saved_mean)[c], doubles(saved_inv_std)[c]};
    backward_channel(doubles(dx), write_dx, doubles(dresidual), write_dresidual, doubles(dgamma),
                     doubles(dbeta), doubles(dy), doubles(x), doubles(y), stats, doubles(gamma)[c],
                     doubles(beta)[c], false, shape, launch.batch, c, options.relu);
  });
}

void backward_eval(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                   void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                   const void* running_mean, const void* running_var, const void* gamma,
                   const void* beta, const ActivationShape& shape, const BatchNormOptions& options,
                   void* /*workspace*/, const Launch& launch) {
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const Statistics stats = running_statistics(running_mean, running_var, c, options);
    backward_channel(doubles(dx), write_dx, doubles(dresidual), write_dresidual, doubles(dgamma),
                     doubles(dbeta), doubles(dy), doubles(x), doubles(y), stats, doubles(gamma)[c],
                     doubles(beta)[c], true, shape, launch.batch, c, options.relu);
  });
}

}  // namespace

BatchNormKernels batch_norm_kernels() {
  return {workspace_bytes, forward_train, forward_eval, backward_train, backward_eval};
}

}  // namespace sculpt::kernels::reference
