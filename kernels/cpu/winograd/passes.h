#pragma once
// The functions of weight_grad.cpp that winograd_kernels() puts in its table.

#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

size_t winograd_weight_grad_bytes(const Conv2dShape& shape, int64_t max_batch);

void winograd_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape);

// The parts of winograd_weight_grad() that run on rows of a block.
size_t winograd_grad_scratch_bytes(const Conv2dShape& shape);
size_t winograd_partial_bytes(const Conv2dShape& shape);
void winograd_weight_grad_block(const ConvWeightGrad& args, const Conv2dShape& shape,
                                const RowRange& rows);
void winograd_sum_partials(void* dweight, void* partials, int64_t count, const Conv2dShape& shape,
                           GradWrite write);

}  // namespace SCULPT_ISA_NAMESPACE
