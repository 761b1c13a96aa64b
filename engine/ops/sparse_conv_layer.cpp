#include "engine/ops/sparse_conv_layer.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"

namespace sculpt::ops {
namespace {

// Largest share of kept weights at which sparse kernels were faster than dense ones on convolutions
// of ResNet-18 and ResNet-20 (AVX-512, two threads). Constants and not measured anew, so that a
// resumed run chooses as the interrupted one did.
constexpr double kActivations = 0.5;
constexpr double kWeights = 0.4;

bool is_kept(uint8_t mask) {
  return mask != 0;
}

}  // namespace

void SparseConvLayer::prepare(const ParameterArena& arena, ParameterId weight,
                              const kernels::Conv2dShape& shape) {
  arena_ = &arena;
  weight_ = weight;
  shape_ = shape;
}

void SparseConvLayer::follow_mask(SparseKernels wanted) {
  if (kernels().forward == nullptr || arena_->mask_version() == mask_version_) return;
  mask_version_ = arena_->mask_version();
  const auto mask = ParameterArena::slice(arena_->masks(), (*arena_)[weight_]);
  const bool dense = std::ranges::all_of(mask, is_kept);
  if (dense ? mask_.empty() : std::ranges::equal(mask, mask_)) return;

  activations_ = weights_ = false;
  conv_.reset();
  workspace_ = {};
  values_ = {};
  partials_ = {};
  mask_.clear();
  if (dense) return;
  mask_.assign(mask.begin(), mask.end());
  const auto kept = static_cast<double>(std::ranges::count_if(mask, is_kept));
  const double density = kept / static_cast<double>(mask.size());
  const bool always = wanted == SparseKernels::on, never = wanted == SparseKernels::off;
  activations_ = always || (!never && density <= kActivations);
  weights_ = always || (!never && density <= kWeights);
  if (!activations_ && !weights_) return;
  conv_.emplace(shape_, mask);
  workspace_ = Buffer(kernels().workspace_bytes(*conv_), "the workspace of a sparse convolution",
                      arena_->backend().memory);
  const auto& on_blocks = kernels().on_blocks;
  if (on_blocks.forward == nullptr) return;
  const auto threads = static_cast<size_t>(thread_count());
  partial_ = on_blocks.partial_bytes(*conv_);
  values_ = Buffer(on_blocks.values_bytes(*conv_), "kept weights");
  partials_ = Buffer(threads * partial_, "partial gradients of kept weights");
}

void SparseConvLayer::zero_partials() {
  parallel_for(static_cast<int64_t>(partials_.bytes()), [&](int64_t begin, int64_t end, int) {
    std::memset(partials_.data() + begin, 0, static_cast<size_t>(end - begin));
  });
}

void SparseConvLayer::sum_partials(void* dweight) {
  const auto count = static_cast<int64_t>(partials_.bytes() / std::max<size_t>(1, partial_));
  kernels().on_blocks.sum_partials(dweight, partials_.data(), count, conv(),
                                   kernels::GradWrite::overwrite);
}

}  // namespace sculpt::ops
