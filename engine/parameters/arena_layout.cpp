#include "engine/parameters/arena_layout.h"

#include <algorithm>
#include <utility>

namespace sculpt {

void ArenaLayout::add(int64_t dense_count, int64_t count, bool packed) {
  parameters_.push_back({dense_count_, dense_count, count_, count, packed});
  dense_count_ += dense_count;
  count_ += count;
}

ArenaLayout::ArenaLayout(std::span<const int64_t> counts) {
  for (const int64_t count : counts)
    add(count, count, false);
}

ArenaLayout::ArenaLayout(SharedPattern pattern, std::span<const ParameterId> packed)
    : pattern_(std::move(pattern)), packed_(packed.begin(), packed.end()) {
  const std::span<const int64_t> counts = pattern_->counts();
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto id = static_cast<ParameterId>(i);
    const bool is_packed = std::ranges::binary_search(packed_, id);
    add(counts[i], is_packed ? pattern_->kept(id) : counts[i], is_packed);
  }
  gather_masks();
}

void ArenaLayout::gather_masks() {
  const auto is_masked = [&](size_t id) {
    return !parameters_[id].packed && !pattern_->all_kept(static_cast<ParameterId>(id));
  };
  bool masked = false;
  for (size_t id = 0; id < parameters_.size(); ++id)
    masked = masked || is_masked(id);
  if (!masked) return;
  masks_.assign(static_cast<size_t>(count_), 1);
  for (size_t id = 0; id < parameters_.size(); ++id)
    if (is_masked(id))
      std::ranges::copy(pattern_->bytes(static_cast<ParameterId>(id)),
                        masks_.begin() + parameters_[id].offset);
}

bool ArenaLayout::is(const SharedPattern& pattern, std::span<const ParameterId> packed) const {
  return pattern_ == pattern && std::ranges::equal(packed_, packed);
}

template <class T>
void ArenaLayout::expand(T* to, const T* from) const {
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const ParameterLayout& p = parameters_[id];
    if (p.packed)
      pattern_->scatter(static_cast<ParameterId>(id), to + p.dense_offset, from + p.offset);
    else
      std::copy_n(from + p.offset, p.count, to + p.dense_offset);
  }
}

template <class T>
void ArenaLayout::pack(T* to, const T* from) const {
  for (size_t id = 0; id < parameters_.size(); ++id) {
    const ParameterLayout& p = parameters_[id];
    if (p.packed)
      pattern_->gather(static_cast<ParameterId>(id), to + p.offset, from + p.dense_offset);
    else
      std::copy_n(from + p.dense_offset, p.count, to + p.offset);
  }
}

template void ArenaLayout::expand(float* to, const float* from) const;
template void ArenaLayout::expand(double* to, const double* from) const;
template void ArenaLayout::pack(float* to, const float* from) const;
template void ArenaLayout::pack(double* to, const double* from) const;

}  // namespace sculpt
