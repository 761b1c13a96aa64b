#pragma once
// The one precondition of batch norm that a user can break, checked the same way by every backend.

#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// Throws Error if a channel has fewer than two values in this batch: its variance is undefined.
void check_batch_norm_count(const ActivationShape& shape, int64_t batch);

}  // namespace sculpt::kernels
