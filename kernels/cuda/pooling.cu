// Pooling, bound by memory bandwidth. The input is read once from memory (windows overlap in the
// caches) and the output is written once. Backward passes read dy (max pooling also reads x) and
// write dx. They gather, so that no two threads write the same element and sums have a fixed order:
// a thread owns a vector of channels of one pixel and reads the windows that contain it.

#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

struct Plane {
  int height;
  int width;
};

struct Pool {
  Plane in;
  Plane out;
  int channels;
  int kernel;
  int stride;
  int padding;
};

/// A half-open range.
struct Range {
  int begin;
  int end;
};

/// Returns the input rows (or columns) in the window of output row `i`, for an input of `size`
/// rows.
__device__ Range window_of(const Pool& p, int i, int size) {
  const int begin = i * p.stride - p.padding;
  const int end = begin + p.kernel;
  return {begin > 0 ? begin : 0, end < size ? end : size};
}

/// Returns the output rows (or columns) whose windows contain input row `i`, for an output of
/// `size` rows.
__device__ Range covering(const Pool& p, int i, int size) {
  const int from_first = i + p.padding;
  const int begin = from_first < p.kernel ? 0 : (from_first - p.kernel) / p.stride + 1;
  const int end = from_first / p.stride + 1;
  return {begin, end < size ? end : size};
}

/// The pixel and the first channel of a thread, in image blockIdx.x.
struct Cell {
  int y;
  int x;
  int channel;
  bool valid;
};

template <int N>
__device__ Cell cell_of(const Plane& plane, int channels) {
  const int index = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  const int groups = channels / N;
  const int pixel = index / groups;
  const int y = pixel / plane.width;
  return {y, pixel - y * plane.width, (index - pixel * groups) * N, y < plane.height};
}

/// Returns the number of elements before the block's image. The elements of a single image fit an
/// int.
__device__ int64_t image_offset(const Plane& plane, int channels) {
  return static_cast<int64_t>(blockIdx.x) * (plane.height * plane.width * channels);
}

/// Returns the index of an element in its image.
__device__ int at(const Plane& plane, int channels, int y, int x, int channel) {
  return (y * plane.width + x) * channels + channel;
}

enum class Kind { max, average };

template <Kind kKind, class T, int N>
__global__ void __launch_bounds__(kThreads) pool_forward(T* y, const T* x, const Pool p) {
  follow_previous_kernels();
  const Cell cell = cell_of<N>(p.out, p.channels);
  if (!cell.valid) return;
  x += image_offset(p.in, p.channels);
  y += image_offset(p.out, p.channels);
  const Range rows = window_of(p, cell.y, p.in.height);
  const Range columns = window_of(p, cell.x, p.in.width);
  Floats<N> result;
  for (int i = 0; i < N; ++i)
    result.at[i] = kKind == Kind::max ? -__builtin_inff() : 0;
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const Floats<N> value = load_floats<N>(x + at(p.in, p.channels, row, column, cell.channel));
      for (int i = 0; i < N; ++i) {
        const float v = value.at[i];
        if constexpr (kKind == Kind::max)
          result.at[i] = v > result.at[i] || v != v ? v : result.at[i];  // NaN wins
        else
          result.at[i] += v;
      }
    }
  }
  if constexpr (kKind == Kind::average) {
    const float scale = 1.0f / static_cast<float>(p.kernel * p.kernel);
    for (int i = 0; i < N; ++i)
      result.at[i] *= scale;
  }
  store_floats(y + at(p.out, p.channels, cell.y, cell.x, cell.channel), result);
}

/// y := x at the position of the first maximum of `by` in the window. NaN counts as the largest
/// value.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    pool_select(T* y, const T* x, const T* by, const Pool p) {
  follow_previous_kernels();
  const Cell cell = cell_of<N>(p.out, p.channels);
  if (!cell.valid) return;
  x += image_offset(p.in, p.channels);
  by += image_offset(p.in, p.channels);
  y += image_offset(p.out, p.channels);
  const Range rows = window_of(p, cell.y, p.in.height);
  const Range columns = window_of(p, cell.x, p.in.width);
  const int first = at(p.in, p.channels, rows.begin, columns.begin, cell.channel);
  Floats<N> largest = load_floats<N>(by + first), result = load_floats<N>(x + first);
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const int here = at(p.in, p.channels, row, column, cell.channel);
      const Floats<N> keys = load_floats<N>(by + here), values = load_floats<N>(x + here);
      for (int i = 0; i < N; ++i) {
        const float key = keys.at[i], best = largest.at[i];
        if (!(key > best || (key != key && best == best))) continue;
        largest.at[i] = key;
        result.at[i] = values.at[i];
      }
    }
  }
  store_floats(y + at(p.out, p.channels, cell.y, cell.x, cell.channel), result);
}

