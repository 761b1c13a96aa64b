#include "engine/parameters/full_gradients.h"

#include <cstring>

#include "engine/core/error.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

bool FullGradients::on_device() const {
  return arena_.backend().memory != nullptr;
}

int64_t FullGradients::count() const {
  return arena_.count();
}

const void* FullGradients::checked_values(size_t element_bytes) const {
  arena_.require_element(element_bytes);
  if (on_device())
    return element_bytes == sizeof(double)
               ? static_cast<const void*>(arena_.gradients<double>().data())
               : arena_.gradients<float>().data();
  SCULPT_CHECK(state_ == State::computed,
               "the last backward pass did not compute the gradients of masked weights; call "
               "request() before it");
  return values_.data();
}

void FullGradients::begin_backward() {
  if (state_ == State::requested && !on_device())
    values_ = Buffer(static_cast<size_t>(count()) * arena_.element_bytes(),
                     "the gradients of all weights");
  if (state_ != State::computed) return;
  state_ = State::none;
  values_ = {};
}

void* FullGradients::edit_gradient(ParameterId id) {
  return values_.data() + static_cast<size_t>(arena_[id].offset) * arena_.element_bytes();
}

void FullGradients::hand_to_optimizer(ParameterId id) {
  const Parameter& p = arena_[id];
  void* gradient = arena_.edit_gradient(id);
  const void* full = edit_gradient(id);
  if (!(*arena_.layout())[static_cast<size_t>(id)].packed)
    std::memcpy(gradient, full, static_cast<size_t>(p.count) * arena_.element_bytes());
  else if (arena_.element_bytes() == sizeof(double))
    arena_.pattern()->gather(id, static_cast<double*>(gradient), static_cast<const double*>(full));
  else
    arena_.pattern()->gather(id, static_cast<float*>(gradient), static_cast<const float*>(full));
}

void FullGradients::end_backward() {
  if (state_ != State::requested) return;
  state_ = State::computed;
  if (on_device()) return;
  for (size_t i = 0; i < arena_.parameters().size(); ++i) {
    const auto id = static_cast<ParameterId>(i);
    if ((*arena_.layout())[i].packed) continue;  // the layer wrote it
    std::memcpy(edit_gradient(id), arena_.edit_gradient(id),
                static_cast<size_t>(arena_[id].count) * arena_.element_bytes());
  }
}

}  // namespace sculpt
