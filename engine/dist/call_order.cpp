#include "engine/dist/call_order.h"

namespace sculpt {
namespace {

/// The finaliser of splitmix64 (Steele, Lea and Flood, 2014).
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

void CallOrder::add(const Call& call) {
  if (digests_.empty()) digests_.resize(static_cast<size_t>(kRemembered));
  ++count_;
  last_ = call;
  const auto kind = static_cast<uint64_t>(call.kind);
  digest_ = mix(mix(digest_ + 0x9e3779b97f4a7c15 + kind) + static_cast<uint64_t>(call.elements));
  digests_[static_cast<size_t>(count_ % kRemembered)] = digest_;
}

bool CallOrder::agrees(int64_t count, uint64_t digest) const {
  if (count == 0 || count > count_ || count <= count_ - kRemembered) return true;
  return digests_[static_cast<size_t>(count % kRemembered)] == digest;
}

}  // namespace sculpt
