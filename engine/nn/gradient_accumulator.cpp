#include "engine/nn/gradient_accumulator.h"

#include "engine/core/error.h"

namespace sculpt {

void GradientAccumulator::begin(const StepPart& part) {
  part_ = part;
  if (part.count == 1) return;
  FullGradients& full = parameters_.full_gradients();
  if (part.is_first())
    full_ = full.requested();
  else if (full_)
    full.request();
}

void GradientAccumulator::add(Buffer& sum, const void* terms, int64_t count) {
  const kernels::Backend& backend = parameters_.backend();
  const size_t bytes = static_cast<size_t>(count) * parameters_.element_bytes();
  if (part_.is_first()) {
    // A recorded step keeps the address, so the memory is allocated only once for each size.
    if (sum.bytes() != bytes) sum = Buffer(bytes, "the gradients of a step", backend.memory);
    sum.zero();
  }
  SCULPT_CHECK(sum.bytes() == bytes, "the parts of a step have gradients of different sizes");
  backend.gradients.add(sum.data(), terms, count, backend.stream);
}

void GradientAccumulator::add_sum(void* gradient, const Buffer& sum, int64_t first, int64_t count) {
  const kernels::Backend& backend = parameters_.backend();
  const std::byte* const terms =
      sum.data() + static_cast<size_t>(first) * parameters_.element_bytes();
  backend.gradients.add(gradient, terms, count, backend.stream);
}

void GradientAccumulator::gradient_is_final(ParameterId id) {
  if (part_.count == 1 || !part_.is_last()) return;
  SCULPT_CHECK(layout_ == parameters_.layout(),
               "the layout of the gradients has changed between the parts of a step");
  const ParameterLayout& p = (*layout_)[static_cast<size_t>(id)];
  add_sum(parameters_.edit_gradient(id), sum_, p.offset, p.count);
}

/// The full gradients of parameters that are not packed are copies of the stored gradients, which
/// are those of the step already.
void GradientAccumulator::complete_full_gradients() {
  auto* const full = static_cast<std::byte*>(parameters_.full_gradients().edit_stored());
  for (size_t id = 0; id < layout_->size(); ++id) {
    const ParameterLayout& p = (*layout_)[id];
    if (!p.packed) continue;
    const size_t offset = static_cast<size_t>(p.dense_offset) * parameters_.element_bytes();
    add_sum(full + offset, full_sum_, p.dense_offset, p.dense_count);
  }
}

void GradientAccumulator::finish() {
  if (part_.count == 1) return;
  // On a device, full gradients are the stored ones.
  FullGradients& full = parameters_.full_gradients();
  const bool apart = full_ && full.stored();
  if (part_.is_last()) {
    if (apart) complete_full_gradients();
    return;
  }
  layout_ = parameters_.layout();
  add(sum_, parameters_.edit_stored_gradients(), parameters_.stored_count());
  if (apart) add(full_sum_, full.edit_stored(), parameters_.count());
}

}  // namespace sculpt
