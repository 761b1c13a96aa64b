#pragma once
// Which prunable weights stay, while that is being decided: a byte for each of them, one layer
// after another in global-index order, in the memory of the backend. Only counts come to the host.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/sparse/allocation.h"

namespace sculpt {

/// A score per prunable weight, in the same order and memory. Those of weights that are not kept
/// any more are ignored.
struct Scores {
  Buffer values;
  size_t element_bytes = sizeof(double);  ///< float or double
};

class KeptWeights {
 public:
  /// All that are not masked. The arena must outlive this object.
  explicit KeptWeights(ParameterArena& parameters);

  /// The prunable layers, with what is kept of them as `present`.
  std::span<const PrunableLayer> layers() const { return layers_; }
  /// Weights that are kept, and all prunable ones.
  int64_t kept() const;
  int64_t total() const { return total_; }

  /// Keeps the `kept` highest scores of those kept so far (ties: lower global index), shared
  /// between layers by the allocation. Throws Error, with everything as it was, if that many are
  /// not left or if a score is NaN, naming layer and element.
  void narrow(const Scores& scores, const Allocation& allocation, int64_t kept);

  /// Writes the masks of the arena, and sets weights and momentum to +0 where they are 0.
  void apply();

  /// Keeps what `other`, of the same network on another backend, has kept.
  void assign(KeptWeights&& other);

 private:
  std::vector<kernels::RankingSegment> segments(const Allocation& allocation, int64_t kept) const;
  void count_layers();

  ParameterArena& parameters_;
  std::vector<PrunableLayer> layers_;
  int64_t total_ = 0;
  Buffer bytes_;
  MirroredBuffer counts_;  // int64_t per layer
  Buffer workspace_;
};

/// Moves a buffer from one backend's memory to another's, where they are not the same.
Buffer moved(Buffer buffer, const kernels::Backend& from, const kernels::Backend& to);

}  // namespace sculpt
