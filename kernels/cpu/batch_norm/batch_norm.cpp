// Forward batch norm and the kernel table. The kernels are bound by memory bandwidth: training
// reads x twice (the second time from cache where a channel fits) and writes y once.

#include "kernels/cpu/batch_norm/batch_norm.h"

#include "kernels/common/batch_norm_check.h"
#include "kernels/cpu/batch_norm/plane.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t workspace_bytes(const ActivationShape& shape, int64_t max_batch) {
  const SumChunks chunks(shape, blocks_of(max_batch));
  return static_cast<size_t>(shape.channels * chunks.per_channel()) * sizeof(PlaneSums);
}

/// Computes y for some rows, and writes them to `copy`, too, if it is not null.
template <bool kRelu, bool kResidual>
void normalise_rows(float* y, float* copy, const float* x, const float* residual,
                    const PlaneRuns& runs, const ChannelMap& map) {
  const auto normalise = [=](int64_t i) {
    Vec z = map(load(x + i));
    prefetch(x + i + runs.ahead);
    prefetch_to_write(y + i + runs.ahead);
    if constexpr (kResidual) prefetch(residual + i + runs.ahead);
    if constexpr (kResidual) z += load(residual + i);
    if constexpr (kRelu) z = relu(z);
    store(y + i, z);
    return z;
  };
  if (copy == nullptr)
    for_each_vec(runs, normalise);
  else
    for_each_vec(runs, [=](int64_t i) { stream(copy + i, normalise(i)); });
}

using NormaliseRows = void (*)(float*, float*, const float*, const float*, const PlaneRuns&,
                               const ChannelMap&);

NormaliseRows pick_normalise(bool with_relu, bool with_residual) {
  if (with_relu) return with_residual ? normalise_rows<true, true> : normalise_rows<true, false>;
  return with_residual ? normalise_rows<false, true> : normalise_rows<false, false>;
}

/// Returns, for the used lanes of a chunk, the sum and the sum of squared differences from the
/// chunk's mean. With kCopy, also copies the chunk.
template <bool kCopy>
PlaneSums sum_values(const float* first, float* copy, const PlaneRuns& runs, int64_t used,
                     int64_t pixels) {
  // The first value of the chunk is subtracted from all values, so that large squares do not swamp
  // the variance.
  const Vec shift = broadcast(*first);
  const PlaneSums centred = sum_rows(runs, used, [=](int64_t i, Vec& sum, Vec& squares) {
    const Vec value = load(first + i);
    if constexpr (kCopy) stream(copy + i, value);
    const Vec difference = value - shift;
    sum += difference;
    squares += difference * difference;
  });
  const auto count = static_cast<double>(used * pixels);
  return {centred.first + count * static_cast<double>(*first),
          centred.second - centred.first * centred.first / count};
}

/// Applies sum_values() to the chunks of a plane's rows. x and copy point at the plane; copy may be
/// null.
void sum_plane(PlaneSums* sums, const SumChunks& chunks, const float* x, float* copy,
               int64_t channel, int64_t block, const RowRange& rows, int64_t used,
               const ActivationShape& shape) {
  chunks.fill(sums, channel, block, rows, [&](const RowRange& of) {
    const int64_t first = row_offset(shape, 0, 0, of.begin);
    const PlaneRuns runs = row_runs(shape, of.count());
    const int64_t pixels = of.count() * shape.width;
    if (copy == nullptr) return sum_values<false>(x + first, nullptr, runs, used, pixels);
    return sum_values<true>(x + first, copy + first, runs, used, pixels);
  });
}

/// Returns the sum and the squared differences of a channel's values in the whole batch, computed
/// from sum_values() of each chunk.
PlaneSums combine_chunks(const PlaneSums* sums, const SumChunks& chunks, int64_t channel,
                         int64_t batch, const ActivationShape& shape) {
  PlaneSums total;
  total.first = chunks.total(sums, channel).first;
  const double mean = total.first / static_cast<double>(batch * shape.height * shape.width);
  chunks.visit(sums, channel, [&](const PlaneSums& chunk, int64_t block, int64_t rows) {
    const auto count = static_cast<double>(used_lanes(batch, block) * rows * shape.width);
    const double apart = chunk.first / count - mean;
    total.second += chunk.second + count * apart * apart;
  });
  return total;
}

/// The per-channel arrays that forward_train writes.
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

