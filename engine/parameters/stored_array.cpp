#include "engine/parameters/stored_array.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

StoredParameter& StoredForm::append(int64_t dense_count) {
  StoredParameter& p = parameters_.emplace_back();
  p.dense_offset = dense_count_;
  p.dense_count = p.count = dense_count;
  p.offset = count_;
  dense_count_ += dense_count;
  return p;
}

void StoredForm::add(int64_t count) {
  count_ += append(count).count;
}

void StoredForm::add_kept(std::span<const uint8_t> mask) {
  StoredParameter& p = append(std::ssize(mask));
  p.kept.assign(mask.begin(), mask.end());
  p.count = std::ranges::count(p.kept, true);
  count_ += p.count;
}

bool StoredForm::dense() const {
  return std::ranges::all_of(parameters_, [](const StoredParameter& p) { return p.kept.empty(); });
}

size_t StoredForm::bytes() const {
  size_t bytes = parameters_.size() * sizeof(StoredParameter);
  for (const StoredParameter& p : parameters_)
    bytes += p.kept.size() / 8;
  return bytes;
}

namespace {

/// Calls visit(i, j) for every element i of the parameter that has a value, the parameter's j-th.
template <class Visit>
void for_each_value(const StoredParameter& p, const Visit& visit) {
  int64_t j = 0;
  for (int64_t i = 0; i < p.dense_count; ++i)
    if (p.kept[static_cast<size_t>(i)]) visit(i, j++);
}

/// to: zero; in the dense form.
template <class T>
void expand(T* to, const T* from, const StoredForm& form) {
  for (const StoredParameter& p : form.parameters()) {
    T* dense = to + p.dense_offset;
    const T* values = from + p.offset;
    if (p.kept.empty())
      std::copy_n(values, p.count, dense);
    else
      for_each_value(p, [&](int64_t i, int64_t j) { dense[i] = values[j]; });
  }
}

template <class T>
void compact(T* to, const T* from, const StoredForm& form) {
  for (const StoredParameter& p : form.parameters()) {
    const T* dense = from + p.dense_offset;
    T* values = to + p.offset;
    if (p.kept.empty())
      std::copy_n(dense, p.count, values);
    else
      for_each_value(p, [&](int64_t i, int64_t j) { values[j] = dense[i]; });
  }
}

}  // namespace

StoredArray::StoredArray(const char* what, size_t element_bytes,
                         const kernels::DeviceMemory* memory, Form form)
    : what_(what), element_bytes_(element_bytes), memory_(memory), form_(std::move(form)) {
  SCULPT_CHECK(element_bytes == sizeof(float) || element_bytes == sizeof(double),
               "elements of {} bytes", element_bytes);
  if (memory_) buffer_ = allocated(form_->count());
}

MirroredBuffer StoredArray::allocated(int64_t count) const {
  return {static_cast<size_t>(count) * element_bytes_, what_, memory_};
}

MirroredBuffer& StoredArray::in(const Form& form) const {
  // Nothing is written where it has this form already: threads may then ask at the same time.
  if (buffer_.bytes() > 0 && form == form_) return buffer_;
  if (buffer_.bytes() == 0)
    buffer_ = allocated(form->count());
  else
    element_bytes_ == sizeof(float) ? convert<float>(*form) : convert<double>(*form);
  form_ = form;
  return buffer_;
}

/// By way of the dense form, which one of the two mostly is.
template <class T>
void StoredArray::convert(const StoredForm& form) const {
  const auto values = [](MirroredBuffer& buffer) { return reinterpret_cast<T*>(buffer.host()); };
  if (!form_->dense()) {
    MirroredBuffer dense = allocated(form_->dense_count());
    expand(values(dense), values(buffer_), *form_);
    buffer_ = std::move(dense);
  }
  if (!form.dense()) {
    MirroredBuffer kept = allocated(form.count());
    compact(values(kept), values(buffer_), form);
    buffer_ = std::move(kept);
  }
}

void StoredArray::zero() {
  if (memory_)
    buffer_.zero();
  else
    buffer_ = {};
}

}  // namespace sculpt
