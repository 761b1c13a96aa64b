#include "engine/optim/sgd.h"

#include <cstring>
#include <utility>

namespace sculpt {

using kernels::SgdScalars;
using kernels::SgdSegment;

namespace {

bool is_norm_or_bias(ParameterKind kind) {
  return kind == ParameterKind::bias || kind == ParameterKind::norm_weight ||
         kind == ParameterKind::norm_bias;
}

bool extends(const SgdSegment& last, const SgdSegment& next) {
  return last.weight_decay == next.weight_decay && last.offset + last.count == next.offset &&
         last.compute_copy_offset < 0 && next.compute_copy_offset < 0;
}

}  // namespace

Sgd::Sgd(ParameterArena& parameters, const OptimOptions& options)
    : Optimizer(parameters, {"momentum"}), options_(options) {
  const kernels::Backend& backend = parameters.backend();
  follow_layout();
  scalars_ = DeviceValue<SgdScalars>("the optimizer's settings", backend.memory);
  workspace_ = Buffer(backend.masked_sgd.clip_workspace_bytes(parameters.count()),
                      "the optimizer's workspace", backend.memory);
}

void Sgd::follow_layout() {
  if (layout_ == parameters().layout()) return;
  layout_ = parameters().layout();
  const std::vector<SgdSegment> segments = make_segments();
  segment_count_ = static_cast<int64_t>(segments.size());
  const size_t bytes = segments.size() * sizeof(SgdSegment);
  segments_ = MirroredBuffer(bytes, "the optimizer's table", parameters().backend().memory);
  if (bytes > 0) std::memcpy(segments_.edit_host(), segments.data(), bytes);
}

std::vector<SgdSegment> Sgd::make_segments() const {
  std::vector<SgdSegment> segments;
  for (size_t id = 0; id < parameters().parameters().size(); ++id) {
    const Parameter& p = parameters().parameters()[id];
    const bool exempt = !options_.decay_norm_and_bias && is_norm_or_bias(p.kind);
    const ParameterLayout& stored = (*layout_)[id];
    SgdSegment segment{stored.offset, stored.count};
    segment.weight_decay = exempt ? 0.0f : static_cast<float>(options_.weight_decay);
    segment.compute_copy_offset = parameters().compute_copy_offset(static_cast<ParameterId>(id));
    if (segment.compute_copy_offset >= 0) {
      segment.in = static_cast<int32_t>(p.shape[1]);
      segment.taps = static_cast<int32_t>(p.count / (p.shape[0] * p.shape[1]));
    }
    if (!segments.empty() && extends(segments.back(), segment))
      segments.back().count += segment.count;
    else
      segments.push_back(segment);
  }
  return segments;
}

void Sgd::set_lr(double lr) {
  scalars_.set({static_cast<float>(lr), 1.0f});
}

void Sgd::step() {
  const kernels::Backend& backend = parameters().backend();
  const kernels::TraceRange phase(backend.trace, "update");
  follow_layout();
  const kernels::SgdArena arena = parameters().sgd_arena(
      reinterpret_cast<const SgdSegment*>(segments_.device()), segment_count_);
  if (options_.clip_norm > 0)
    backend.masked_sgd.clip(scalars_.data(), arena.grad, arena.mask, arena.count,
                            static_cast<float>(options_.clip_norm), workspace_.data(),
                            backend.stream);
  backend.masked_sgd.update(arena, scalars_.data(),
                            {static_cast<float>(options_.momentum), options_.nesterov},
                            backend.stream);
}

double Sgd::clip_scale() const {
  return scalars_.get().grad_scale;
}

}  // namespace sculpt
