#pragma once
// The map from dy to the gradients of batch norm's inputs, element by element:
//
//   g = dy where ReLU let z pass (all of dy without ReLU);   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g
//
// with M values per channel and xhat = (x - mean) * inv_std.

#include "kernels/cuda/batch_norm/channels.h"

namespace sculpt::kernels::cuda {

/// The array from which the gate of the ReLU is recomputed.
enum class Gate { none, from_x, from_y };

/// Returns the gate of a backward pass with these arguments.
inline Gate gate_of(const BatchNormBackward& args) {
  if (!args.options.relu) return Gate::none;
  return args.y != nullptr ? Gate::from_y : Gate::from_x;
}

/// Returns dy where ReLU let z pass, and 0 elsewhere. `y` is read for Gate::from_y only.
template <int N>
__device__ __forceinline__ Floats<N> gated(Gate gate, Floats<N> dy, const Floats<N>& y,
                                           const Floats<N>& x, const ChannelMap<N>& map) {
  for (int i = 0; i < N; ++i) {
    const bool passed =
        gate == Gate::none || (gate == Gate::from_y ? y.at[i] : map(i, x.at[i])) > 0;
    dy.at[i] = passed ? dy.at[i] : 0;
  }
  return dy;
}

/// The sums that dx depends on.
struct GradientTerms {
  const float* dgamma;
  const float* dbeta;
  float inv_count;  ///< 1 / M, or 0 if the statistics are constants
};

/// Returns the sums of a backward pass with these arguments, which has computed dgamma and dbeta.
inline GradientTerms terms_of(const BatchNormBackward& args, bool constant_statistics) {
  const int64_t images = constant_statistics ? args.launch.batch : args.images();
  const int64_t count = images * args.shape.height * args.shape.width;
  return {floats(args.dgamma), floats(args.dbeta),
          constant_statistics ? 0 : 1.0f / static_cast<float>(count)};
}

/// dx of N channels as a function of g and x.
template <int N>
struct GradientMap {
  ChannelMap<N> map;
  float mean_g[N];
  float slope[N];

  GradientMap() = default;
  __device__ GradientMap(const Affine& affine, const GradientTerms& terms, int channel)
      : map(affine, channel) {
    for (int i = 0; i < N; ++i) {
      const int c = channel + i;
      const bool none = terms.inv_count == 0;  // the sums may be missing then
      mean_g[i] = none ? 0 : terms.dbeta[c] * terms.inv_count;
      slope[i] = none ? 0 : terms.dgamma[c] * affine.statistics.inv_std_of(c) * terms.inv_count;
    }
  }
  __device__ float dx(int i, float g, float x) const {
    return map.scale[i] * (g - mean_g[i] - (x - map.mean[i]) * slope[i]);
  }
};

}  // namespace sculpt::kernels::cuda
