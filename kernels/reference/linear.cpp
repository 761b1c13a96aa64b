#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

size_t workspace_bytes(const LinearShape&, int64_t) {
  return 0;
}

void forward(const ConvForward& args, const LinearShape& shape) {
  for_each_plane(shape.out_features, args.launch.batch, [&](int64_t n, int64_t o) {
    const double* in = doubles(args.x) + n * shape.in_features;
    const double* w = doubles(args.weight) + o * shape.in_features;
    double sum = args.bias == nullptr ? 0.0 : doubles(args.bias)[o];
    for (int64_t i = 0; i < shape.in_features; ++i)
      sum += w[i] * in[i];
    doubles(args.y)[n * shape.out_features + o] = sum;
  });
}

void input_grad(const ConvInputGrad& args, const LinearShape& shape) {
  parallel_for(args.launch.batch, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      double* in_grad = doubles(args.dx) + n * shape.in_features;
      if (args.write == GradWrite::overwrite)
        for (int64_t i = 0; i < shape.in_features; ++i)
          in_grad[i] = 0;
      for (int64_t o = 0; o < shape.out_features; ++o) {
        const double g = doubles(args.dy)[n * shape.out_features + o];
        const double* w = doubles(args.weight) + o * shape.in_features;
        for (int64_t i = 0; i < shape.in_features; ++i)
          in_grad[i] += g * w[i];
      }
    }
  });
}

void weight_grad(const ConvWeightGrad& args, const LinearShape& shape) {
  parallel_for(shape.out_features, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      double* dw = doubles(args.dweight) + o * shape.in_features;
      if (args.write == GradWrite::overwrite)
        for (int64_t i = 0; i < shape.in_features; ++i)
          dw[i] = 0;
      double sum = 0;
      for (int64_t n = 0; n < args.launch.batch; ++n) {
        const double g = doubles(args.dy)[n * shape.out_features + o];
        const double* in = doubles(args.x) + n * shape.in_features;
        for (int64_t i = 0; i < shape.in_features; ++i)
          dw[i] += g * in[i];
        sum += g;
      }
      if (args.dbias != nullptr) write_grad(doubles(args.dbias) + o, sum, args.write);
    }
  });
}

}  // namespace

LinearKernels linear_kernels() {
  return {.workspace_bytes = workspace_bytes,
          .forward = forward,
          .input_grad = input_grad,
          .weight_grad = weight_grad};
}

}  // namespace sculpt::kernels::reference