/// Returns true if another value of a window precedes `mine` as the window's first maximum.
/// `before` says whether the other value lies before `mine` in row-major order. NaN counts as the
/// largest value.
__device__ bool beats(float other, float mine, bool before) {
  if (mine != mine) return before && other != other;
  return other > mine || other != other || (before && other == mine);
}

/// x is the image. Bit i of the result is set if element i of `mine`, which lies at (row, column),
/// is the first maximum of its window.
template <int N, class T>
__device__ unsigned first_maxima(const T* x, const Pool& p, const Cell& cell, const Floats<N>& mine,
                                 const Range& rows, const Range& columns) {
  unsigned wins = (1u << N) - 1;
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      if (row == cell.y && column == cell.x) continue;
      const bool before = row < cell.y || (row == cell.y && column < cell.x);
      const Floats<N> other = load_floats<N>(x + at(p.in, p.channels, row, column, cell.channel));
      for (int i = 0; i < N; ++i)
        if (beats(other.at[i], mine.at[i], before)) wins &= ~(1u << i);
    }
  }
  return wins;
}

/// Only max pooling reads x.
template <Kind kKind, class T, int N>
__global__ void __launch_bounds__(kThreads)
    pool_backward(T* dx, const T* dy, const T* x, const Pool p, bool accumulate) {
  follow_previous_kernels();
  const Cell cell = cell_of<N>(p.in, p.channels);
  if (!cell.valid) return;
  dx += image_offset(p.in, p.channels);
  dy += image_offset(p.out, p.channels);
  if constexpr (kKind == Kind::max) x += image_offset(p.in, p.channels);
  const int here = at(p.in, p.channels, cell.y, cell.x, cell.channel);
  const Range out_rows = covering(p, cell.y, p.out.height);
  const Range out_columns = covering(p, cell.x, p.out.width);
  Floats<N> mine = {}, sum = {};
  if constexpr (kKind == Kind::max) mine = load_floats<N>(x + here);
  for (int out_y = out_rows.begin; out_y < out_rows.end; ++out_y) {
    for (int out_x = out_columns.begin; out_x < out_columns.end; ++out_x) {
      unsigned takes = (1u << N) - 1;
      if constexpr (kKind == Kind::max)
        takes = first_maxima<N>(x, p, cell, mine, window_of(p, out_y, p.in.height),
                                window_of(p, out_x, p.in.width));
      const Floats<N> g = load_floats<N>(dy + at(p.out, p.channels, out_y, out_x, cell.channel));
      for (int i = 0; i < N; ++i)
        sum.at[i] += takes >> i & 1 ? g.at[i] : 0;
    }
  }
  if constexpr (kKind == Kind::average) {
    const float scale = 1.0f / static_cast<float>(p.kernel * p.kernel);
    for (int i = 0; i < N; ++i)
      sum.at[i] *= scale;
  }
  write_floats(dx + here, sum, accumulate);
}

/// A block averages one tile of channels of one image. tiling.rows is the number of pixels of an
/// image, which form one chunk.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    average_images(T* y, const T* __restrict__ x, float scale, const Tiling tiling) {
  follow_previous_kernels();
  __shared__ float shared[N * kThreads];
  const Place at = place<N>(tiling, 0, static_cast<int>(blockIdx.y));
  const T* image = x + blockIdx.x * tiling.rows * tiling.channels;
  float sums[N] = {};
  for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
    const Floats<N> value = load_floats<N>(image + row * tiling.channels + at.channel);
    for (int i = 0; i < N; ++i)
      sums[i] += value.at[i];
  }
  sum_over_rows(sums, shared, tiling);
  if (static_cast<int>(threadIdx.x) >= tiling.tile || at.channel >= tiling.channels) return;
  Floats<N> mean;
  for (int i = 0; i < N; ++i)
    mean.at[i] = sums[i] * scale;
  store_floats(y + static_cast<int64_t>(blockIdx.x) * tiling.channels + at.channel, mean);
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    spread_averages(T* dx, const T* dy, float scale, const Plane plane, int channels,
                    bool accumulate) {
  follow_previous_kernels();
  const Cell cell = cell_of<N>(plane, channels);
  if (!cell.valid) return;
  Floats<N> share = load_floats<N>(dy + static_cast<int64_t>(blockIdx.x) * channels + cell.channel);
  for (int i = 0; i < N; ++i)
    share.at[i] *= scale;
  dx += image_offset(plane, channels);
  write_floats(dx + at(plane, channels, cell.y, cell.x, cell.channel), share, accumulate);
}

