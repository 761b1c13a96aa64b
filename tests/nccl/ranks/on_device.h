#pragma once
// Values in the memory of this rank's device.

#include <vector>

#include "engine/core/buffer.h"
#include "tests/nccl/ranks/ranks.h"

namespace sculpt::test {

template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values)
      : count_(values.size()), buffer_(count_ * sizeof(T), "values", backend().memory) {
    write(values);
  }
  T* data() { return reinterpret_cast<T*>(buffer_.data()); }
  void write(const std::vector<T>& values) {
    backend().memory->copy_in(data(), values.data(), count_ * sizeof(T));
  }
  std::vector<T> read() {
    std::vector<T> values(count_);
    backend().memory->copy_out(values.data(), data(), count_ * sizeof(T));
    return values;
  }

 private:
  size_t count_;
  Buffer buffer_;
};

}  // namespace sculpt::test
