#pragma once
// Compares the calls of two ranks without sending the calls. A communicator that is called in
// different orders may wait for ever, or may add up different things in silence.

#include <cstdint>
#include <vector>

#include "engine/dist/call.h"

namespace sculpt {

class CallOrder {
 public:
  void add(const Call& call);

  int64_t count() const { return count_; }
  /// Returns a number that depends on all calls so far and on their order.
  uint64_t digest() const { return digest_; }
  const Call& last() const { return last_; }

  /// Returns false if a rank whose first `count` calls have `digest` has called something else than
  /// this rank. Returns true if the two agree, or if this is not known: this rank has not come so
  /// far yet, or has gone far beyond.
  bool agrees(int64_t count, uint64_t digest) const;

 private:
  static constexpr int64_t kRemembered = 1 << 14;

  int64_t count_ = 0;
  uint64_t digest_ = 0;
  Call last_;
  std::vector<uint64_t>
      digests_;  ///< of the newest calls; the one after n calls is at n % kRemembered
};

}  // namespace sculpt
