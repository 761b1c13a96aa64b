
#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/philox_lanes.h"
#include "kernels/cpu/plane.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Calls body(offset) for every vector of the interior; offset in floats from the data pointer.
template <class Body>
void for_each_activation(const ActivationShape& shape, const Launch& launch, const Body& body) {
  const PlaneRuns runs = plane_runs(shape);
  const int64_t stride = shape.plane_stride() * kLanes;
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    for_each_vec(runs, [&](int64_t i) { body(plane * stride + i); });
  });
}

void relu_forward(void* y, const void* x, const ActivationShape& shape, const Launch& launch) {
  auto* out = static_cast<float*>(y);
  const auto* in = static_cast<const float*>(x);
  for_each_activation(shape, launch, [=](int64_t i) { store(out + i, relu(load(in + i))); });
}

void relu_backward(void* dx, const void* dy, const void* y, const ActivationShape& shape,
                   GradWrite write, const Launch& launch) {
  auto* out = static_cast<float*>(dx);
  const auto* grad = static_cast<const float*>(dy);
  const auto* value = static_cast<const float*>(y);
  for_each_activation(shape, launch, [=](int64_t i) {
    write_grad(out + i, load(value + i) > zero_vec() ? load(grad + i) : zero_vec(), write);
  });
}

void add_forward(void* y, const void* a, const void* b, const ActivationShape& shape,
                 const Launch& launch) {
  auto* out = static_cast<float*>(y);
  const auto* left = static_cast<const float*>(a);
  const auto* right = static_cast<const float*>(b);
  for_each_activation(shape, launch,
                      [=](int64_t i) { store(out + i, load(left + i) + load(right + i)); });
}

void pass_through(void* dx, const void* dy, const ActivationShape& shape, GradWrite write,
                  const Launch& launch) {
  auto* out = static_cast<float*>(dx);
  const auto* grad = static_cast<const float*>(dy);
  for_each_activation(shape, launch,
                      [=](int64_t i) { write_grad(out + i, load(grad + i), write); });
}

/// out (=, +=) kept ? in / (1 - rate) : 0.
void dropout(float* out, const float* in, const ActivationShape& shape, const DropoutDraw& draw,
             GradWrite write, const Launch& launch) {
  const float scale = 1.0f / (1.0f - draw.rate);
  const auto elements = static_cast<uint64_t>(shape.elements_per_image());
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const int64_t block = plane / shape.channels;
    const int64_t channel = plane % shape.channels;
    const uint64_t first_image =
        static_cast<uint64_t>(draw.first_image + block * kLanes) * elements;
    for (int64_t row = 0; row < shape.height; ++row) {
      for (int64_t column = 0; column < shape.width; ++column) {
        const int64_t element = (channel * shape.height + row) * shape.width + column;
        alignas(64) float uniform[kLanes];
        philox_uniform_lanes(uniform, draw.key, first_image + static_cast<uint64_t>(element),
                             elements, *draw.step);
        const int64_t cell = plane * shape.plane_stride() + row * shape.row_stride() + column;
        for (int64_t i = 0; i < kLanes; i += kVecWidth) {
          const Vec kept = load(in + cell * kLanes + i) * broadcast(scale);
          const Vec value = load(uniform + i) < broadcast(draw.rate) ? zero_vec() : kept;
          write_grad(out + cell * kLanes + i, value, write);
        }
      }
    }
  });
}

void dropout_forward(void* y, const void* x, const ActivationShape& shape, const DropoutDraw& draw,
                     const Launch& launch) {
  dropout(static_cast<float*>(y), static_cast<const float*>(x), shape, draw, GradWrite::overwrite,
          launch);
}

void dropout_backward(void* dx, const void* dy, const ActivationShape& shape,
                      const DropoutDraw& draw, GradWrite write, const Launch& launch) {
  dropout(static_cast<float*>(dx), static_cast<const float*>(dy), shape, draw, write, launch);
}

// In this layout, flattening only removes the halo. The order of rows does not change.

void flatten_forward(void* y, const void* x, const ActivationShape& shape, const Launch& launch) {
  const PlaneRuns runs = plane_runs(shape);
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    const float* in = static_cast<const float*>(x) + plane * shape.plane_stride() * kLanes;
    float* out = static_cast<float*>(y) + plane * runs.count * runs.length;
    for (int64_t run = 0; run < runs.count; ++run)
      std::memcpy(out + run * runs.length, in + run * runs.stride,
                  static_cast<size_t>(runs.length) * sizeof(float));
  });
}

void flatten_backward(void* dx, const void* dy, const ActivationShape& shape, GradWrite write,
                      const Launch& launch) {
  const PlaneRuns runs = plane_runs(shape);
  for_each_plane(shape, launch.batch, [&](int64_t plane) {
    float* out = static_cast<float*>(dx) + plane * shape.plane_stride() * kLanes;
    const float* in = static_cast<const float*>(dy) + plane * runs.count * runs.length;
    for (int64_t run = 0; run < runs.count; ++run)
      for (int64_t i = 0; i < runs.length; i += kVecWidth)
        write_grad(out + run * runs.stride + i, load(in + run * runs.length + i), write);
  });
}

}  // namespace

ElementwiseKernels elementwise_kernels() {
  return {relu_forward,    relu_backward,    add_forward,     pass_through,
          dropout_forward, dropout_backward, flatten_forward, flatten_backward};
}

}  // namespace SCULPT_ISA_NAMESPACE
