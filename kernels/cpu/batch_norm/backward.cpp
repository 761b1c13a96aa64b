// Backward batch norm. With g = dy where ReLU let z pass (all of dy without ReLU), M values per
// channel and xhat = (x - mean) * inv_std:
//
//   dbeta = sum g;   dgamma = sum g * xhat;   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g

#include "kernels/cpu/batch_norm/batch_norm.h"
#include "kernels/cpu/batch_norm/plane.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Arguments of backward_train and backward_eval.
struct BatchNormBackward {
  float* dx;  ///< may be null, as may dresidual
  GradWrite write_dx;
  float* dresidual;
  GradWrite write_dresidual;
  const float* dgamma;  ///< read by `apply` only, as is dbeta
  const float* dbeta;
  const float* dy;
  const float* x;
  const float* y;
  const float* gamma;
  const float* beta;
  float* copy = nullptr;          ///< receives a copy of dy from `reduce`; may be null
  bool stream_dresidual = false;  ///< whether dresidual bypasses the cache
};

/// Mean and 1 / sqrt(var + eps) of a channel, from saved or from running statistics.
struct ChannelStats {
  float mean = 0;
  float inv_std = 0;
};

/// The array from which the gate of the ReLU is recomputed.
enum class Gate { none, from_x, from_y };

/// Returns dy where ReLU let z pass, and 0 elsewhere. dy and y point at the current vector; y is
/// read for Gate::from_y only.
template <Gate kGate>
Vec gated(const float* dy, const float* y, Vec x, const ChannelMap& map) {
  const Vec g = load(dy);
  if constexpr (kGate == Gate::from_x) return map(x) > zero_vec() ? g : zero_vec();
  if constexpr (kGate == Gate::from_y) return load(y) > zero_vec() ? g : zero_vec();
  return g;
}

/// dx = scale * (g - mean_g - (x - mean) * slope).
struct DxTerms {
  float mean_g = 0;
  float slope = 0;
};

/// Computes the sums of g and of g * (x - mean) over some rows. With kCopy, also copies dy.
template <Gate kGate, bool kCopy>
PlaneSums reduce_rows(const BatchNormBackward& args, int64_t offset, const PlaneRuns& runs,
                      int64_t used, const ChannelMap& map) {
  const float* dy = args.dy + offset;
  float* copy = kCopy ? args.copy + offset : nullptr;
  const float* y = kGate == Gate::from_y ? args.y + offset : nullptr;
  const float* in = args.x + offset;
  return sum_rows(runs, used, [=](int64_t i, Vec& sum_g, Vec& sum_gx) {
    const Vec x = load(in + i);
    const Vec g = gated<kGate>(dy + i, y + i, x, map);
    prefetch(in + i + runs.ahead);
    if constexpr (kCopy) stream(copy + i, load(dy + i));
    sum_g += g;
    sum_gx += g * (x - broadcast(map.mean));
  });
}

/// Writes dx and dresidual for some rows. In dx, the first `used` lanes get gradients and the
/// padded lanes exactly 0.
template <Gate kGate>
void apply_rows(const BatchNormBackward& args, int64_t offset, const PlaneRuns& runs, int64_t used,
                const ChannelMap& channel_map, const DxTerms& channel_terms) {
  // Stores go through memcpy, so the compiler must assume that a store changes the objects behind
  // the references. Local copies avoid this.
  const BatchNormBackward to = args;
  const ChannelMap map = channel_map;
  const DxTerms terms = channel_terms;
  VecInt keep[kVecsPerCell];
  for (int64_t lane = 0; lane < kLanes; ++lane)
    keep[lane / kVecWidth][lane % kVecWidth] = lane < used ? -1 : 0;
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t begin = offset + run * runs.stride;
    for (int64_t cell = begin; cell < begin + runs.length; cell += kLanes) {
      for (int v = 0; v < kVecsPerCell; ++v) {
        const int64_t i = cell + v * kVecWidth;
        const Vec x = load(to.x + i);
        const Vec g = gated<kGate>(to.dy + i, to.y + i, x, map);
        prefetch(to.x + i + runs.ahead);
        prefetch(to.dy + i + runs.ahead);
        if (to.dx != nullptr) prefetch_to_write(to.dx + i + runs.ahead);
        if constexpr (kGate == Gate::from_y) prefetch(to.y + i + runs.ahead);
        const Vec centred = x - broadcast(map.mean);
        const Vec dx =
            broadcast(map.scale) * (g - broadcast(terms.mean_g) - centred * broadcast(terms.slope));
        if (to.stream_dresidual)
          stream(to.dresidual + i, g);
        else if (to.dresidual != nullptr)
          write_grad(to.dresidual + i, g, to.write_dresidual);
        if (to.dx != nullptr) write_grad(to.dx + i, keep[v] ? dx : zero_vec(), to.write_dx);
      }
    }
  }
}

