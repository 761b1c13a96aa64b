#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

void gather(void* few, const void* many, const int32_t* indices, int64_t count, void* /*stream*/) {
  for (int64_t j = 0; j < count; ++j)
    doubles(few)[j] = doubles(many)[indices[j]];
}

void scatter(void* many, const void* few, const int32_t* indices, int64_t count, void* /*stream*/) {
  for (int64_t j = 0; j < count; ++j)
    doubles(many)[indices[j]] = doubles(few)[j];
}

void add(void* sum, const void* terms, int64_t count, void* /*stream*/) {
  for (int64_t j = 0; j < count; ++j)
    doubles(sum)[j] += doubles(terms)[j];
}

}  // namespace

GradientKernels gradient_kernels() {
  return {.gather = gather, .scatter = scatter, .add = add};
}

}  // namespace sculpt::kernels::reference
