#include "kernels/pooling.h"

#include "kernels/cpu/plane.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// The part of a pooling window that lies inside the input: rows [y0, y1), columns [x0, x1).
struct Window {
  int64_t y0, y1, x0, x1;
};

Window window_of(const Pool2dShape& s, int64_t out_y, int64_t out_x) {
  const int64_t y = out_y * s.stride - s.padding;
  const int64_t x = out_x * s.stride - s.padding;
  const int64_t y_end = y + s.kernel;
  const int64_t x_end = x + s.kernel;
  return {y > 0 ? y : 0, y_end < s.in.height ? y_end : s.in.height, x > 0 ? x : 0,
          x_end < s.in.width ? x_end : s.in.width};
}

/// Calls body(out_offset, window, lane) for every vector of one output plane. out_offset includes
/// `lane`, the vector's offset within its cell; body adds it to input offsets.
template <class Body>
void for_each_output(const Pool2dShape& s, const Body& body) {
  for (int64_t y = 0; y < s.out.height; ++y) {
    for (int64_t x = 0; x < s.out.width; ++x) {
      const Window window = window_of(s, y, x);
      const int64_t cell = (y * s.out.row_stride() + x) * kLanes;
      for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
        body(cell + lane, window, lane);
    }
  }
}

/// Calls body(in_offset) for every cell of a window, in row-major order.
template <class Body>
void for_each_in_window(const Pool2dShape& s, const Window& w, int64_t lane, const Body& body) {
  for (int64_t y = w.y0; y < w.y1; ++y)
    for (int64_t x = w.x0; x < w.x1; ++x)
      body((y * s.in.row_stride() + x) * kLanes + lane);
}

/// Returns the maximum of a window. NaN wins, as in PyTorch.
Vec window_max(const float* x, const Pool2dShape& s, const Window& window, int64_t lane) {
  Vec largest = broadcast(-__builtin_inff());
  for_each_in_window(s, window, lane, [&](int64_t i) {
    const Vec v = load(x + i);
    largest = (v > largest) | (v != v) ? v : largest;
  });
  return largest;
}

void zero_plane(float* x, const ActivationShape& shape) {
  for_each_vec(plane_runs(shape), [=](int64_t i) { store(x + i, zero_vec()); });
}

void max_forward(void* y, const void* x, const Pool2dShape& s, const Launch& launch) {
  for_each_plane(s.in, launch.batch, [&](int64_t plane) {
    const float* in = static_cast<const float*>(x) + plane * s.in.plane_stride() * kLanes;
    float* out = static_cast<float*>(y) + plane * s.out.plane_stride() * kLanes;
    for_each_output(s, [&](int64_t i, const Window& window, int64_t lane) {
      store(out + i, window_max(in, s, window, lane));
    });
  });
}

void max_backward(void* dx, const void* dy, const void* x, const Pool2dShape& s, GradWrite write,
                  const Launch& launch) {
  for_each_plane(s.in, launch.batch, [&](int64_t plane) {
    const float* in = static_cast<const float*>(x) + plane * s.in.plane_stride() * kLanes;
    float* in_grad = static_cast<float*>(dx) + plane * s.in.plane_stride() * kLanes;
    const float* out_grad = static_cast<const float*>(dy) + plane * s.out.plane_stride() * kLanes;
    if (write == GradWrite::overwrite) zero_plane(in_grad, s.in);
    for_each_output(s, [&](int64_t i, const Window& window, int64_t lane) {
      const Vec largest = window_max(in, s, window, lane);
      Vec left = load(out_grad + i);  // becomes 0 in a lane once the lane's maximum has been found
      for_each_in_window(s, window, lane, [&](int64_t j) {
        const Vec v = load(in + j);
        const VecInt hit = (v == largest) | (v != v);
        store(in_grad + j, load(in_grad + j) + (hit ? left : zero_vec()));
        left = hit ? zero_vec() : left;
      });
    });
  });
}

