#include "engine/nn/gradient_reducer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sculpt {

using Form = GradientBucket::Form;

void GradientReducer::begin() {
  const bool full = parameters_.full_gradients().requested();
  // A step that needs the gradients of masked weights exchanges them.
  what_ = full ? Exchange::whole : exchange_.what;
  // On the host, full gradients are stored apart, and the stored gradients follow from their sums.
  const bool apart = full && parameters_.backend().memory == nullptr;
  state_ = apart ? State::at_the_end : State::begun;
}

void GradientReducer::enter_pass() {
  if (state_ != State::begun) return;
  state_ = State::overlapping;
  if (layout_ != parameters_.layout() || pattern_ != parameters_.pattern() || planned_ != what_)
    plan();
  missing_.clear();
  for (const GradientBucket& bucket : buckets_)
    missing_.push_back(bucket.last - bucket.first + 1);
  pending_.clear();
}

void GradientReducer::plan() {
  layout_ = parameters_.layout();
  pattern_ = parameters_.pattern();
  planned_ = what_;
  const kernels::DeviceMemory* const memory = parameters_.backend().memory;
  const auto element = static_cast<int64_t>(parameters_.element_bytes());
  int64_t bytes = exchange_.bucket_bytes;
  if (bytes == 0)
    bytes = memory == nullptr ? GradientExchange::kHostBucketBytes
                              : GradientExchange::kDeviceBucketBytes;
  buckets_ = plan_buckets(*layout_, *pattern_, what_, bytes / element);

  bucket_of_.assign(layout_->size(), 0);
  at_.clear();
  indices_.clear();
  int64_t total = 0;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const GradientBucket& bucket = buckets_[b];
    for (ParameterId id = bucket.first; id <= bucket.last; ++id)
      bucket_of_[static_cast<size_t>(id)] = b;
    at_.push_back(total);
    if (bucket.form != Form::in_place) total += bucket.travelling;
    Buffer& indices = indices_.emplace_back();
    if (memory == nullptr || bucket.indices.empty()) continue;
    const size_t size = bucket.indices.size() * sizeof(int32_t);
    indices = Buffer(size, "the positions of kept weights", memory);
    memory->copy_in(indices.data(), bucket.indices.data(), size);
  }
  wire_ = Buffer(static_cast<size_t>(total * element), "gradients that ranks exchange", memory);
}

std::byte* GradientReducer::stored(const GradientBucket& bucket) {
  auto* const all = static_cast<std::byte*>(parameters_.edit_stored_gradients());
  return all + static_cast<size_t>(bucket.begin) * parameters_.element_bytes();
}

std::byte* GradientReducer::travelling(size_t b) {
  if (buckets_[b].form == Form::in_place) return stored(buckets_[b]);
  return wire_.data() + static_cast<size_t>(at_[b]) * parameters_.element_bytes();
}

namespace {

void zero(std::byte* data, size_t bytes, const kernels::DeviceMemory* memory) {
  memory != nullptr ? memory->zero(data, bytes) : static_cast<void>(std::memset(data, 0, bytes));
}

}  // namespace

void GradientReducer::start(size_t b) {
  const GradientBucket& bucket = buckets_[b];
  const kernels::Backend& backend = parameters_.backend();
  std::byte* const values = travelling(b);
  if (bucket.form == Form::gathered) {
    backend.gradients.gather(values, stored(bucket), indices(b), std::ssize(bucket.indices),
                             backend.stream);
  } else if (bucket.form == Form::spread) {
    zero(values, static_cast<size_t>(bucket.travelling) * parameters_.element_bytes(),
         backend.memory);
    backend.gradients.scatter(values, stored(bucket), indices(b), std::ssize(bucket.indices),
                              backend.stream);
  }
  if (parameters_.element_bytes() == sizeof(double))
    pending_.push_back(sums_.start(reinterpret_cast<double*>(values), bucket.travelling));
  else
    pending_.push_back(sums_.start(reinterpret_cast<float*>(values), bucket.travelling));
}

const int32_t* GradientReducer::indices(size_t b) const {
  return indices_[b].bytes() > 0 ? indices_[b].as<int32_t>() : buckets_[b].indices.data();
}

void GradientReducer::gradient_is_final(ParameterId id) {
  enter_pass();
  if (state_ != State::overlapping) return;
  --missing_[bucket_of_[static_cast<size_t>(id)]];
  while (pending_.size() < buckets_.size() && missing_[pending_.size()] == 0)
    start(pending_.size());
}

void GradientReducer::finish() {
  enter_pass();
  if (std::exchange(state_, State::idle) == State::at_the_end) {
    parameters_.element_bytes() == sizeof(double) ? add_up_full_gradients<double>()
                                                  : add_up_full_gradients<float>();
    return;
  }
  // The gradient of a parameter that the pass does not compute is never reported as final.
  while (pending_.size() < buckets_.size())
    start(pending_.size());
  const kernels::Backend& backend = parameters_.backend();
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const GradientBucket& bucket = buckets_[b];
    pending_[b].wait();
    const int64_t count = std::ssize(bucket.indices);
    if (bucket.form == Form::gathered)
      backend.gradients.scatter(stored(bucket), travelling(b), indices(b), count, backend.stream);
    else if (bucket.form == Form::spread)
      backend.gradients.gather(stored(bucket), travelling(b), indices(b), count, backend.stream);
  }
  pending_.clear();
}

template <class T>
void GradientReducer::add_up_full_gradients() {
  T* const full = static_cast<T*>(parameters_.full_gradients().edit_stored());
  sums_.add_up(full, parameters_.count());
  parameters_.layout()->pack(static_cast<T*>(parameters_.edit_stored_gradients()), full);
}

}  // namespace sculpt
