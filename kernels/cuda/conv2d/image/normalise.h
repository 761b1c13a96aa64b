#pragma once
// Images whose pixels are the output of a batch norm that has not written it: batch norm's input is
// normalised while it is loaded (kernels/conv_norm.h).

#include "kernels/conv_norm.h"
#include "kernels/cuda/batch_norm/channels.h"
#include "kernels/cuda/conv2d/image/image_tile.h"

namespace sculpt::kernels::cuda {

/// kCount constants per channel in shared memory: [constant][channel].
template <int kChannels, int kCount>
struct ChannelConstants {
  static constexpr int kBytes = kCount * kChannels * static_cast<int>(sizeof(float));

  float* data;

  __device__ void put(int channel, const float (&constants)[kCount]) const {
    for (int i = 0; i < kCount; ++i)
      data[i * kChannels + channel] = constants[i];
  }
  /// Loads a constant of four channels.
  __device__ __forceinline__ void load(float (&to)[4], int constant, int channel) const {
    const Pack<float, 4> four = load_pack<4>(data + constant * kChannels + channel);
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i)
      to[i] = four.at[i];
  }
};

/// Returns four of eight elements in float.
__device__ __forceinline__ Floats<4> half_of(const Pack<bf16, 8>& eight, int half) {
  Floats<4> four;
  SCULPT_UNROLL
  for (int i = 0; i < 4; ++i)
    four.at[i] = to_float(eight.at[4 * half + i]);
  return four;
}

/// The output of batch norm as a function of its input.
struct NormalisedImages {
  const bf16* x;  ///< the input; null: batch norm has written its output
  Affine affine;
  bool relu;
};

inline NormalisedImages normalised_images(const DeferredActivation& deferred) {
  const BatchNormForward& norm = deferred.norm;
  return {static_cast<const bf16*>(norm.x),
          deferred.running_statistics ? running_affine(norm) : saved_affine(norm),
          norm.options.relu};
}

/// The constants of the map from the input to the output.
template <int kChannels>
struct NormaliseConstants : ChannelConstants<kChannels, 3> {
  /// Thread c puts the constants of channel c.
  __device__ void put(const Affine& affine) const {
    const int c = static_cast<int>(threadIdx.x);
    if (c >= kChannels) return;
    const ChannelMap<1> map(affine, c);
    const float constants[3] = {map.mean[0], map.scale[0], map.beta[0]};
    ChannelConstants<kChannels, 3>::put(c, constants);
  }
  __device__ __forceinline__ ChannelMap<4> map(int channel) const {
    ChannelMap<4> map;
    this->load(map.mean, 0, channel);
    this->load(map.scale, 1, channel);
    this->load(map.beta, 2, channel);
    return map;
  }
};

/// Normalises a vector of 8 channels from `channel` on, and stores it in shared memory as batch
/// norm would have written it.
template <int kChannels>
__device__ __forceinline__ void put_normalised(unsigned char* to, const Pack<bf16, 8>& x, bool relu,
                                               const NormaliseConstants<kChannels>& constants,
                                               int channel) {
  SCULPT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const ChannelMap<4> map = constants.map(channel + half * 4);
    Floats<4> z = half_of(x, half);
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      z.at[i] = map(i, z.at[i]);
      if (relu) z.at[i] = relu_of(z.at[i]);
    }
    store_floats(reinterpret_cast<bf16*>(to) + half * 4, z);
  }
}

}  // namespace sculpt::kernels::cuda
