#pragma once
// The reference backend: plain loops in double on the layout of kernels/common/layout.h with one
// lane, which is NCHW with a border. No kernel reads the halo; kernels test the bounds where they
// matter.

#include "kernels/common/parallel.h"
#include "kernels/device/backend.h"

namespace sculpt::kernels::reference {

Conv2dKernels conv2d_kernels();
LinearKernels linear_kernels();
BatchNormKernels batch_norm_kernels();
ElementwiseKernels elementwise_kernels();
PoolingKernels pooling_kernels();
LossKernels loss_kernels();
InputKernels input_kernels();
MaskedUpdateKernels masked_update_kernels();
GradientKernels gradient_kernels();
PruningKernels pruning_kernels();
RankingKernels ranking_kernels();

/// The index of pixel (row, column) of channel c of image n.
inline int64_t at(const ActivationShape& s, int64_t n, int64_t c, int64_t row, int64_t column) {
  return (n * s.channels + c) * s.plane_stride() + row * s.row_stride() + column;
}

inline const double* doubles(const void* p) {
  return static_cast<const double*>(p);
}
inline double* doubles(void* p) {
  return static_cast<double*>(p);
}

/// *p (=, +=) value.
inline void write_grad(double* p, double value, GradWrite write) {
  *p = write == GradWrite::accumulate ? *p + value : value;
}

/// Calls body(n, c) for every plane of the batch, in parallel.
template <class Body>
void for_each_plane(int64_t channels, int64_t batch, const Body& body) {
  parallel_for(batch * channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      body(i / channels, i % channels);
  });
}

/// Calls body(index) for every pixel of the interior, in parallel over planes.
template <class Body>
void for_each_pixel(const ActivationShape& s, int64_t batch, const Body& body) {
  for_each_plane(s.channels, batch, [&](int64_t n, int64_t c) {
    for (int64_t row = 0; row < s.height; ++row)
      for (int64_t column = 0; column < s.width; ++column)
        body(at(s, n, c, row, column));
  });
}

}  // namespace sculpt::kernels::reference
