#include "engine/ops/sparse_conv_layer.h"

#include <algorithm>

namespace sculpt::ops {
namespace {

// Largest share of kept weights at which sparse kernels were faster than dense ones on convolutions
// of ResNet-18 and ResNet-20 (AVX-512, two threads). Constants and not measured anew, so that a
// resumed run chooses as the interrupted one did.
constexpr double kActivations = 0.5;
constexpr double kWeights = 0.4;
// The same against Winograd's algorithm.
constexpr double kActivationsWinograd = 0.2;
constexpr double kWeightsWinograd = 0.2;

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

void SparseConvLayer::follow_mask(SparseKernels wanted, Winograd dense) {
  if (kernels().forward == nullptr || arena_->mask_version() == mask_version_) return;
  mask_version_ = arena_->mask_version();
  const auto mask = ParameterArena::slice(arena_->masks(), (*arena_)[weight_]);
  const bool unmasked = std::ranges::all_of(mask, is_kept);
  if (unmasked ? mask_.empty() : std::ranges::equal(mask, mask_)) return;

  activations_ = weights_ = false;
  conv_.reset();
  workspace_ = {};
  mask_.clear();
  if (unmasked) return;
  mask_.assign(mask.begin(), mask.end());
  const auto kept = static_cast<double>(std::ranges::count_if(mask, is_kept));
  const double density = kept / static_cast<double>(mask.size());
  const bool always = wanted == SparseKernels::on, never = wanted == SparseKernels::off;
  activations_ =
      always || (!never && density <= (dense.activations ? kActivationsWinograd : kActivations));
  weights_ = always || (!never && density <= (dense.weights ? kWeightsWinograd : kWeights));
  if (!activations_ && !weights_) return;
  conv_.emplace(shape_, mask);
  workspace_ = Buffer(kernels().workspace_bytes(*conv_), "the workspace of a sparse convolution",
                      arena_->backend().memory);
}

}  // namespace sculpt::ops
