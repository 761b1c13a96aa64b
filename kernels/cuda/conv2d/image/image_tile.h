#pragma once
// Images of bf16 in shared memory.
//
// A pixel has kPlanes vectors of 8 channels (16 bytes). The vectors with the same channels of all
// pixels are a plane, so that 8 neighbouring pixels of a row lie in 128 bytes: ldmatrix, which
// reads 8 vectors of 16 bytes at a time, then meets all 32 banks once.

#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {

inline constexpr int kVectorBytes = 16;
inline constexpr int kTaps = 9;  ///< pixels of a window, which has 3 x 3

/// Returns the least distance of planes of `bytes` bytes at which the vectors of one pixel, which
/// neighbouring threads write, lie in different banks.
constexpr int plane_distance(int bytes, int planes) {
  const int wanted = 128 / planes;
  return bytes + ((wanted - bytes) % 128 + 128) % 128;
}

/// An image with a border of zeros, which stand for what a window reads outside of the image. Rows
/// have kSide pixels, of which the first lies to the left of the image.
template <int kChannels, int kSide>
struct ImageTile {
  static constexpr int kPlanes = kChannels / 8;
  static constexpr int kPlaneBytes = plane_distance(kSide * kSide * kVectorBytes, kPlanes);
  static constexpr int kBytes = kPlanes * kPlaneBytes;

  unsigned char* data;

  /// Returns the first vector of the pixel at (y - 1, x - 1), which is the first pixel of the
  /// window around (y, x).
  __device__ unsigned char* window(int y, int x) const {
    return data + (y * kSide + x) * kVectorBytes;
  }
  /// The distance of a window's pixel (r, s) from its first one.
  static __device__ constexpr int tap_bytes(int r, int s) { return (r * kSide + s) * kVectorBytes; }
};

/// An image without a border. Its pixels are numbered row by row.
template <int kChannels, int kSide>
struct PixelTile {
  static constexpr int kPlanes = kChannels / 8;
  /// The number of pixels, up to a multiple of 16. Pixels that the image lacks are zeros.
  static constexpr int kPixels = ((kSide - 2) * (kSide - 2) + 15) / 16 * 16;
  static constexpr int kPlaneBytes = plane_distance(kPixels * kVectorBytes, kPlanes);
  static constexpr int kBytes = kPlanes * kPlaneBytes;

  unsigned char* data;

  __device__ unsigned char* pixel(int index) const { return data + index * kVectorBytes; }
};

/// Fills shared memory with zeros. `bytes` is a multiple of 16.
template <int kThreads_>
__device__ __forceinline__ void fill_with_zeros(unsigned char* shared, int bytes) {
  for (int i = static_cast<int>(threadIdx.x) * kVectorBytes; i < bytes;
       i += kThreads_ * kVectorBytes)
    store_pack(reinterpret_cast<float*>(shared + i), Pack<float, 4>{});
}

/// Starts to copy an image into a tile. Thread t copies vector t % kPlanes of every kStep-th pixel.
/// Pixels of the image are kPitch elements apart. place(y, x) returns the first vector of a pixel.
template <class Tile, int kThreads_, int kPitch = Tile::kPlanes * 8, class Place>
__device__ __forceinline__ void start_copy(const bf16* image, int height, int width,
                                           const Place& place) {
  constexpr int kStep = kThreads_ / Tile::kPlanes;
  static_assert(kThreads_ % Tile::kPlanes == 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int plane = thread % Tile::kPlanes * Tile::kPlaneBytes;
  const int step_y = kStep / width, step_x = kStep % width;
  int y = thread / Tile::kPlanes / width, x = thread / Tile::kPlanes % width;
  for (const bf16* from =
           image + thread / Tile::kPlanes * kPitch + thread % Tile::kPlanes * kVector<bf16>;
       y < height; from += kStep * kPitch) {
    cp_async_16(place(y, x) + plane, from, true);
    x += step_x;
    y += step_y;
    if (x >= width) {
      x -= width;
      ++y;
    }
  }
}

}  // namespace sculpt::kernels::cuda
