#include "engine/ops/winograd_workspace.h"

#include <cstdint>
#include <cstring>

#include "kernels/common/parallel.h"

namespace sculpt::ops {

using kernels::ConvPass;

WinogradWorkspace::WinogradWorkspace(const kernels::WinogradBlockKernels& kernels,
                                     const kernels::Conv2dShape& shape, bool backward)
    : kernels_(&kernels),
      shape_(&shape),
      points_pass_(backward ? ConvPass::input_grad : ConvPass::forward),
      points_bytes_(kernels.points_bytes(shape, points_pass_)),
      partial_bytes_(backward ? kernels.partial_bytes(shape) : 0),
      scratch_bytes_(kernels.scratch_bytes(shape)) {}

size_t WinogradWorkspace::bytes() const {
  return points_bytes_ + static_cast<size_t>(thread_count()) * (partial_bytes_ + scratch_bytes_);
}

void WinogradWorkspace::transform(const void* weight) const {
  kernels_->transform(first_, weight, *shape_, points_pass_);
}

void WinogradWorkspace::zero_partials() const {
  const auto bytes = static_cast<int64_t>(partial_bytes_) * thread_count();
  parallel_for(bytes, [&](int64_t begin, int64_t end, int) {
    std::memset(partials() + begin, 0, static_cast<size_t>(end - begin));
  });
}

void WinogradWorkspace::sum_partials(void* dweight) const {
  kernels_->sum_partials(dweight, partials(), thread_count(), *shape_,
                         kernels::GradWrite::overwrite);
}

void* WinogradWorkspace::scratch(int thread) const {
  return partials() + static_cast<size_t>(thread_count()) * partial_bytes_ +
         static_cast<size_t>(thread) * scratch_bytes_;
}

}  // namespace sculpt::ops
