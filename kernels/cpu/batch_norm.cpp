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

/// Over the used lanes of a plane: the sum, and the sum of squared differences from its mean.
PlaneSums sum_values(const float* plane, const PlaneRuns& runs, int64_t used, int64_t pixels) {
  // Any value of the plane, subtracted first, keeps x^2 from swamping the variance.
  const Vec shift = broadcast(plane[0]);
  const PlaneSums centred = sum_plane(runs, used, [=](int64_t i, Vec& sum, Vec& squares) {
    const Vec difference = load(plane + i) - shift;
    sum += difference;
    squares += difference * difference;
  });
  const auto count = static_cast<double>(used * pixels);
  return {centred.first + count * static_cast<double>(plane[0]),
          centred.second - centred.first * centred.first / count};
}

/// Of a channel's values in all blocks, from sum_values() of each.
PlaneSums combine_blocks(const PlaneSums* of_blocks, int64_t batch, int64_t pixels) {
  PlaneSums total;
  const int64_t blocks = blocks_of(batch);
  for (int64_t block = 0; block < blocks; ++block)
    total.first += of_blocks[block].first;
  const double mean = total.first / static_cast<double>(batch * pixels);
  for (int64_t block = 0; block < blocks; ++block) {
    const auto count = static_cast<double>(used_lanes(batch, block) * pixels);
    const double apart = of_blocks[block].first / count - mean;
    total.second += of_blocks[block].second + count * apart * apart;
  }
  return total;
}

/// What forward_train writes per channel.
struct Statistics {
  float* saved_mean;
  float* saved_inv_std;
  float* running_mean;
  float* running_var;

  Statistics(void* mean, void* inv_std, void* moving_mean, void* moving_var)
      : saved_mean(static_cast<float*>(mean)),
        saved_inv_std(static_cast<float*>(inv_std)),
        running_mean(static_cast<float*>(moving_mean)),
        running_var(static_cast<float*>(moving_var)) {}
};

/// Of a channel with `count` values: their sum and squared differences.
void finish_statistics(const Statistics& to, int64_t channel, const PlaneSums& sums, int64_t count,
                       const BatchNormOptions& options) {
  const auto n = static_cast<double>(count);
  const double mean = sums.first / n;
  const double squares = sums.second < 0 ? 0 : sums.second;
  const double momentum = options.momentum;
  float& running_mean = to.running_mean[channel];
  float& running_var = to.running_var[channel];
  to.saved_mean[channel] = static_cast<float>(mean);
  to.saved_inv_std[channel] = static_cast<float>(1.0 / std::sqrt(squares / n + options.eps));
  running_mean = static_cast<float>((1 - momentum) * running_mean + momentum * mean);
  running_var = static_cast<float>((1 - momentum) * running_var + momentum * squares / (n - 1));
}

/// Normalises planes with the statistics of their batch.
class Normaliser {
 public:
  Normaliser(void* y, const void* x, const void* residual, const void* mean, const void* inv_std,
             const void* gamma, const void* beta, const ActivationShape& shape,
             const BatchNormOptions& options)
      : y_(static_cast<float*>(y)),
        x_(static_cast<const float*>(x)),
        residual_(static_cast<const float*>(residual)),
        mean_(static_cast<const float*>(mean)),
        inv_std_(static_cast<const float*>(inv_std)),
        gamma_(static_cast<const float*>(gamma)),
        beta_(static_cast<const float*>(beta)),
        shape_(shape),
        runs_(plane_runs(shape)),
        normalise_(pick_normalise(options.relu, residual != nullptr)) {}

  void operator()(int64_t channel, int64_t block) const {
    const ChannelMap map = {mean_[channel], gamma_[channel] * inv_std_[channel], beta_[channel]};
    const int64_t offset = plane_offset(shape_, channel, block);
    normalise_(y_ + offset, x_ + offset, residual_ == nullptr ? nullptr : residual_ + offset, runs_,
               map);
  }

 private:
  float* y_;
  const float *x_, *residual_, *mean_, *inv_std_, *gamma_, *beta_;
  const ActivationShape& shape_;
  PlaneRuns runs_;
  NormalisePlane normalise_;
};

void forward_train(void* y, void* saved_mean, void* saved_inv_std, void* running_mean,
                   void* running_var, const void* x, const ChannelSums* /*sums*/,
                   const void* residual, const void* gamma, const void* beta,
                   const ActivationShape& shape, const BatchNormOptions& options, void* workspace,
                   const Launch& launch) {
  check_batch_norm_count(shape, launch.batch);
  const auto* in = static_cast<const float*>(x);
  const Statistics statistics(saved_mean, saved_inv_std, running_mean, running_var);
  auto* sums = static_cast<PlaneSums*>(workspace);
  const int64_t blocks = blocks_of(launch.batch);
  const int64_t pixels = shape.height * shape.width;
  const PlaneRuns runs = plane_runs(shape);
  const Normaliser apply(y, x, residual, saved_mean, saved_inv_std, gamma, beta, shape, options);

  auto reduce = [&](int64_t channel, int64_t block) {
    sums[channel * blocks + block] = sum_values(in + plane_offset(shape, channel, block), runs,
                                                used_lanes(launch.batch, block), pixels);
  };
  auto finish = [&](int64_t channel) {
    finish_statistics(statistics, channel,
                      combine_blocks(sums + channel * blocks, launch.batch, pixels),
                      launch.batch * pixels, options);
  };
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

void sum_block(const ChannelSums& sums, int64_t block, const void* x, const ActivationShape& shape,
               const Launch& launch) {
  const PlaneRuns runs = plane_runs(shape);
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    plane_sums_of(sums)[channel * sums.chunks + block] =
        sum_values(static_cast<const float*>(x) + plane_offset(shape, channel, 0), runs,
                   launch.batch, shape.height * shape.width);
}

void finish(void* saved_mean, void* saved_inv_std, void* running_mean, void* running_var,
            const ChannelSums& sums, int64_t batch, const ActivationShape& shape,
            const BatchNormOptions& options) {
  check_batch_norm_count(shape, batch);
  const Statistics statistics(saved_mean, saved_inv_std, running_mean, running_var);
  const int64_t pixels = shape.height * shape.width;
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    finish_statistics(statistics, channel,
                      combine_blocks(plane_sums_of(sums) + channel * sums.chunks, batch, pixels),
                      batch * pixels, options);
}

void apply_block(void* y, const void* x, const void* residual, const void* saved_mean,
                 const void* saved_inv_std, const void* gamma, const void* beta,
                 const ActivationShape& shape, const BatchNormOptions& options,
                 const Launch& /*launch*/) {
  const Normaliser apply(y, x, residual, saved_mean, saved_inv_std, gamma, beta, shape, options);
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    apply(channel, 0);
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
  return {workspace_bytes,
          forward_train,
          forward_eval,
          batch_norm_backward_train,
          batch_norm_backward_eval,
          {sum_block, finish, apply_block, batch_norm_sum_grad, batch_norm_finish_grad,
           batch_norm_apply_grad}};
}

}  // namespace SCULPT_ISA_NAMESPACE
