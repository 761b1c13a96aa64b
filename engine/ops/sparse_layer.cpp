#include "engine/ops/sparse_layer.h"

#include <cstring>

#include "kernels/common/parallel.h"

namespace sculpt::ops {

void SparseLayer::prepare(const ParameterArena& arena, ParameterId weight,
                          const kernels::Conv2dShape& shape) {
  arena_ = &arena;
  weight_ = weight;
  shape_ = shape;
}

bool SparseLayer::follow_mask() {
  const bool more_threads = conv_ && thread_count() > threads_;
  const SharedPattern& now = arena_->pattern();
  if (now == pattern_ && !more_threads) return false;
  const bool same = pattern_ ? now->same(weight_, *pattern_) : now->all_kept(weight_);
  pattern_ = now;
  if (same && !more_threads) return false;
  drop();
  return true;
}

void SparseLayer::build() {
  conv_.emplace(shape_, pattern_->bytes(weight_));
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

void SparseLayer::keep_only() {
  conv_->keep_only();
  kept_only_ = true;
}

void SparseLayer::prepare_blocks() {
  const kernels::SparseConv2dBlockKernels& blocks = kernels().on_blocks;
  partial_ = blocks.partial_bytes(*conv_);
  values_ = Buffer(blocks.values_bytes(*conv_), "kept weights");
}

}  // namespace sculpt::ops
