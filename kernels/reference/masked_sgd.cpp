#include <cmath>

#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

void update(const SgdArena& arena, const SgdScalars* scalars, const SgdOptions& options,
            void* /*stream*/) {
  const double mu = options.momentum;
  for (int64_t s = 0; s < arena.segment_count; ++s) {
    const SgdSegment& segment = arena.segments[s];
    for (int64_t i = segment.offset; i < segment.offset + segment.count; ++i) {
      double& w = doubles(arena.weight)[i];
      double& m = doubles(arena.momentum)[i];
      if (arena.mask != nullptr && arena.mask[i] == 0) {
        w = m = 0;
        continue;
      }
      const double g =
          double{scalars->grad_scale} * doubles(arena.grad)[i] + double{segment.weight_decay} * w;
      m = mu * m + g;
      w -= double{scalars->lr} * (options.nesterov ? g + mu * m : m);
    }
  }
}

void clip(SgdScalars* scalars, const void* grad, const uint8_t* mask, int64_t count, float max_norm,
          void* /*workspace*/, void* /*stream*/) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    if (mask == nullptr || mask[i] != 0) sum += doubles(grad)[i] * doubles(grad)[i];
  const double norm = std::sqrt(sum);
  scalars->grad_scale = norm > double{max_norm} ? static_cast<float>(max_norm / norm) : 1.0f;
}

size_t clip_workspace_bytes(int64_t /*count*/) {
  return 0;
}

}  // namespace

MaskedSgdKernels masked_sgd_kernels() {
  return {update, nullptr, clip, clip_workspace_bytes};
}

}  // namespace sculpt::kernels::reference
