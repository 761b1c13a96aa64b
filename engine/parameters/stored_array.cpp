#include "engine/parameters/stored_array.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

ParameterLayout& ArenaLayout::append(int64_t dense_count) {
  ParameterLayout& p = parameters_.emplace_back();
  p.dense_offset = dense_count_;
  p.dense_count = p.count = dense_count;
  p.offset = count_;
  dense_count_ += dense_count;
  return p;
}

void ArenaLayout::add(int64_t count) {
  count_ += append(count).count;
}

void ArenaLayout::add_kept(std::span<const uint8_t> mask) {
  ParameterLayout& p = append(std::ssize(mask));
  p.kept.assign(mask.begin(), mask.end());
  p.count = std::ranges::count(p.kept, true);
  count_ += p.count;
}

bool ArenaLayout::dense() const {
  return std::ranges::all_of(parameters_, [](const ParameterLayout& p) { return p.kept.empty(); });
}

size_t ArenaLayout::bytes() const {
  size_t bytes = parameters_.size() * sizeof(ParameterLayout);
  for (const ParameterLayout& p : parameters_)
    bytes += p.kept.size() / 8;
  return bytes;
}

namespace {

/// Calls visit(i, j) for every element i of the parameter that has a value; the value is the
/// parameter's j-th.
template <class Visit>
void for_each_value(const ParameterLayout& p, const Visit& visit) {
  int64_t j = 0;
  for (int64_t i = 0; i < p.dense_count; ++i)
    if (p.kept[static_cast<size_t>(i)]) visit(i, j++);
}

/// Writes the values of `from`, which are in `layout`, to the dense array `to`, which must be zero.
template <class T>
void expand(T* to, const T* from, const ArenaLayout& layout) {
  for (const ParameterLayout& p : layout.parameters()) {
    T* dense = to + p.dense_offset;
    const T* values = from + p.offset;
    if (p.kept.empty())
      std::copy_n(values, p.count, dense);
    else
      for_each_value(p, [&](int64_t i, int64_t j) { dense[i] = values[j]; });
  }
}

template <class T>
void pack(T* to, const T* from, const ArenaLayout& layout) {
  for (const ParameterLayout& p : layout.parameters()) {
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
                         const kernels::DeviceMemory* memory, SharedLayout layout)
    : what_(what), element_bytes_(element_bytes), memory_(memory), layout_(std::move(layout)) {
  SCULPT_CHECK(element_bytes == sizeof(float) || element_bytes == sizeof(double),
               "elements of {} bytes", element_bytes);
  if (memory_) buffer_ = allocated(layout_->count());
}

MirroredBuffer StoredArray::allocated(int64_t count) const {
  return {static_cast<size_t>(count) * element_bytes_, what_, memory_};
}

MirroredBuffer& StoredArray::in(const SharedLayout& layout) const {
  // If the array has this layout already, nothing is written, so several threads may call at the
  // same time.
  if (buffer_.bytes() > 0 && layout == layout_) return buffer_;
  if (buffer_.bytes() == 0)
    buffer_ = allocated(layout->count());
  else
    element_bytes_ == sizeof(float) ? convert<float>(*layout) : convert<double>(*layout);
  layout_ = layout;
  return buffer_;
}

/// Converts through the dense layout. Usually one of the two layouts is dense, so this is one pass.
template <class T>
void StoredArray::convert(const ArenaLayout& layout) const {
  const auto values = [](MirroredBuffer& buffer) { return reinterpret_cast<T*>(buffer.host()); };
  if (!layout_->dense()) {
    MirroredBuffer dense = allocated(layout_->dense_count());
    expand(values(dense), values(buffer_), *layout_);
    buffer_ = std::move(dense);
  }
  if (!layout.dense()) {
    MirroredBuffer kept = allocated(layout.count());
    pack(values(kept), values(buffer_), layout);
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
