#pragma once
// The passes that sparse_conv2d_kernels() puts in its table, and what they share. An entry is a
// kept weight in the lists of a pass (SparseTaps); its value is the weight.

#include "kernels/cpu/vec.h"
#include "kernels/sparse_conv2d.h"

namespace SCULPT_ISA_NAMESPACE {

// activations.cpp: the passes that write activations.
void sparse_forward(const ConvForward& args, const SparsePattern& pattern);
void sparse_input_grad(const ConvInputGrad& args, const SparsePattern& pattern);
void sparse_forward_block(const ConvForward& args, const SparsePattern& pattern,
                          const RowRange& rows);
void sparse_input_grad_block(const ConvInputGrad& args, const SparsePattern& pattern,
                             const RowRange& rows);

// weight_grad.cpp: the gradient of the kept weights.
void sparse_weight_grad(const ConvWeightGrad& args, const SparsePattern& pattern);
size_t sparse_partial_bytes(const SparsePattern& pattern);
void sparse_weight_grad_block(const ConvWeightGrad& args, const SparsePattern& pattern,
                              const RowRange& rows);
void sparse_sum_partials(void* dweight, const void* partials, int64_t count,
                         const SparsePattern& pattern, GradWrite write);

// sparse_conv2d.cpp: what the passes share.

inline size_t align_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Bytes of an array with one float per entry; 64-byte aligned.
inline size_t entry_bytes(const SparseTaps& taps) {
  return align_up(static_cast<size_t>(taps.count()) * sizeof(float));
}
/// The gathered values of several passes lie one behind the other. Returns the distance, in floats,
/// from the values of these taps to those of the next taps.
inline int64_t values_stride(const SparseTaps& taps) {
  return static_cast<int64_t>(entry_bytes(taps) / sizeof(float));
}

/// Returns the index at which an entry's weight is stored.
inline int64_t stored_at(const SparseTaps& taps, int64_t entry) {
  return taps.weights.empty() ? entry : taps.weights[static_cast<size_t>(entry)];
}

/// values[entry] := the entry's weight.
void gather_values(float* values, const float* weight, const SparseTaps& taps);

/// The pixels of the planes of a batch, and the number of times they repeat.
struct BatchGrid {
  PixelGrid2d pixels;
  int64_t blocks = 0;
};

/// Returns the grid of `batch` images. 1x1 planes are tiled over the blocks of the batch instead of
/// over pixels: the blocks become columns of a single block.
BatchGrid grid_of(const SparseTaps& taps, int64_t batch);

/// Returns the pixels of rows [begin, end) of a grid.
PixelGrid2d rows_of(const PixelGrid2d& grid, int64_t begin, int64_t end);

}  // namespace SCULPT_ISA_NAMESPACE
