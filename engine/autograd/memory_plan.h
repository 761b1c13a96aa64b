#pragma once
// A MemoryPlanner makes one memory plan for all activations and gradients of a graph. Buffers whose
// lifetimes do not overlap share memory.
//
// If the activations have zero borders (halos), only buffers with the same plane geometry (height,
// width, halo) share memory. Their borders then lie at the same addresses; they are zeroed once and
// stay zero, because kernels write interiors only. Without borders, any buffers may share memory.

#include <cstddef>
#include <vector>

#include "kernels/common/layout.h"

namespace sculpt {

/// The times [first, last] during which a buffer holds something, both inclusive. A lifetime is
/// empty at first.
struct Lifetime {
  int first = 0;
  int last = -1;
  bool empty() const { return last < first; }
  static Lifetime at(int time) { return {time, time}; }
  void extend(int time) {
    first = time < first ? time : first;
    last = time > last ? time : last;
  }
};

class MemoryPlanner {
 public:
  /// Requests a buffer and returns its number.
  int request(const kernels::ActivationShape& shape, Lifetime lifetime);

  /// Decides where each buffer lies. Returns the byte offset of each request, aligned to a cell and
  /// to 64 bytes.
  std::vector<size_t> place(int64_t blocks, size_t cell_bytes);
  size_t total_bytes() const { return total_bytes_; }

 private:
  struct Request {
    kernels::ActivationShape shape;
    Lifetime lifetime;
  };
  std::vector<size_t> place_by_geometry(int64_t blocks, size_t cell_bytes);
  std::vector<size_t> place_by_size(int64_t blocks, size_t cell_bytes);

  std::vector<Request> requests_;
  size_t total_bytes_ = 0;
};

}  // namespace sculpt
