#include "engine/ops/sparse_layer.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"

namespace sculpt::ops {
namespace {

bool is_kept(uint8_t mask) {
  return mask != 0;
}

}  // namespace

void SparseLayer::prepare(const ParameterArena& arena, ParameterId weight,
                          const kernels::Conv2dShape& shape) {
  arena_ = &arena;
  weight_ = weight;
  shape_ = shape;
}

std::span<const uint8_t> SparseLayer::arena_mask() const {
  return ParameterArena::slice(arena_->masks(), (*arena_)[weight_]);
}

bool SparseLayer::follow_mask() {
  const bool more_threads = conv_ && thread_count() > threads_;
  if (arena_->mask_version() == mask_version_ && !more_threads) return false;
  mask_version_ = arena_->mask_version();
  const auto mask = arena_mask();
  const bool dense = std::ranges::all_of(mask, is_kept);
  const bool same =
      dense ? mask_.empty() : std::equal(mask.begin(), mask.end(), mask_.begin(), mask_.end());
  if (same && !more_threads) return false;
  drop();
  mask_.clear();
  if (!dense) mask_.assign(mask.begin(), mask.end());
  kept_ = std::ranges::count_if(mask, is_kept);
  return true;
}

double SparseLayer::density() const {
  return masked() ? static_cast<double>(kept_) / static_cast<double>(mask_.size()) : 1;
}

void SparseLayer::build() {
  conv_.emplace(shape_, arena_mask());
  threads_ = thread_count();
  workspace_ = Buffer(kernels().workspace_bytes(*conv_), "the workspace of a sparse layer",
                      arena_->backend().memory);
}

void SparseLayer::drop() {
  conv_.reset();
  kept_only_ = false;
  workspace_ = {};
  values_ = {};
}

void SparseLayer::zero_partials() {
  const auto bytes = static_cast<int64_t>(partial_) * thread_count();
  parallel_for(bytes, [&](int64_t begin, int64_t end, int) {
    std::memset(workspace_.data() + begin, 0, static_cast<size_t>(end - begin));
  });
}

void SparseLayer::sum_partials(void* dweight) {
  kernels().on_blocks.sum_partials(dweight, workspace_.data(), thread_count(), conv(),
                                   kernels::GradWrite::overwrite);
}

void SparseLayer::keep_only(bool on_blocks) {
  conv_->keep_only();
  kept_only_ = true;
  if (!on_blocks) return;
  const kernels::SparseConv2dBlockKernels& blocks = kernels().on_blocks;
  partial_ = blocks.partial_bytes(*conv_);
  values_ = Buffer(blocks.values_bytes(*conv_), "kept weights");
}

}  // namespace sculpt::ops