void max_select(void* y, const void* x, const void* by, const Pool2dShape& s,
                const Launch& launch) {
  for_each_plane(s.in, launch.batch, [&](int64_t plane) {
    const int64_t first_in = plane * s.in.plane_stride() * kLanes;
    const float* values = static_cast<const float*>(x) + first_in;
    const float* keys = static_cast<const float*>(by) + first_in;
    float* out = static_cast<float*>(y) + plane * s.out.plane_stride() * kLanes;
    for_each_output(s, [&](int64_t i, const Window& window, int64_t lane) {
      const int64_t first = (window.y0 * s.in.row_stride() + window.x0) * kLanes + lane;
      Vec largest = load(keys + first);
      Vec selected = load(values + first);
      for_each_in_window(s, window, lane, [&](int64_t j) {
        const Vec key = load(keys + j);
        const VecInt wins = (key > largest) | ((key != key) & (largest == largest));
        largest = wins ? key : largest;
        selected = wins ? load(values + j) : selected;
      });
      store(out + i, selected);
    });
  });
}

void average_forward(void* y, const void* x, const Pool2dShape& s, const Launch& launch) {
  const Vec scale = broadcast(1.0f / static_cast<float>(s.kernel * s.kernel));
  for_each_plane(s.in, launch.batch, [&](int64_t plane) {
    const float* in = static_cast<const float*>(x) + plane * s.in.plane_stride() * kLanes;
    float* out = static_cast<float*>(y) + plane * s.out.plane_stride() * kLanes;
    for_each_output(s, [&](int64_t i, const Window& window, int64_t lane) {
      Vec sum = zero_vec();
      for_each_in_window(s, window, lane, [&](int64_t j) { sum += load(in + j); });
      store(out + i, sum * scale);
    });
  });
}

void average_backward(void* dx, const void* dy, const Pool2dShape& s, GradWrite write,
                      const Launch& launch) {
  const Vec scale = broadcast(1.0f / static_cast<float>(s.kernel * s.kernel));
  for_each_plane(s.in, launch.batch, [&](int64_t plane) {
    float* in_grad = static_cast<float*>(dx) + plane * s.in.plane_stride() * kLanes;
    const float* out_grad = static_cast<const float*>(dy) + plane * s.out.plane_stride() * kLanes;
    if (write == GradWrite::overwrite) zero_plane(in_grad, s.in);
    for_each_output(s, [&](int64_t i, const Window& window, int64_t lane) {
      const Vec share = load(out_grad + i) * scale;
      for_each_in_window(s, window, lane,
                         [&](int64_t j) { store(in_grad + j, load(in_grad + j) + share); });
    });
  });
}

void global_average_forward(void* y, const void* x, const ActivationShape& in,
                            const Launch& launch) {
  const PlaneRuns runs = plane_runs(in);
  const Vec scale = broadcast(1.0f / static_cast<float>(in.height * in.width));
  for_each_plane(in, launch.batch, [&](int64_t plane) {
    const float* source = static_cast<const float*>(x) + plane * in.plane_stride() * kLanes;
    float* cell = static_cast<float*>(y) + plane * kLanes;
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
      Vec sum = zero_vec();
      for (int64_t run = 0; run < runs.count; ++run) {
        Vec row_sum = zero_vec();
        for (int64_t i = lane; i < runs.length; i += kLanes)
          row_sum += load(source + run * runs.stride + i);
        sum += row_sum;
      }
      store(cell + lane, sum * scale);
    }
  });
}

void global_average_backward(void* dx, const void* dy, const ActivationShape& in, GradWrite write,
                             const Launch& launch) {
  const PlaneRuns runs = plane_runs(in);
  const Vec scale = broadcast(1.0f / static_cast<float>(in.height * in.width));
  for_each_plane(in, launch.batch, [&](int64_t plane) {
    float* in_grad = static_cast<float*>(dx) + plane * in.plane_stride() * kLanes;
    const float* out_grad = static_cast<const float*>(dy) + plane * kLanes;
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
      const Vec share = load(out_grad + lane) * scale;
      for (int64_t run = 0; run < runs.count; ++run)
        for (int64_t i = lane; i < runs.length; i += kLanes)
          write_grad(in_grad + run * runs.stride + i, share, write);
    }
  });
}

}  // namespace

PoolingKernels pooling_kernels() {
  return {max_forward,      max_backward,           average_forward,
          average_backward, global_average_forward, global_average_backward,
          max_select};
}

}  // namespace SCULPT_ISA_NAMESPACE
