// The table of the sparse convolution, and what its passes share.

#include "kernels/sparse_conv2d.h"

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/cpu/sparse/passes.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {

void gather_values(float* values, const float* weight, const SparseTaps& taps) {
  parallel_for(taps.count(), [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k)
      values[k] = weight[stored_at(taps, k)];
  });
}

BatchGrid grid_of(const SparseTaps& taps, int64_t batch) {
  BatchGrid grid = {taps.pixels, ceil_div(batch, kLanes)};
  PixelGrid2d& pixels = grid.pixels;
  if (pixels.rows * pixels.columns > 1) return grid;
  pixels.columns = grid.blocks;
  pixels.out_column = pixels.out_block;
  pixels.in_column = pixels.in_block;
  grid.blocks = 1;
  return grid;
}

PixelGrid2d rows_of(const PixelGrid2d& grid, int64_t begin, int64_t end) {
  PixelGrid2d pixels = grid;
  pixels.rows = end - begin;
  pixels.out_first += begin * grid.out_row;
  pixels.in_first += begin * grid.in_row;
  return pixels;
}

namespace {

size_t workspace_bytes(const SparsePattern& pattern) {
  // The workspace holds either the values of one pass or one partial gradient per thread.
  return std::max(entry_bytes(pattern.forward()),
                  sparse_partial_bytes(pattern) * static_cast<size_t>(thread_count()));
}

// The values of the forward pass lie first, followed by the values of each class of the input
// gradient.

size_t values_bytes(const SparsePattern& pattern) {
  size_t bytes = entry_bytes(pattern.forward());
  for (const SparseTaps& taps : pattern.input_grad())
    bytes += entry_bytes(taps);
  return bytes;
}

void gather(void* values, const void* weight, const SparsePattern& pattern) {
  float* to = floats(values);
  gather_values(to, floats(weight), pattern.forward());
  to += values_stride(pattern.forward());
  for (const SparseTaps& taps : pattern.input_grad()) {
    gather_values(to, floats(weight), taps);
    to += values_stride(taps);
  }
}

}  // namespace

SparseConv2dKernels sparse_conv2d_kernels() {
  return {.workspace_bytes = workspace_bytes,
          .forward = sparse_forward,
          .input_grad = sparse_input_grad,
          .weight_grad = sparse_weight_grad,
          .on_blocks = {.values_bytes = values_bytes,
                        .gather = gather,
                        .forward = sparse_forward_block,
                        .input_grad = sparse_input_grad_block,
                        .partial_bytes = sparse_partial_bytes,
                        .weight_grad = sparse_weight_grad_block,
                        .sum_partials = sparse_sum_partials}};
}

}  // namespace SCULPT_ISA_NAMESPACE