Plane plane_of(const ActivationShape& shape) {
  return {static_cast<int>(shape.height), static_cast<int>(shape.width)};
}

Pool pool_of(const Pool2dShape& s) {
  return {plane_of(s.in),
          plane_of(s.out),
          static_cast<int>(s.in.channels),
          static_cast<int>(s.kernel),
          static_cast<int>(s.stride),
          static_cast<int>(s.padding)};
}

/// Returns a grid with one thread per vector of each image.
dim3 grid_over(const ActivationShape& shape, int vector, const Launch& launch) {
  return dim3(
      static_cast<unsigned>(launch.batch),
      static_cast<unsigned>(ceil_div(shape.elements_per_image(), int64_t{kThreads} * vector)));
}

template <Kind kKind, class T>
void forward(void* y, const void* x, const Pool2dShape& s, const Launch& launch) {
  with_vector<T>(s.out.channels, [&](auto vector) {
    SCULPT_LAUNCH((pool_forward<kKind, T, vector>), grid_over(s.out, vector, launch),
                  dim3(kThreads), 0, launch.stream, static_cast<T*>(y), static_cast<const T*>(x),
                  pool_of(s));
  });
}

template <class T>
void max_select(void* y, const void* x, const void* by, const Pool2dShape& s,
                const Launch& launch) {
  with_vector<T>(s.out.channels, [&](auto vector) {
    SCULPT_LAUNCH((pool_select<T, vector>), grid_over(s.out, vector, launch), dim3(kThreads), 0,
                  launch.stream, static_cast<T*>(y), static_cast<const T*>(x),
                  static_cast<const T*>(by), pool_of(s));
  });
}

template <Kind kKind, class T>
void backward(void* dx, const void* dy, const void* x, const Pool2dShape& s, GradWrite write,
              const Launch& launch) {
  with_vector<T>(s.in.channels, [&](auto vector) {
    SCULPT_LAUNCH((pool_backward<kKind, T, vector>), grid_over(s.in, vector, launch),
                  dim3(kThreads), 0, launch.stream, static_cast<T*>(dx), static_cast<const T*>(dy),
                  static_cast<const T*>(x), pool_of(s), write == GradWrite::accumulate);
  });
}

template <class T>
void average_backward(void* dx, const void* dy, const Pool2dShape& s, GradWrite write,
                      const Launch& launch) {
  backward<Kind::average, T>(dx, dy, nullptr, s, write, launch);
}

float global_scale(const ActivationShape& in) {
  return 1.0f / static_cast<float>(in.height * in.width);
}

template <class T>
void global_average_forward(void* y, const void* x, const ActivationShape& in,
                            const Launch& launch) {
  with_vector<T>(in.channels, [&](auto vector) {
    const int64_t groups = ceil_div(in.channels, vector);
    Tiling tiling;
    tiling.rows = tiling.chunk_rows = in.height * in.width;
    tiling.channels = static_cast<int>(in.channels);
    tiling.tile = channel_tile(groups);
    tiling.tile_rows = kThreads / tiling.tile;
    const dim3 grid(static_cast<unsigned>(launch.batch),
                    static_cast<unsigned>(ceil_div(groups, tiling.tile)));
    SCULPT_LAUNCH((average_images<T, vector>), grid, dim3(kThreads), 0, launch.stream,
                  static_cast<T*>(y), static_cast<const T*>(x), global_scale(in), tiling);
  });
}

template <class T>
void global_average_backward(void* dx, const void* dy, const ActivationShape& in, GradWrite write,
                             const Launch& launch) {
  with_vector<T>(in.channels, [&](auto vector) {
    SCULPT_LAUNCH((spread_averages<T, vector>), grid_over(in, vector, launch), dim3(kThreads), 0,
                  launch.stream, static_cast<T*>(dx), static_cast<const T*>(dy), global_scale(in),
                  plane_of(in), static_cast<int>(in.channels), write == GradWrite::accumulate);
  });
}

}  // namespace

template <class T>
PoolingKernels pooling_kernels() {
  return {forward<Kind::max, T>, backward<Kind::max, T>,    forward<Kind::average, T>,
          average_backward<T>,   global_average_forward<T>, global_average_backward<T>,
          max_select<T>};
}
template PoolingKernels pooling_kernels<float>();
template PoolingKernels pooling_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