/// Mean and 1 / sqrt(var + eps) as the forward pass saved them.
struct SavedStats {
  const float* mean;
  const float* inv_std;

  SavedStats(const void* saved_mean, const void* saved_inv_std)
      : mean(static_cast<const float*>(saved_mean)),
        inv_std(static_cast<const float*>(saved_inv_std)) {}
  ChannelStats operator()(int64_t channel) const { return {mean[channel], inv_std[channel]}; }
};

/// The two passes over the planes of an activation. Stats maps a channel to its ChannelStats.
template <Gate kGate, class Stats>
struct BackwardPlanes {
  const BatchNormBackward& args;
  const Stats& stats;
  const ActivationShape& shape;
  bool on_blocks = false;

  ChannelMap map_of(int64_t channel) const {
    const ChannelStats s = stats(channel);
    return {s.mean, args.gamma[channel] * s.inv_std, args.beta[channel]};
  }
  PlaneRuns runs(const RowRange& rows) const {
    return on_blocks ? band_runs(shape, rows.count()) : row_runs(shape, rows.count());
  }
  PlaneSums reduce(int64_t channel, int64_t block, const RowRange& rows, int64_t used) const {
    const auto reduce = args.copy == nullptr ? reduce_rows<kGate, false> : reduce_rows<kGate, true>;
    return reduce(args, row_offset(shape, channel, block, rows.begin), runs(rows), used,
                  map_of(channel));
  }
  /// values_per_channel is M, or 0 if the statistics are constants.
  void apply(int64_t channel, int64_t block, const RowRange& rows, int64_t used,
             int64_t values_per_channel) const {
    if (args.dx == nullptr && args.dresidual == nullptr) return;
    DxTerms terms;
    if (values_per_channel > 0) {
      const auto m = static_cast<float>(values_per_channel);
      terms = {args.dbeta[channel] / m, args.dgamma[channel] * stats(channel).inv_std / m};
    }
    apply_rows<kGate>(args, row_offset(shape, channel, block, rows.begin), runs(rows), used,
                      map_of(channel), terms);
  }
};

/// Calls body(planes) with the BackwardPlanes whose gate fits the options and arguments.
template <class Stats, class Body>
void with_planes(const BatchNormBackward& args, const Stats& stats, const ActivationShape& shape,
                 const BatchNormOptions& options, bool on_blocks, const Body& body) {
  if (!options.relu)
    body(BackwardPlanes<Gate::none, Stats>{args, stats, shape, on_blocks});
  else if (args.y != nullptr)
    body(BackwardPlanes<Gate::from_y, Stats>{args, stats, shape, on_blocks});
  else
    body(BackwardPlanes<Gate::from_x, Stats>{args, stats, shape, on_blocks});
}

void write_parameter_grads(float* dgamma, float* dbeta, int64_t channel, const PlaneSums& total,
                           float inv_std) {
  dbeta[channel] = static_cast<float>(total.first);
  dgamma[channel] = static_cast<float>(total.second * inv_std);
}

/// values_per_channel is M, or 0 if the statistics are constants.
template <class Stats>
void backward(void* dgamma, void* dbeta, const BatchNormBackward& args, const Stats& stats,
              int64_t values_per_channel, const ActivationShape& shape,
              const BatchNormOptions& options, void* workspace, const Launch& launch) {
  auto* sums = static_cast<PlaneSums*>(workspace);
  const int64_t blocks = blocks_of(launch.batch);
  const SumChunks chunks(shape, blocks);
  const auto finish = [&](int64_t channel) {
    write_parameter_grads(static_cast<float*>(dgamma), static_cast<float*>(dbeta), channel,
                          chunks.total(sums, channel), stats(channel).inv_std);
  };
  with_planes(args, stats, shape, options, false, [&](const auto& planes) {
    const auto reduce = [&](int64_t channel, int64_t block) {
      chunks.fill(sums, channel, block, all_rows(shape), [&](const RowRange& rows) {
        return planes.reduce(channel, block, rows, used_lanes(launch.batch, block));
      });
    };
    const auto apply = [&](int64_t channel, int64_t block) {
      planes.apply(channel, block, all_rows(shape), used_lanes(launch.batch, block),
                   values_per_channel);
    };
    two_passes(shape.channels, blocks, reduce, finish, apply);
  });
}

