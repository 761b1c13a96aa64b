#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

void update(void* weight, void* momentum, const void* grad, const uint8_t* mask, int64_t count,
            const SgdStep& step, void* /*stream*/) {
  for (int64_t i = 0; i < count; ++i) {
    double& w = doubles(weight)[i];
    double& m = doubles(momentum)[i];
    if (mask != nullptr && mask[i] == 0) {
      w = m = 0;
      continue;
    }
    const double g = double{step.grad_scale} * doubles(grad)[i] + double{step.weight_decay} * w;
    m = double{step.momentum} * m + g;
    w -= double{step.lr} * (step.nesterov ? g + double{step.momentum} * m : m);
  }
}

double sum_of_squares(const void* grad, const uint8_t* mask, int64_t count, void* /*stream*/) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    if (mask == nullptr || mask[i] != 0) sum += doubles(grad)[i] * doubles(grad)[i];
  return sum;
}

}  // namespace

MaskedSgdKernels masked_sgd_kernels() {
  return {update, sum_of_squares};
}

}  // namespace sculpt::kernels::reference
