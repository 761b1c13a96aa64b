#include <cmath>
#include <vector>

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
  const double *residual = doubles(args.residual), *gate = doubles(args.gate);
  const double gamma = doubles(args.gamma)[c], beta = doubles(args.beta)[c];
  for_each_in_channel(args.shape, args.launch.batch, c, [&](int64_t i) {
    double z = gamma * (x[i] - stats.mean) * stats.inv_std + beta;
    if (residual != nullptr) z += residual[i];
    const bool cut = gate != nullptr ? !(gate[i] > 0) : args.options.relu && z < 0;
    doubles(args.y)[i] = cut ? 0 : z;
  });
}

/// Returns sum(c) for each channel, added up over the processes that share the batch.
template <class Sum>
std::vector<double> sums_over_batch(int64_t channels, const SharedBatch* shared, void* stream,
                                    const Sum& sum) {
  std::vector<double> sums(static_cast<size_t>(channels));
  for_each_plane(channels, 1, [&](int64_t, int64_t c) { sums[static_cast<size_t>(c)] = sum(c); });
  if (shared != nullptr) shared->add_up(shared->context, sums.data(), channels, stream);
  return sums;
}

void forward_train(const BatchNormForward& args) {
  const ActivationShape& shape = args.shape;
  const int64_t batch = args.launch.batch;
  check_batch_norm_count(shape, args.images());
  const auto count = static_cast<double>(args.images() * shape.height * shape.width);
  const double momentum = args.options.momentum;
  const double* x = doubles(args.x);
  const auto mean_of = [&](const std::vector<double>& sums, int64_t c) {
    return sums[static_cast<size_t>(c)] / count;
  };
  const auto sums_of = [&](const auto& sum) {
    return sums_over_batch(shape.channels, args.shared, args.launch.stream, sum);
  };
  const std::vector<double> sums = sums_of(
      [&](int64_t c) { return channel_sum(shape, batch, c, [&](int64_t i) { return x[i]; }); });
  const std::vector<double> squares_of = sums_of([&](int64_t c) {
    const double mean = mean_of(sums, c);
    return channel_sum(shape, batch, c, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
  });
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const double mean = mean_of(sums, c), squares = squares_of[static_cast<size_t>(c)];
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

/// The gradient of one channel.
class ChannelGradient {
 public:
  ChannelGradient(const BatchNormBackward& args, const Statistics& stats, int64_t c)
      : args_(args), stats_(stats), c_(c) {}

  double sum_g() const {
    return channel_sum(args_.shape, args_.launch.batch, c_, [&](int64_t i) { return gated(i); });
  }
  double sum_gx() const {
    return channel_sum(args_.shape, args_.launch.batch, c_,
                       [&](int64_t i) { return gated(i) * normalised(i); });
  }
  /// Writes dx and dresidual. `mean_g` and `mean_gx` are the means of g and of g * xhat over the
  /// batch, or 0 if the statistics are constants.
  void write(double mean_g, double mean_gx) const {
    const double gamma = doubles(args_.gamma)[c_];
    for_each_in_channel(args_.shape, args_.launch.batch, c_, [&](int64_t i) {
      const double g = gated(i);
      if (args_.dresidual != nullptr)
        write_grad(doubles(args_.dresidual) + i, g, args_.write_dresidual);
      if (args_.dx != nullptr)
        write_grad(doubles(args_.dx) + i,
                   gamma * stats_.inv_std * (g - mean_g - normalised(i) * mean_gx), args_.write_dx);
    });
  }

 private:
  double normalised(int64_t i) const {
    return (doubles(args_.x)[i] - stats_.mean) * stats_.inv_std;
  }
  double output(int64_t i) const {
    if (args_.y != nullptr) return doubles(args_.y)[i];
    return doubles(args_.gamma)[c_] * normalised(i) + doubles(args_.beta)[c_];
  }
  double gated(int64_t i) const {
    return args_.options.relu && !(output(i) > 0) ? 0.0 : doubles(args_.dy)[i];
  }

  const BatchNormBackward& args_;
  Statistics stats_;
  int64_t c_;
};

void backward_train(const BatchNormBackward& args) {
  const ActivationShape& shape = args.shape;
  const auto gradient_of = [&](int64_t c) {
    return ChannelGradient(args, {doubles(args.saved_mean)[c], doubles(args.saved_inv_std)[c]}, c);
  };
  const auto sums_of = [&](const auto& sum) {
    return sums_over_batch(shape.channels, args.shared, args.launch.stream, sum);
  };
  const std::vector<double> g = sums_of([&](int64_t c) { return gradient_of(c).sum_g(); });
  const std::vector<double> gx = sums_of([&](int64_t c) { return gradient_of(c).sum_gx(); });
  const auto count = static_cast<double>(args.images() * shape.height * shape.width);
  for_each_plane(shape.channels, 1, [&](int64_t, int64_t c) {
    const auto channel = static_cast<size_t>(c);
    gradient_of(c).write(g[channel] / count, gx[channel] / count);
    doubles(args.dbeta)[c] = g[channel];
    doubles(args.dgamma)[c] = gx[channel];
  });
}

void backward_eval(const BatchNormBackward& args) {
  for_each_plane(args.shape.channels, 1, [&](int64_t, int64_t c) {
    const ChannelGradient gradient(
        args, running_statistics(args.running_mean, args.running_var, c, args.options), c);
    // The sums come first, because dx may overwrite dy.
    const bool sums = args.dgamma != nullptr;
    const double sum_g = sums ? gradient.sum_g() : 0, sum_gx = sums ? gradient.sum_gx() : 0;
    gradient.write(0, 0);
    if (!sums) return;
    doubles(args.dbeta)[c] = sum_g;
    doubles(args.dgamma)[c] = sum_gx;
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