BatchNormBackward pack(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                       const void* dgamma, const void* dbeta, const void* dy, const void* x,
                       const void* y, const void* gamma, const void* beta) {
  return {static_cast<float*>(dx),
          write_dx,
          static_cast<float*>(dresidual),
          write_dresidual,
          static_cast<const float*>(dgamma),
          static_cast<const float*>(dbeta),
          static_cast<const float*>(dy),
          static_cast<const float*>(x),
          static_cast<const float*>(y),
          static_cast<const float*>(gamma),
          static_cast<const float*>(beta),
          nullptr,
          false};
}

}  // namespace

void batch_norm_backward_train(void* dx, GradWrite write_dx, void* dresidual,
                               GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                               const void* x, const void* y, const void* saved_mean,
                               const void* saved_inv_std, const void* gamma, const void* beta,
                               const ActivationShape& shape, const BatchNormOptions& options,
                               void* workspace, const Launch& launch) {
  backward(dgamma, dbeta,
           pack(dx, write_dx, dresidual, write_dresidual, dgamma, dbeta, dy, x, y, gamma, beta),
           SavedStats(saved_mean, saved_inv_std), launch.batch * shape.height * shape.width, shape,
           options, workspace, launch);
}

void batch_norm_backward_eval(void* dx, GradWrite write_dx, void* dresidual,
                              GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                              const void* x, const void* y, const void* running_mean,
                              const void* running_var, const void* gamma, const void* beta,
                              const ActivationShape& shape, const BatchNormOptions& options,
                              void* workspace, const Launch& launch) {
  const float eps = options.eps;
  const auto stats = [=](int64_t channel) {
    return ChannelStats{static_cast<const float*>(running_mean)[channel],
                        running_inv_std(static_cast<const float*>(running_var)[channel], eps)};
  };
  backward(dgamma, dbeta,
           pack(dx, write_dx, dresidual, write_dresidual, dgamma, dbeta, dy, x, y, gamma, beta),
           stats, 0, shape, options, workspace, launch);
}

void batch_norm_sum_grad(const ChannelSums& sums, int64_t block, const void* dy, void* copy,
                         const void* x, const void* y, const void* saved_mean,
                         const void* saved_inv_std, const void* gamma, const void* beta,
                         const ActivationShape& shape, const BatchNormOptions& options,
                         const RowRange& rows, const Launch& launch) {
  BatchNormBackward args = pack(nullptr, GradWrite::overwrite, nullptr, GradWrite::overwrite,
                                nullptr, nullptr, dy, x, y, gamma, beta);
  args.copy = static_cast<float*>(copy);
  const SavedStats stats(saved_mean, saved_inv_std);
  const SumChunks chunks = chunks_of(sums, shape);
  with_planes(args, stats, shape, options, true, [&](const auto& planes) {
    for (int64_t channel = 0; channel < shape.channels; ++channel)
      chunks.fill(plane_sums_of(sums), channel, block, rows,
                  [&](const RowRange& of) { return planes.reduce(channel, 0, of, launch.batch); });
  });
  if (copy != nullptr) stream_end();
}

void batch_norm_finish_grad(void* dgamma, void* dbeta, const ChannelSums& sums,
                            const void* saved_inv_std, const ActivationShape& shape) {
  const SumChunks chunks = chunks_of(sums, shape);
  for (int64_t channel = 0; channel < shape.channels; ++channel)
    write_parameter_grads(static_cast<float*>(dgamma), static_cast<float*>(dbeta), channel,
                          chunks.total(plane_sums_of(sums), channel),
                          static_cast<const float*>(saved_inv_std)[channel]);
}

void batch_norm_apply_grad(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                           bool stream_dresidual, const void* dgamma, const void* dbeta,
                           const void* dy, const void* x, const void* y, const void* saved_mean,
                           const void* saved_inv_std, const void* gamma, const void* beta,
                           int64_t batch, const ActivationShape& shape,
                           const BatchNormOptions& options, const RowRange& rows,
                           const Launch& launch) {
  BatchNormBackward args =
      pack(dx, write_dx, dresidual, write_dresidual, dgamma, dbeta, dy, x, y, gamma, beta);
  args.stream_dresidual = stream_dresidual && dresidual != nullptr;
  SCULPT_CHECK(!args.stream_dresidual || write_dresidual == GradWrite::overwrite,
               "a gradient that is added to cannot go around the cache");
  const SavedStats stats(saved_mean, saved_inv_std);
  with_planes(args, stats, shape, options, true, [&](const auto& planes) {
    for (int64_t channel = 0; channel < shape.channels; ++channel)
      planes.apply(channel, 0, rows, launch.batch, batch * shape.height * shape.width);
  });
  if (args.stream_dresidual) stream_end();
}

}  // namespace SCULPT_ISA_NAMESPACE
