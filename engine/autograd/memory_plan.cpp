#include "engine/autograd/memory_plan.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace sculpt {

using kernels::ActivationShape;

namespace {

// A slot is memory that buffers of one geometry share. Their lifetimes follow one another.
struct Slot {
  ActivationShape shape;  // channels: the largest number of channels of the buffers in this slot
  int busy_until = -1;
};

size_t aligned(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

bool same_geometry(const ActivationShape& a, const ActivationShape& b) {
  return a.height == b.height && a.width == b.width && a.halo == b.halo;
}

// Finds the best fit: returns the smallest free slot that is large enough. If no free slot is large
// enough, returns the largest free slot, which then grows.
int find_slot(const std::vector<Slot>& slots, const ActivationShape& shape, int time) {
  int best = -1;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].busy_until >= time || !same_geometry(slots[s].shape, shape)) continue;
    if (best < 0) {
      best = static_cast<int>(s);
      continue;
    }
    const int64_t here = slots[s].shape.channels;
    const int64_t there = slots[best].shape.channels;
    const bool better =
        there < shape.channels ? here > there : here >= shape.channels && here < there;
    if (better) best = static_cast<int>(s);
  }
  return best;
}

}  // namespace

int MemoryPlanner::request(const ActivationShape& shape, Lifetime lifetime) {
  requests_.push_back({shape, lifetime});
  return static_cast<int>(requests_.size()) - 1;
}

std::vector<size_t> MemoryPlanner::place(int64_t blocks, size_t cell_bytes) {
  const bool borders =
      std::ranges::any_of(requests_, [](const Request& r) { return r.shape.halo > 0; });
  return borders ? place_by_geometry(blocks, cell_bytes) : place_by_size(blocks, cell_bytes);
}

// Places the largest buffers first, each at the lowest address that does not overlap a buffer with
// an overlapping lifetime.
std::vector<size_t> MemoryPlanner::place_by_size(int64_t blocks, size_t cell_bytes) {
  struct Placed {
    size_t begin, end;
    Lifetime lifetime;
  };
  std::vector<int> order(requests_.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(),
                           [&](int r) { return requests_[r].shape.buffer_cells(blocks); });

  std::vector<Placed> placed;  // sorted by address
  std::vector<size_t> offsets(requests_.size());
  total_bytes_ = 0;
  for (const int r : order) {
    const auto& [shape, lifetime] = requests_[r];
    const size_t bytes = aligned(static_cast<size_t>(shape.buffer_cells(blocks)) * cell_bytes);
    size_t begin = 0;
    for (const Placed& other : placed)
      if (overlap(other.lifetime, lifetime) && begin < other.end && other.begin < begin + bytes)
        begin = other.end;
    const auto after = std::ranges::upper_bound(placed, begin, {}, &Placed::begin);
    placed.insert(after, {begin, begin + bytes, lifetime});
    offsets[r] = begin;
    total_bytes_ = std::max(total_bytes_, begin + bytes);
  }
  return offsets;
}

std::vector<size_t> MemoryPlanner::place_by_geometry(int64_t blocks, size_t cell_bytes) {
  std::vector<int> order(requests_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return requests_[a].lifetime.first < requests_[b].lifetime.first;
  });

  std::vector<Slot> slots;
  std::vector<int> slot_of(requests_.size());
  for (const int r : order) {
    const auto& [shape, lifetime] = requests_[r];
    int s = find_slot(slots, shape, lifetime.first);
    if (s < 0) {
      s = static_cast<int>(slots.size());
      slots.push_back({shape, -1});
    }
    slots[s].shape.channels = std::max(slots[s].shape.channels, shape.channels);
    slots[s].busy_until = lifetime.last;
    slot_of[r] = s;
  }

  std::vector<size_t> slot_offset;
  total_bytes_ = 0;
  for (const auto& slot : slots) {
    slot_offset.push_back(total_bytes_);
    total_bytes_ += aligned(static_cast<size_t>(slot.shape.buffer_cells(blocks)) * cell_bytes);
  }
  std::vector<size_t> offsets;
  for (const int s : slot_of)
    offsets.push_back(slot_offset[s]);
  return offsets;
}

}  // namespace sculpt
