#include "kernels/host/gradients.h"

#include "kernels/common/parallel.h"

namespace sculpt::kernels {
namespace {

void gather(void* few, const void* many, const int32_t* indices, int64_t count, void* /*stream*/) {
  auto* const to = static_cast<float*>(few);
  const auto* const from = static_cast<const float*>(many);
  parallel_for(count, [=](int64_t begin, int64_t end, int) {
    for (int64_t j = begin; j < end; ++j)
      to[j] = from[indices[j]];
  });
}

void scatter(void* many, const void* few, const int32_t* indices, int64_t count, void* /*stream*/) {
  auto* const to = static_cast<float*>(many);
  const auto* const from = static_cast<const float*>(few);
  parallel_for(count, [=](int64_t begin, int64_t end, int) {
    for (int64_t j = begin; j < end; ++j)
      to[indices[j]] = from[j];
  });
}

void add(void* sum, const void* terms, int64_t count, void* /*stream*/) {
  auto* const to = static_cast<float*>(sum);
  const auto* const from = static_cast<const float*>(terms);
  parallel_for(count, [=](int64_t begin, int64_t end, int) {
    for (int64_t j = begin; j < end; ++j)
      to[j] += from[j];
  });
}

}  // namespace

GradientKernels host_gradient_kernels() {
  return {.gather = gather, .scatter = scatter, .add = add};
}

}  // namespace sculpt::kernels
