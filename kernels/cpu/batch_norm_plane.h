#pragma once
// What the passes of CPU batch norm share: sums over a plane, the channel's affine map, and the
// order in which channels and blocks are visited.

#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/cpu/plane.h"

namespace SCULPT_ISA_NAMESPACE {

/// z = (x - mean) * scale + beta, with scale = gamma * inv_std.
struct ChannelMap {
  float mean = 0;
  float scale = 0;
  float beta = 0;

  /// The only place that computes z: the backward pass calls it again to see where ReLU cut, and
  /// must get the same bits.
  Vec operator()(Vec x) const { return (x - broadcast(mean)) * broadcast(scale) + broadcast(beta); }
};

inline float running_inv_std(float var, float eps) {
  return 1.0f / std::sqrt(var + eps);
}

/// Two sums over one (block, channel) plane.
struct PlaneSums {
  double first = 0;
  double second = 0;
};

/// Sums two quantities over the first `used` lanes of a plane's interior: add(i, a, b) adds those
/// of the vector at offset i to a and b. Floats within a short stretch of cells, doubles across.
template <class Add>
inline PlaneSums sum_plane(const PlaneRuns& runs, int64_t used, const Add& add) {
  constexpr int kChains = 4;  // hides the latency of additions; a multiple of kVecsPerCell
  constexpr int64_t kStretch = 64 * kLanes;
  double lane_a[kLanes] = {};
  double lane_b[kLanes] = {};
  Vec a[kChains] = {};
  Vec b[kChains] = {};
  auto flush = [&] {
    for (int v = 0; v < kVecsPerCell; ++v) {
      Vec sum_a = a[v];
      Vec sum_b = b[v];
      for (int c = v + kVecsPerCell; c < kChains; c += kVecsPerCell) {
        sum_a += a[c];
        sum_b += b[c];
      }
      for (int j = 0; j < kVecWidth; ++j) {
        lane_a[v * kVecWidth + j] += static_cast<double>(sum_a[j]);
        lane_b[v * kVecWidth + j] += static_cast<double>(sum_b[j]);
      }
    }
    for (int c = 0; c < kChains; ++c)
      a[c] = b[c] = Vec{};
  };
  int64_t pending = 0;
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t run_end = run * runs.stride + runs.length;
    for (int64_t i = run * runs.stride; i < run_end;) {
      const int64_t end = run_end - i > kStretch ? i + kStretch : run_end;
      pending += end - i;
      for (; i + kChains * kVecWidth <= end; i += kChains * kVecWidth)
        for (int c = 0; c < kChains; ++c)
          add(i + c * kVecWidth, a[c], b[c]);
      for (; i < end; i += kLanes)
        for (int c = 0; c < kVecsPerCell; ++c)
          add(i + c * kVecWidth, a[c], b[c]);
      if (pending >= kStretch) {
        flush();
        pending = 0;
      }
    }
  }
  flush();
  PlaneSums sums;
  for (int64_t lane = 0; lane < used; ++lane) {
    sums.first += lane_a[lane];
    sums.second += lane_b[lane];
  }
  return sums;
}

/// sums[channel * blocks + block], added up in the order of blocks.
inline PlaneSums channel_sums(const PlaneSums* sums, int64_t blocks, int64_t channel) {
  PlaneSums total;
  for (int64_t block = 0; block < blocks; ++block) {
    total.first += sums[channel * blocks + block].first;
    total.second += sums[channel * blocks + block].second;
  }
  return total;
}

/// Runs reduce(channel, block) for all blocks, then finish(channel), then apply(channel, block) for
/// all blocks, of every channel. Where channels spread evenly over the threads, a thread does all
/// of a channel's work in a row, so that `apply` finds in cache what `reduce` read; otherwise
/// planes are spread. Both give the same bits.
template <class Reduce, class Finish, class Apply>
inline void two_passes(int64_t channels, int64_t blocks, const Reduce& reduce, const Finish& finish,
                       const Apply& apply) {
  const int64_t threads = thread_count();
  if (channels % threads == 0 || channels >= 8 * threads) {
    parallel_for(channels, [&](int64_t begin, int64_t end, int) {
      for (int64_t channel = begin; channel < end; ++channel) {
        for (int64_t block = 0; block < blocks; ++block)
          reduce(channel, block);
        finish(channel);
        // Last read first: it is the most likely to be cached still.
        for (int64_t block = blocks - 1; block >= 0; --block)
          apply(channel, block);
      }
    });
    return;
  }
  parallel_for(channels * blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      reduce(i / blocks, i % blocks);
  });
  parallel_for(channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t channel = begin; channel < end; ++channel)
      finish(channel);
  });
  parallel_for(channels * blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      apply(i / blocks, i % blocks);
  });
}

/// Floats from the data pointer to plane (block, channel).
inline int64_t plane_offset(const ActivationShape& s, int64_t channel, int64_t block) {
  return (block * s.channels + channel) * s.plane_stride() * kLanes;
}

/// Partial sums as batch norm on blocks keeps them: as sums[channel * blocks + block].
inline PlaneSums* plane_sums_of(const ChannelSums& sums) {
  static_assert(sizeof(PlaneSums) == 2 * sizeof(double));
  return reinterpret_cast<PlaneSums*>(sums.partials);
}

/// kernels/cpu/batch_norm_backward.cpp. `stats(channel)` come from saved or running statistics;
/// `constant_stats` says whether they depend on x (training) or not.
void batch_norm_backward_train(void* dx, GradWrite write_dx, void* dresidual,
                               GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                               const void* x, const void* y, const void* saved_mean,
                               const void* saved_inv_std, const void* gamma, const void* beta,
                               const ActivationShape& shape, const BatchNormOptions& options,
                               void* workspace, const Launch& launch);

void batch_norm_backward_eval(void* dx, GradWrite write_dx, void* dresidual,
                              GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                              const void* x, const void* y, const void* running_mean,
                              const void* running_var, const void* gamma, const void* beta,
                              const ActivationShape& shape, const BatchNormOptions& options,
                              void* workspace, const Launch& launch);

/// The backward part of BatchNormBlockKernels.
void batch_norm_sum_grad(const ChannelSums& sums, int64_t block, const void* dy, const void* x,
                         const void* y, const void* saved_mean, const void* saved_inv_std,
                         const void* gamma, const void* beta, const ActivationShape& shape,
                         const BatchNormOptions& options, const Launch& launch);
void batch_norm_finish_grad(void* dgamma, void* dbeta, const ChannelSums& sums,
                            const void* saved_inv_std, const ActivationShape& shape);
void batch_norm_apply_grad(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                           const void* dgamma, const void* dbeta, const void* dy, const void* x,
                           const void* y, const void* saved_mean, const void* saved_inv_std,
                           const void* gamma, const void* beta, int64_t batch,
                           const ActivationShape& shape, const BatchNormOptions& options,
                           const Launch& launch);

}  // namespace SCULPT_ISA_NAMESPACE
