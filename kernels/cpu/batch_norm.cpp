// Forward batch norm and the table. Bound by memory bandwidth: training reads x twice (the second
// time from cache where a channel fits) and writes y once.

#include "kernels/cpu/batch_norm.h"

#include "kernels/common/batch_norm_check.h"
#include "kernels/cpu/batch_norm_plane.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t workspace_bytes(const ActivationShape& shape, int64_t max_batch) {
  return static_cast<size_t>(shape.channels * blocks_of(max_batch)) * sizeof(PlaneSums);
}

template <bool kRelu, bool kResidual>
void normalise_plane(float* y, const float* x, const float* residual, const PlaneRuns& runs,
                     const ChannelMap& map) {
  for_each_vec(runs, [=](int64_t i) {
    Vec z = map(load(x + i));
    if constexpr (kResidual) z += load(residual + i);
    if constexpr (kRelu) z = relu(z);
    store(y + i, z);
  });
}

using NormalisePlane = void (*)(float*, const float*, const float*, const PlaneRuns&,
                                const ChannelMap&);

NormalisePlane pick_normalise(bool with_relu, bool with_residual) {
  if (with_relu) return with_residual ? normalise_plane<true, true> : normalise_plane<true, false>;
  return with_residual ? normalise_plane<false, true> : normalise_plane<false, false>;
}

/// Statistics of a channel from sums of (x - shift) and (x - shift)^2.
void finish_statistics(const PlaneSums& sums, double shift, int64_t count,
                       const BatchNormOptions& options, float* saved_mean, float* saved_inv_std,
                       float* running_mean, float* running_var) {
  const auto n = static_cast<double>(count);
  const double mean = shift + sums.first / n;
  double squares = sums.second - sums.first * sums.first / n;
  squares = squares < 0 ? 0 : squares;
  const double momentum = options.momentum;
  *saved_mean = static_cast<float>(mean);
  *saved_inv_std = static_cast<float>(1.0 / std::sqrt(squares / n + options.eps));
  *running_mean = static_cast<float>((1 - momentum) * *running_mean + momentum * mean);
  *running_var = static_cast<float>((1 - momentum) * *running_var + momentum * squares / (n - 1));
}

void forward_train(void* y, void* saved_mean, void* saved_inv_std, void* running_mean,
                   void* running_var, const void* x, const ChannelSums* /*sums*/,
                   const void* residual, const void* gamma, const void* beta,
                   const ActivationShape& shape, const BatchNormOptions& options, void* workspace,
                   const Launch& launch) {
  check_batch_norm_count(shape, launch.batch);
  const auto* in = static_cast<const float*>(x);
  const auto* extra = static_cast<const float*>(residual);
  auto* out = static_cast<float*>(y);
  auto* mean = static_cast<float*>(saved_mean);
  auto* inv_std = static_cast<float*>(saved_inv_std);
  auto* sums = static_cast<PlaneSums*>(workspace);
  const int64_t blocks = blocks_of(launch.batch);
  const PlaneRuns runs = plane_runs(shape);
  const NormalisePlane normalise = pick_normalise(options.relu, residual != nullptr);

  // Any value of the channel, subtracted first, keeps x^2 from swamping the variance.
  auto shift_of = [&](int64_t channel) { return in[plane_offset(shape, channel, 0)]; };
  auto reduce = [&](int64_t channel, int64_t block) {
    const float* plane = in + plane_offset(shape, channel, block);
    const Vec shift = broadcast(shift_of(channel));
    sums[channel * blocks + block] =
        sum_plane(runs, used_lanes(launch.batch, block), [=](int64_t i, Vec& sum, Vec& squares) {
          const Vec centred = load(plane + i) - shift;
          sum += centred;
          squares += centred * centred;
        });
  };
  auto finish = [&](int64_t channel) {
    finish_statistics(channel_sums(sums, blocks, channel), shift_of(channel),
                      launch.batch * shape.height * shape.width, options, mean + channel,
                      inv_std + channel, static_cast<float*>(running_mean) + channel,
                      static_cast<float*>(running_var) + channel);
  };
  auto apply = [&](int64_t channel, int64_t block) {
    const ChannelMap map = {mean[channel],
                            static_cast<const float*>(gamma)[channel] * inv_std[channel],
                            static_cast<const float*>(beta)[channel]};
    const int64_t offset = plane_offset(shape, channel, block);
    normalise(out + offset, in + offset, extra == nullptr ? nullptr : extra + offset, runs, map);
  };
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

void forward_eval(void* y, const void* x, const void* residual, const void* gamma, const void* beta,
                  const void* running_mean, const void* running_var, const ActivationShape& shape,
                  const BatchNormOptions& options, const Launch& launch) {
  const auto* extra = static_cast<const float*>(residual);
  const PlaneRuns runs = plane_runs(shape);
  const NormalisePlane normalise = pick_normalise(options.relu, residual != nullptr);
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t channel = plane % shape.channels;
    const float inv_std =
        running_inv_std(static_cast<const float*>(running_var)[channel], options.eps);
    const ChannelMap map = {static_cast<const float*>(running_mean)[channel],
                            static_cast<const float*>(gamma)[channel] * inv_std,
                            static_cast<const float*>(beta)[channel]};
    const int64_t offset = plane * shape.plane_stride() * kLanes;
    normalise(static_cast<float*>(y) + offset, static_cast<const float*>(x) + offset,
              extra == nullptr ? nullptr : extra + offset, runs, map);
  });
}

}  // namespace

BatchNormKernels batch_norm_kernels() {
  return {workspace_bytes, forward_train, forward_eval, batch_norm_backward_train,
          batch_norm_backward_eval};
}

}  // namespace SCULPT_ISA_NAMESPACE
