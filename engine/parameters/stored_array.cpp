#include "engine/parameters/stored_array.h"

#include <utility>

#include "engine/core/error.h"

namespace sculpt {

StoredArray::StoredArray(const char* what, size_t element_bytes,
                         const kernels::DeviceMemory* memory, SharedLayout layout)
    : what_(what), element_bytes_(element_bytes), memory_(memory), layout_(std::move(layout)) {
  SCULPT_CHECK(element_bytes == sizeof(float) || element_bytes == sizeof(double),
               "elements of {} bytes", element_bytes);
  if (memory_) buffer_ = buffer_for(layout_->count());
}

MirroredBuffer StoredArray::buffer_for(int64_t count) const {
  return {static_cast<size_t>(count) * element_bytes_, what_, memory_};
}

MirroredBuffer& StoredArray::allocated() const {
  if (buffer_.bytes() == 0) buffer_ = buffer_for(layout_->count());
  return buffer_;
}

void StoredArray::convert(const SharedLayout& layout) {
  if (layout == layout_) return;
  if (buffer_.bytes() > 0)
    element_bytes_ == sizeof(float) ? convert_values<float>(*layout)
                                    : convert_values<double>(*layout);
  layout_ = layout;
}

/// Converts through the dense layout. Usually one of the two layouts is dense, so this is one pass.
template <class T>
void StoredArray::convert_values(const ArenaLayout& to) {
  const auto host = [](const MirroredBuffer& b) { return reinterpret_cast<const T*>(b.host()); };
  const auto edit = [](MirroredBuffer& b) { return reinterpret_cast<T*>(b.edit_host()); };
  if (!layout_->dense()) {
    MirroredBuffer dense = buffer_for(to.dense_count());
    layout_->expand(edit(dense), host(buffer_));
    buffer_ = std::move(dense);
  }
  if (!to.dense()) {
    MirroredBuffer packed = buffer_for(to.count());
    to.pack(edit(packed), host(buffer_));
    buffer_ = std::move(packed);
  }
}

void StoredArray::zero() {
  if (memory_)
    buffer_.zero();
  else
    buffer_ = {};
}

}  // namespace sculpt