/// Writes the statistics of a channel with `count` values, from their sum and their squared
/// differences.
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
  /// `copy` may be null; otherwise it is written like y.
  Normaliser(void* y, void* copy, const void* x, const void* residual, const void* mean,
             const void* inv_std, const void* gamma, const void* beta, const ActivationShape& shape,
             const BatchNormOptions& options)
      : y_(static_cast<float*>(y)),
        copy_(static_cast<float*>(copy)),
        x_(static_cast<const float*>(x)),
        residual_(static_cast<const float*>(residual)),
        mean_(static_cast<const float*>(mean)),
        inv_std_(static_cast<const float*>(inv_std)),
        gamma_(static_cast<const float*>(gamma)),
        beta_(static_cast<const float*>(beta)),
        shape_(shape),
        normalise_(pick_normalise(options.relu, residual != nullptr)) {}

  /// Normalises rows, starting at row `first`.
  void operator()(int64_t channel, int64_t block, int64_t first, const PlaneRuns& runs) const {
    const ChannelMap map = {mean_[channel], gamma_[channel] * inv_std_[channel], beta_[channel]};
    const int64_t offset = row_offset(shape_, channel, block, first);
    normalise_(y_ + offset, copy_ == nullptr ? nullptr : copy_ + offset, x_ + offset,
               residual_ == nullptr ? nullptr : residual_ + offset, runs, map);
  }
  void operator()(int64_t channel, int64_t block) const {
    (*this)(channel, block, 0, plane_runs(shape_));
  }

 private:
  float *y_, *copy_;
  const float *x_, *residual_, *mean_, *inv_std_, *gamma_, *beta_;
  const ActivationShape& shape_;
  NormaliseRows normalise_;
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
  const SumChunks chunks(shape, blocks);
  const Normaliser apply(y, nullptr, x, residual, saved_mean, saved_inv_std, gamma, beta, shape,
                         options);

  auto reduce = [&](int64_t channel, int64_t block) {
    sum_plane(sums, chunks, in + row_offset(shape, channel, block, 0), nullptr, channel, block,
              all_rows(shape), used_lanes(launch.batch, block), shape);
  };
  auto finish = [&](int64_t channel) {
    finish_statistics(statistics, channel,
                      combine_chunks(sums, chunks, channel, launch.batch, shape),
                      launch.batch * shape.height * shape.width, options);
  };
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

void sum_block(const ChannelSums& sums, int64_t block, const void* x, void* copy,
               const ActivationShape& shape, const RowRange& rows, const Launch& launch) {
  const SumChunks chunks = chunks_of(sums, shape);
  for (int64_t channel = 0; channel < shape.channels; ++channel) {
    const int64_t plane = row_offset(shape, channel, 0, 0);
    sum_plane(plane_sums_of(sums), chunks, static_cast<const float*>(x) + plane,
              copy == nullptr ? nullptr : static_cast<float*>(copy) + plane, channel, block, rows,
              launch.batch, shape);
  }
  if (copy != nullptr) stream_end();
}

void finish(void* saved_mean, void* saved_inv_std, void* running_mean, void* running_var,
            const ChannelSums& sums, int64_t batch, const ActivationShape& shape,
            const BatchNormOptions& options) {
  check_batch_norm_count(shape, batch);
  const Statistics statistics(saved_mean, saved_inv_std, running_mean, running_var);
  const SumChunks chunks = chunks_of(sums, shape);
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    finish_statistics(statistics, channel,
                      combine_chunks(plane_sums_of(sums), chunks, channel, batch, shape),
                      batch * shape.height * shape.width, options);
}

void apply_block(void* y, void* copy, const void* x, const void* residual, const void* saved_mean,
                 const void* saved_inv_std, const void* gamma, const void* beta,
                 const ActivationShape& shape, const BatchNormOptions& options,
                 const RowRange& rows, const Launch& /*launch*/) {
  const Normaliser apply(y, copy, x, residual, saved_mean, saved_inv_std, gamma, beta, shape,
                         options);
  const PlaneRuns runs = band_runs(shape, rows.count());
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    apply(channel, 0, rows.begin, runs);
  if (copy != nullptr) stream_end();
}

void forward_eval(void* y, const void* x, const void* residual, const void* gamma, const void* beta,
                  const void* running_mean, const void* running_var, const ActivationShape& shape,
                  const BatchNormOptions& options, const Launch& launch) {
  const auto* extra = static_cast<const float*>(residual);
  const PlaneRuns runs = plane_runs(shape);
  const NormaliseRows normalise = pick_normalise(options.relu, residual != nullptr);
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t channel = plane % shape.channels;
    const float inv_std =
        running_inv_std(static_cast<const float*>(running_var)[channel], options.eps);
    const ChannelMap map = {static_cast<const float*>(running_mean)[channel],
                            static_cast<const float*>(gamma)[channel] * inv_std,
                            static_cast<const float*>(beta)[channel]};
    const int64_t offset = plane * shape.plane_stride() * kLanes;
    normalise(static_cast<float*>(y) + offset, nullptr, static_cast<const float*>(x) + offset,
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
