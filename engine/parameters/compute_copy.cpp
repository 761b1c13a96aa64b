#include "engine/parameters/compute_copy.h"

#include <cstring>

#include "engine/core/error.h"

namespace sculpt {

void ComputeCopy::allocate(std::span<const Parameter> parameters, const kernels::Backend& backend) {
  backend_ = &backend;
  offsets_.assign(parameters.size(), -1);
  if (backend.compute_weight_bytes == 0) return;
  std::vector<kernels::UpdateSegment> segments;
  int64_t end = 0;
  for (size_t id = 0; id < parameters.size(); ++id) {
    const Parameter& p = parameters[id];
    const bool conv = p.kind == ParameterKind::conv_weight;
    if (!conv && p.kind != ParameterKind::linear_weight) continue;
    kernels::UpdateSegment segment{p.offset, p.count};
    segment.compute_copy_offset = offsets_[id] = end;
    segment.in = static_cast<int32_t>(p.shape[1]);
    segment.taps = conv ? static_cast<int32_t>(p.shape[2] * p.shape[3]) : 1;
    segments.push_back(segment);
    constexpr int64_t kAlignment = 64;  // elements; kernels load vectors from a weight's start
    end += (p.count + kAlignment - 1) / kAlignment * kAlignment;
  }
  segment_count_ = static_cast<int64_t>(segments.size());
  const size_t bytes = segments.size() * sizeof(kernels::UpdateSegment);
  segments_ = MirroredBuffer(bytes, "the table of compute copies", backend.memory);
  if (bytes > 0) std::memcpy(segments_.edit_host(), segments.data(), bytes);
  copy_ = Buffer(static_cast<size_t>(end) * backend.compute_weight_bytes,
                 "the weights' compute copy", backend.memory);
}

const void* ComputeCopy::weight(ParameterId id) const {
  SCULPT_CHECK(!stale(), "the weights' compute copy is older than the weights");
  return copy_.data() + static_cast<size_t>(offset(id)) * backend_->compute_weight_bytes;
}

void ComputeCopy::update(kernels::UpdateArena arena) {
  arena.segments = reinterpret_cast<const kernels::UpdateSegment*>(segments_.device());
  arena.segment_count = segment_count_;
  backend_->masked_update.pack(arena, backend_->stream);
  stale_ = false;
}

}  // namespace sculpt
