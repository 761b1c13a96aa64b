#include "engine/autograd/parameters.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/core/error.h"

namespace sculpt {

ParameterId ParameterArena::add(std::string name, ParameterKind kind, std::vector<int64_t> shape) {
  SCULPT_CHECK(element_bytes_ == 0, "parameter '{}' registered after allocate()", name);
  for (const auto& p : parameters_)
    if (p.name == name) fail("two parameters are called '{}'", name);
  Parameter p;
  p.name = std::move(name);
  p.kind = kind;
  p.count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  SCULPT_CHECK(p.count > 0, "parameter '{}' is empty", p.name);
  p.shape = std::move(shape);
  p.offset = count_;
  p.prunable = kind == ParameterKind::conv_weight || kind == ParameterKind::linear_weight;
  count_ += p.count;
  parameters_.push_back(std::move(p));
  return static_cast<ParameterId>(parameters_.size()) - 1;
}

StateId ParameterArena::add_state(std::string name, int64_t count, float initial) {
  SCULPT_CHECK(element_bytes_ == 0, "state '{}' registered after allocate()", name);
  states_.push_back({std::move(name), state_count_, count, initial});
  state_count_ += count;
  return static_cast<StateId>(states_.size()) - 1;
}

void ParameterArena::allocate(size_t element_bytes) {
  SCULPT_CHECK(element_bytes_ == 0, "parameters are allocated already");
  element_bytes_ = element_bytes;
  const size_t bytes = static_cast<size_t>(count_) * element_bytes;
  weights_ = Buffer(bytes, "the weights");
  gradients_ = Buffer(bytes, "the weight gradients");
  momentum_ = Buffer(bytes, "the momentum");
  masks_ = Buffer(static_cast<size_t>(count_), "the masks");
  state_ = Buffer(static_cast<size_t>(state_count_) * element_bytes, "the running statistics");
  std::ranges::fill(masks(), uint8_t{1});
}

void ParameterArena::require_element(size_t bytes) const {
  SCULPT_CHECK(bytes == element_bytes_, "arena elements have {} bytes, not {}", element_bytes_,
               bytes);
}

int64_t ParameterArena::prunable_count() const {
  int64_t count = 0;
  for (const auto& p : parameters_)
    if (p.prunable) count += p.count;
  return count;
}

int64_t ParameterArena::kept_count(ParameterId id) const {
  const auto mask = slice(masks(), parameters_[id]);
  return std::accumulate(mask.begin(), mask.end(), int64_t{0});
}

int64_t ParameterArena::kept_count() const {
  int64_t count = 0;
  for (size_t id = 0; id < parameters_.size(); ++id)
    if (parameters_[id].prunable) count += kept_count(static_cast<ParameterId>(id));
  return count;
}

namespace {

template <class T>
void zero_where_masked(std::span<T> values, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!mask[i]) values[i] = T{0};
}

}  // namespace

void ParameterArena::apply_masks() {
  const std::span<const uint8_t> mask = masks();
  if (element_bytes_ == sizeof(double)) {
    zero_where_masked(weights<double>(), mask);
    zero_where_masked(momentum<double>(), mask);
  } else {
    zero_where_masked(weights(), mask);
    zero_where_masked(momentum(), mask);
  }
}

}  // namespace sculpt
