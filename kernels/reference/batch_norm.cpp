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

/// Writes y for one channel.
void normalise(const BatchNormForward& args, const Statistics& stats, int64_t c) {
  const double* x = doubles(args.x);
  const double* residual = doubles(args.residual);
  const double gamma = doubles(args.gamma)[c], beta = doubles(args.beta)[c];
  for_each_in_channel(args.shape, args.launch.batch, c, [&](int64_t i) {
    double z = gamma * (x[i] - stats.mean) * stats.inv_std + beta;
    if (residual != nullptr) z += residual[i];
    doubles(args.y)[i] = args.options.relu && z < 0 ? 0 : z;
  });
}

void forward_train(const BatchNormForward& args) {
  const ActivationShape& shape = args.shape;
  const int64_t batch = args.launch.batch;
  check_batch_norm_count(shape, batch);
  const auto count = static_cast<double>(batch * shape.height * shape.width);
  const double momentum = args.options.momentum;
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const double* x = doubles(args.x);
    const double mean = channel_sum(shape, batch, c, [&](int64_t i) { return x[i]; }) / count;
    const double squares =
        channel_sum(shape, batch, c, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
    const Statistics stats = {mean, 1 / std::sqrt(squares / count + args.options.eps)};
    doubles(args.saved_mean)[c] = stats.mean;
    doubles(args.saved_inv_std)[c] = stats.inv_std;
    double& running_mean = doubles(args.running_mean)[c];
    double& running_var = doubles(args.running_var)[c];
    running_mean = (1 - momentum) * running_mean + momentum * mean;
    running_var = (1 - momentum) * running_var + momentum * squares / (count - 1);
    normalise(args, stats, c);
  });
}

Statistics running_statistics(const void* running_mean, const void* running_var, int64_t c,
                              const BatchNormOptions& options) {
  return {doubles(running_mean)[c], 1 / std::sqrt(doubles(running_var)[c] + options.eps)};
}

void forward_eval(const BatchNormForward& args) {
  for_each_plane(args.shape.channels, 1, [&](int64_t, int64_t c) {
    normalise(args, running_statistics(args.running_mean, args.running_var, c, args.options), c);
  });
}

/// Computes the gradient of one channel. With constant statistics, the last two terms of dx vanish.
void backward_channel(const BatchNormBackward& args, const Statistics& stats,
                      bool constant_statistics, int64_t c) {
  const ActivationShape& shape = args.shape;
  const int64_t batch = args.launch.batch;
  const double *dy = doubles(args.dy), *x = doubles(args.x), *y = doubles(args.y);
  const double gamma = doubles(args.gamma)[c], beta = doubles(args.beta)[c];
  auto normalised = [&](int64_t i) { return (x[i] - stats.mean) * stats.inv_std; };
  auto output = [&](int64_t i) { return y != nullptr ? y[i] : gamma * normalised(i) + beta; };
  auto gated = [&](int64_t i) { return args.options.relu && !(output(i) > 0) ? 0.0 : dy[i]; };
  const double sum_g = channel_sum(shape, batch, c, gated);
  const double sum_gx =
      channel_sum(shape, batch, c, [&](int64_t i) { return gated(i) * normalised(i); });
  const auto count = static_cast<double>(batch * shape.height * shape.width);
  for_each_in_channel(shape, batch, c, [&](int64_t i) {
    const double g = gated(i);
    const double through_statistics =
        constant_statistics ? 0.0 : sum_g / count + normalised(i) * sum_gx / count;
    if (args.dresidual != nullptr) write_grad(doubles(args.dresidual) + i, g, args.write_dresidual);
    if (args.dx != nullptr)
      write_grad(doubles(args.dx) + i, gamma * stats.inv_std * (g - through_statistics),
                 args.write_dx);
  });
  doubles(args.dbeta)[c] = sum_g;
  doubles(args.dgamma)[c] = sum_gx;
}

void backward_train(const BatchNormBackward& args) {
  for_each_plane(args.shape.channels, 1, [&](int64_t, int64_t c) {
    const Statistics stats = {doubles(args.saved_mean)[c], doubles(args.saved_inv_std)[c]};
    backward_channel(args, stats, false, c);
  });
}

void backward_eval(const BatchNormBackward& args) {
  for_each_plane(args.shape.channels, 1, [&](int64_t, int64_t c) {
    backward_channel(args, running_statistics(args.running_mean, args.running_var, c, args.options),
                     true, c);
  });
}

}  // namespace

BatchNormKernels batch_norm_kernels() {
  return {.workspace_bytes = workspace_bytes,
          .forward_train = forward_train,
          .forward_eval = forward_eval,
          .backward_train = backward_train,
          .backward_eval = backward_eval};
}

}  // namespace sculpt::kernels::reference
