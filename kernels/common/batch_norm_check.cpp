#include "kernels/common/batch_norm_check.h"

#include "kernels/common/check.h"

namespace sculpt::kernels {

void check_batch_norm_count(const ActivationShape& shape, int64_t batch) {
  if (batch * shape.height * shape.width > 1) return;
  fail(
      "batch norm in training needs more than one value per channel, but the batch has {} image(s) "
      "of {}x{} pixels; change train.batch, or set train.drop_last = true",
      batch, shape.height, shape.width);
}

}  // namespace sculpt::kernels
