#include "engine/optim/fused_optimizer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

using kernels::UpdateArena;
using kernels::UpdateOptions;
using kernels::UpdateScalars;
using kernels::UpdateSegment;

namespace {

constexpr const char* kSteps = "steps";

bool is_norm_or_bias(ParameterKind kind) {
  return kind == ParameterKind::bias || kind == ParameterKind::norm_weight ||
         kind == ParameterKind::norm_bias;
}

bool extends(const UpdateSegment& last, const UpdateSegment& next) {
  return last.weight_decay == next.weight_decay && last.ham == next.ham &&
         last.sign_in == next.sign_in && last.offset + last.count == next.offset &&
         last.compute_copy_offset < 0 && next.compute_copy_offset < 0;
}

UpdateOptions with_ham(UpdateOptions update, const OptimOptions& options) {
  update.any_ham = options.ham;
  update.ham_alpha = static_cast<float>(options.ham_alpha);
  update.ham_beta = static_cast<float>(options.ham_beta);
  return update;
}

}  // namespace

FusedOptimizer::FusedOptimizer(ParameterArena& parameters, const OptimOptions& options,
                               UpdateOptions update, const std::vector<std::string>& state_arrays)
    : Optimizer(parameters, state_arrays), options_(options), update_(with_ham(update, options)) {
  const kernels::Backend& backend = parameters.backend();
  if (averages()) average_ = parameters.add_optimizer_array("average");
  scalars_ = DeviceValue<UpdateScalars>("the optimizer's settings", backend.memory);
  workspace_ = Buffer(backend.masked_update.clip_workspace_bytes(parameters.count()),
                      "the optimizer's workspace", backend.memory);
}

void FusedOptimizer::follow_layout() {
  if (layout_ == parameters().layout()) return;
  layout_ = parameters().layout();
  const std::vector<UpdateSegment> segments = make_segments();
  segment_count_ = static_cast<int64_t>(segments.size());
  const size_t bytes = segments.size() * sizeof(UpdateSegment);
  segments_ = MirroredBuffer(bytes, "the optimizer's table", parameters().backend().memory);
  if (bytes > 0) std::memcpy(segments_.edit_host(), segments.data(), bytes);
}

UpdateSegment FusedOptimizer::segment_of(ParameterId id) const {
  const Parameter& p = parameters()[id];
  const ParameterLayout& stored = (*layout_)[static_cast<size_t>(id)];
  UpdateSegment segment{stored.offset, stored.count};
  const bool exempt = !options_.decay_norm_and_bias && is_norm_or_bias(p.kind);
  segment.weight_decay = exempt ? 0.0f : static_cast<float>(options_.weight_decay);
  segment.ham = options_.ham && p.shape.size() >= 2;
  segment.sign_in = is_factored(p);
  segment.compute_copy_offset = parameters().compute_copy_offset(id);
  if (segment.compute_copy_offset >= 0) {
    segment.in = static_cast<int32_t>(p.shape[1]);
    segment.taps = static_cast<int32_t>(p.count / (p.shape[0] * p.shape[1]));
  }
  return segment;
}

std::vector<UpdateSegment> FusedOptimizer::make_segments() const {
  std::vector<UpdateSegment> segments;
  for (size_t id = 0; id < parameters().parameters().size(); ++id) {
    const UpdateSegment segment = segment_of(static_cast<ParameterId>(id));
    if (!segments.empty() && extends(segments.back(), segment))
      segments.back().count += segment.count;
    else
      segments.push_back(segment);
  }
  return segments;
}

void FusedOptimizer::begin_step(double lr) {
  ++steps_;
  UpdateScalars scalars;
  scalars.lr = static_cast<float>(lr);
  if (averages())
    scalars.average_rate = static_cast<float>(
        (1 - options_.ema) / (1 - std::pow(options_.ema, static_cast<double>(steps_))));
  add_scalars(scalars);
  scalars_.set(scalars);
}

void FusedOptimizer::step() {
  const kernels::Backend& backend = parameters().backend();
  const kernels::TraceRange phase(backend.trace, "update");
  follow_layout();
  UpdateArena arena = parameters().update_arena(
      reinterpret_cast<const UpdateSegment*>(segments_.device()), segment_count_);
  add_arrays(arena);
  if (averages()) arena.average = parameters().edit_stored_optimizer_array(average_);
  if (options_.clip_norm > 0)
    backend.masked_update.clip(scalars_.data(), arena.grad, arena.mask, arena.count,
                               static_cast<float>(options_.clip_norm), workspace_.data(),
                               backend.stream);
  backend.masked_update.update(arena, scalars_.data(), update_, backend.stream);
}

void FusedOptimizer::end_cycle() {
  if (!has_average()) return;
  ParameterArena& arena = parameters();
  arena.store_dense();
  if (arena.element_bytes() == sizeof(double))
    std::ranges::copy(arena.optimizer_values<double>(average_),
                      arena.edit_weights<double>().begin());
  else
    std::ranges::copy(arena.optimizer_values<float>(average_), arena.edit_weights<float>().begin());
}

void FusedOptimizer::reset() {
  Optimizer::reset();
  steps_ = 0;
}

OptimizerValues FusedOptimizer::save() const {
  if (!averages() && !depends_on_steps()) return {};
  return {{kSteps, std::to_string(steps_)}};
}

void FusedOptimizer::restore(const OptimizerValues& values) {
  steps_ = averages() || depends_on_steps() ? saved_count(values, kSteps) : 0;
}

int64_t FusedOptimizer::saved_count(const OptimizerValues& values, const char* key) {
  const auto found = values.find(key);
  if (found == values.end())
    fail(
        "the checkpoint has no value '{}' of the optimizer, so it is of a run with other settings "
        "under [optim]; start again with the settings of this run",
        key);
  const std::string& text = found->second;
  int64_t count = 0;
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, count);
  if (result.ec != std::errc() || result.ptr != end || count < 0)
    fail("the value '{}' of the optimizer in the checkpoint is '{}', not a count", key, text);
  return count;
}

double FusedOptimizer::clip_scale() const {
  return scalars_.get().grad_scale;
}

}  // namespace sculpt
