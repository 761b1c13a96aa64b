#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(const LinearShape&, int64_t) {
  return 0;
}

void forward(void* y, const void* x, const void* weight, const void* bias, const LinearShape& shape,
             void* /*workspace*/, const Launch& launch) {
  for_each_plane(shape.out_features, launch.batch, [&](int64_t n, int64_t o) {
    const double* in = doubles(x) + n * shape.in_features;
    const double* w = doubles(weight) + o * shape.in_features;
    double sum = bias == nullptr ? 0.0 : doubles(bias)[o];
    for (int64_t i = 0; i < shape.in_features; ++i)
      sum += w[i] * in[i];
    doubles(y)[n * shape.out_features + o] = sum;
  });
}

void input_grad(void* dx, const void* dy, const void* weight, const LinearShape& shape,
                GradWrite write, void* /*workspace*/, const Launch& launch) {
  parallel_for(launch.batch, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      double* in_grad = doubles(dx) + n * shape.in_features;
      if (write == GradWrite::overwrite)
        for (int64_t i = 0; i < shape.in_features; ++i)
          in_grad[i] = 0;
      for (int64_t o = 0; o < shape.out_features; ++o) {
        const double g = doubles(dy)[n * shape.out_features + o];
        const double* w = doubles(weight) + o * shape.in_features;
        for (int64_t i = 0; i < shape.in_features; ++i)
          in_grad[i] += g * w[i];
      }
    }
  });
}

void weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                 const LinearShape& shape, GradWrite write, void* /*workspace*/,
                 const Launch& launch) {
  parallel_for(shape.out_features, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      double* dw = doubles(dweight) + o * shape.in_features;
      if (write == GradWrite::overwrite)
        for (int64_t i = 0; i < shape.in_features; ++i)
          dw[i] = 0;
      double sum = 0;
      for (int64_t n = 0; n < launch.batch; ++n) {
        const double g = doubles(dy)[n * shape.out_features + o];
        const double* in = doubles(x) + n * shape.in_features;
        for (int64_t i = 0; i < shape.in_features; ++i)
          dw[i] += g * in[i];
        sum += g;
      }
      if (dbias != nullptr) write_grad(doubles(dbias) + o, sum, write);
    }
  });
}

}  // namespace

LinearKernels linear_kernels() {
  return {workspace_bytes, forward, input_grad, weight_grad};
}

}  // namespace sculpt::kernels::reference
