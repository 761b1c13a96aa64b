#pragma once
// The set of prunable weights that a prune keeps, while the prune is being computed. It has a byte
// for each prunable weight, layer after layer in global-index order, in the memory of the backend.
// While the prune is computed, only counts are copied to the host.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/sparse/allocation.h"

namespace sculpt {

/// A score for each prunable weight, in the same order and memory as the bytes of KeptWeights.
/// Scores of weights that are no longer kept are ignored.
struct Scores {
  Buffer values;
  size_t element_bytes = sizeof(double);  ///< float or double
};

class KeptWeights {
 public:
  /// Starts with all weights that are not masked. The arena must outlive this object.
  explicit KeptWeights(ParameterArena& parameters);

  /// Returns the prunable layers, where `present` is the number of weights that are kept now.
  std::span<const PrunableLayer> layers() const { return layers_; }
  /// Both functions return a number of weights: the weights that are kept, and all prunable
  /// weights.
  int64_t kept() const;
  int64_t total() const { return total_; }

  /// Keeps the `kept` highest scores among the weights kept so far (ties: lower global index). The
  /// allocation divides `kept` between the layers. Throws Error if fewer weights are left or if a
  /// score is NaN, naming layer and element; nothing is changed in that case.
  void narrow(const Scores& scores, const Allocation& allocation, int64_t kept);

  /// Makes these weights the mask of the arena (ParameterArena::set_pattern).
  void apply();

  /// Takes over the kept weights of `other`, which belongs to the same network on another backend.
  void assign(KeptWeights&& other);

 private:
  std::vector<kernels::RankingSegment> segments(const Allocation& allocation, int64_t kept) const;
  void count_layers();

  ParameterArena& parameters_;
  std::vector<PrunableLayer> layers_;
  int64_t total_ = 0;
  Buffer bytes_;
  MirroredBuffer counts_;  // an int64_t per layer
  Buffer workspace_;
};

/// Moves a buffer from one backend's memory to another's, if the two memories differ.
Buffer moved(Buffer buffer, const kernels::Backend& from, const kernels::Backend& to);

}  // namespace sculpt
