#include "engine/parameters/full_gradients.h"

#include <cstring>
#include <utility>

#include "engine/core/error.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

bool FullGradients::on_device() const {
  return arena_.backend().memory != nullptr;
}

int64_t FullGradients::count() const {
  return arena_.count();
}

bool FullGradients::packed(ParameterId id) const {
  return (*arena_.layout())[static_cast<size_t>(id)].packed;
}

std::byte* FullGradients::values_of(ParameterId id) {
  return values_.data() + static_cast<size_t>(arena_[id].offset) * arena_.element_bytes();
}

const void* FullGradients::checked_values(size_t element_bytes) const {
  arena_.require_element(element_bytes);
  if (on_device())
    return element_bytes == sizeof(double)
               ? static_cast<const void*>(arena_.gradients<double>().data())
               : arena_.gradients<float>().data();
  return stored_values();
}

const void* FullGradients::array() const {
  return on_device() ? arena_.gradient_array() : stored_values();
}

const void* FullGradients::stored_values() const {
  SCULPT_CHECK(computed_,
               "the last backward pass did not compute the gradients of masked weights; call "
               "request() before it");
  return values_.data();
}

void FullGradients::begin_backward() {
  computed_ = false;
  values_ = {};
  if (requested_ && !on_device())
    values_ = Buffer(static_cast<size_t>(count()) * arena_.element_bytes(),
                     "the gradients of all weights");
}

// The gradient of a weight that is not packed has all its elements in the arena, too, and
// end_backward() copies it from there.
void* FullGradients::edit_gradient(ParameterId id) {
  return packed(id) ? values_of(id) : arena_.edit_gradient(id);
}

void FullGradients::hand_to_optimizer(ParameterId id) {
  if (!packed(id)) return;
  void* gradient = arena_.edit_gradient(id);
  const void* full = values_of(id);
  if (arena_.element_bytes() == sizeof(double))
    arena_.pattern()->gather(id, static_cast<double*>(gradient), static_cast<const double*>(full));
  else
    arena_.pattern()->gather(id, static_cast<float*>(gradient), static_cast<const float*>(full));
}

void FullGradients::end_backward() {
  if (!std::exchange(requested_, false)) return;
  computed_ = true;
  if (on_device()) return;
  for (size_t i = 0; i < arena_.parameters().size(); ++i) {
    const auto id = static_cast<ParameterId>(i);
    if (packed(id)) continue;  // the layer wrote it
    std::memcpy(values_of(id), arena_.edit_gradient(id),
                static_cast<size_t>(arena_[id].count) * arena_.element_bytes());
  }
}

}  // namespace sculpt
