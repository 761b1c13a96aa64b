// Backward batch norm. With g = dy where ReLU let z pass (all of dy without ReLU), M values per
// channel and xhat = (x - mean) * inv_std:
//
//   dbeta = sum g;   dgamma = sum g * xhat;   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g

#include "kernels/cpu/batch_norm.h"
#include "kernels/cpu/batch_norm_plane.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Arguments of backward_train and backward_eval.
struct BatchNormBackward {
  float* dx;
  GradWrite write_dx;
  float* dresidual;
  GradWrite write_dresidual;
  float* dgamma;
  float* dbeta;
  const float* dy;
  const float* x;
  const float* y;
  const float* gamma;
  const float* beta;
};

/// Mean and 1 / sqrt(var + eps) of a channel, from saved or from running statistics.
struct ChannelStats {
  float mean = 0;
  float inv_std = 0;
};

/// Where ReLU's cut is read from.
enum class Gate { none, from_x, from_y };

/// dy where ReLU let z pass. dy, y: at the vector; y is read for Gate::from_y only.
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

template <Gate kGate>
PlaneSums reduce_plane(const BatchNormBackward& args, int64_t offset, const PlaneRuns& runs,
                       int64_t used, const ChannelMap& map) {
  const float* dy = args.dy + offset;
  const float* y = kGate == Gate::from_y ? args.y + offset : nullptr;
  const float* in = args.x + offset;
  return sum_plane(runs, used, [=](int64_t i, Vec& sum_g, Vec& sum_gx) {
    const Vec x = load(in + i);
    const Vec g = gated<kGate>(dy + i, y + i, x, map);
    sum_g += g;
    sum_gx += g * (x - broadcast(map.mean));
  });
}

/// `used` lanes get gradients, the padded ones exactly 0.
template <Gate kGate>
void apply_plane(const BatchNormBackward& args, int64_t offset, const PlaneRuns& runs, int64_t used,
                 const ChannelMap& channel_map, const DxTerms& channel_terms) {
  // Local copies: stores go through memcpy and could, for all the compiler knows, change the
  // others.
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
        const Vec centred = x - broadcast(map.mean);
        const Vec dx =
            broadcast(map.scale) * (g - broadcast(terms.mean_g) - centred * broadcast(terms.slope));
        if (to.dresidual != nullptr) write_grad(to.dresidual + i, g, to.write_dresidual);
        write_grad(to.dx + i, keep[v] ? dx : zero_vec(), to.write_dx);
      }
    }
  }
}

/// stats(channel): mean and inverse standard deviation. values_per_channel: M, or 0 when statistics
/// are constants.
template <Gate kGate, class Stats>
void backward(const BatchNormBackward& args, const Stats& stats, int64_t values_per_channel,
              const ActivationShape& shape, void* workspace, const Launch& launch) {
  auto* sums = static_cast<PlaneSums*>(workspace);
  const int64_t blocks = blocks_of(launch.batch);
  const PlaneRuns runs = plane_runs(shape);
  auto map_of = [&](int64_t channel) {
    const ChannelStats s = stats(channel);
    return ChannelMap{s.mean, args.gamma[channel] * s.inv_std, args.beta[channel]};
  };
  auto reduce = [&](int64_t channel, int64_t block) {
    sums[channel * blocks + block] =
        reduce_plane<kGate>(args, plane_offset(shape, channel, block), runs,
                            used_lanes(launch.batch, block), map_of(channel));
  };
  auto finish = [&](int64_t channel) {
    const PlaneSums total = channel_sums(sums, blocks, channel);
    args.dbeta[channel] = static_cast<float>(total.first);
    args.dgamma[channel] = static_cast<float>(total.second * stats(channel).inv_std);
  };
  auto apply = [&](int64_t channel, int64_t block) {
    DxTerms terms;
    if (values_per_channel > 0) {
      const auto m = static_cast<float>(values_per_channel);
      terms = {args.dbeta[channel] / m, args.dgamma[channel] * stats(channel).inv_std / m};
    }
    apply_plane<kGate>(args, plane_offset(shape, channel, block), runs,
                       used_lanes(launch.batch, block), map_of(channel), terms);
  };
  two_passes(shape.channels, blocks, reduce, finish, apply);
}

template <class Stats>
void pick_gate(const BatchNormBackward& args, const Stats& stats, int64_t values_per_channel,
               const ActivationShape& shape, const BatchNormOptions& options, void* workspace,
               const Launch& launch) {
  const auto run = !options.relu       ? backward<Gate::none, Stats>
                   : args.y != nullptr ? backward<Gate::from_y, Stats>
                                       : backward<Gate::from_x, Stats>;
  run(args, stats, values_per_channel, shape, workspace, launch);
}

BatchNormBackward pack(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                       void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                       const void* gamma, const void* beta) {
  return {static_cast<float*>(dx),        write_dx,
          static_cast<float*>(dresidual), write_dresidual,
          static_cast<float*>(dgamma),    static_cast<float*>(dbeta),
          static_cast<const float*>(dy),  static_cast<const float*>(x),
          static_cast<const float*>(y),   static_cast<const float*>(gamma),
          static_cast<const float*>(beta)};
}

}  // namespace

void batch_norm_backward_train(void* dx, GradWrite write_dx, void* dresidual,
                               GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                               const void* x, const void* y, const void* saved_mean,
                               const void* saved_inv_std, const void* gamma, const void* beta,
                               const ActivationShape& shape, const BatchNormOptions& options,
                               void* workspace, const Launch& launch) {
  const auto stats = [=](int64_t channel) {
    return ChannelStats{static_cast<const float*>(saved_mean)[channel],
                        static_cast<const float*>(saved_inv_std)[channel]};
  };
  pick_gate(pack(dx, write_dx, dresidual, write_dresidual, dgamma, dbeta, dy, x, y, gamma, beta),
            stats, launch.batch * shape.height * shape.width, shape, options, workspace, launch);
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
  pick_gate(pack(dx, write_dx, dresidual, write_dresidual, dgamma, dbeta, dy, x, y, gamma, beta),
            stats, 0, shape, options, workspace, launch);
}

}  // namespace SCULPT_ISA_NAMESPACE
