#pragma once
// A MaskChange is one change of the masks of a network by a rule. It has the building blocks that
// rules are made of: scores, dropping the lowest scores, growing the highest ones.
//
// Exactness. All counts are exact. Ties go to the lower global index: of equal scores, the first
// ones are kept or grown. Scores and ranking stay in the memory of the backend; only a byte per
// weight is copied.
//
// Values. A change sets the mask once, at its end. So a weight that is dropped and grown again in
// one change keeps its value and its elements of the optimizer's arrays. A weight that was masked
// before the change and is kept after it starts at 0, in the optimizer's arrays, too.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/core/error.h"
#include "engine/masks/mask_rule.h"
#include "engine/masks/rule_schedule.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/sparse/kept_weights.h"

namespace sculpt {

/// Thrown if a score is not a number; what() names layer and element. Nothing has been changed.
class ScoreNotANumber : public Error {
 public:
  using Error::Error;
};

/// The circumstances of a change.
struct MaskMoment {
  SchedulePosition position;
  DensityRange range;
  MaskOptions options;
  uint64_t seed = 0;  ///< seed of the run
  int64_t step = 0;   ///< number of steps since the start of the run, the one that ends included
};

class MaskChange {
 public:
  /// The arena must outlive this object. The constructor makes the arena dense (store_dense()).
  /// reset_optimizer() makes the optimizer forget all steps. For a rule that reads gradients, the
  /// last backward pass must have had a request for full gradients.
  MaskChange(ParameterArena& parameters, MaskMoment moment, std::function<void()> reset_optimizer);

  const MaskMoment& moment() const { return moment_; }

  // These functions return a score for each prunable weight.

  Scores magnitudes() const;
  Scores gradient_magnitudes() const;
  /// Returns random scores, which are a pure function of seed, step and index of the weight.
  Scores random() const;

  // These functions count and choose kept weights. They do not change the mask yet.

  /// Returns the number of all prunable weights, N.
  int64_t prunable() const { return std::ssize(kept_); }
  /// Returns the number of kept weights of all layers together, and of each prunable layer.
  int64_t kept() const;
  std::vector<int64_t> kept_of_layers() const;
  /// Keeps the `count` highest scores of the kept weights of all layers together.
  void keep_highest(const Scores& scores, int64_t count);
  /// Drops the lowest scores of the kept weights in each layer: `counts` has their number by layer.
  void drop_lowest(const Scores& scores, std::span<const int64_t> counts);
  /// Keeps, in each layer, the highest scores of the weights that are not kept now as well.
  void grow_highest(const Scores& scores, std::span<const int64_t> counts);
  void keep_all();
  /// Makes the optimizer forget all steps after the mask has changed.
  void reset_optimizer() { resets_optimizer_ = true; }

  /// Makes the kept weights the mask of the arena.
  void apply();

 private:
  /// Selects the highest scores of each segment among the candidates, which have a byte per weight.
  std::vector<uint8_t> select(const Scores& scores, std::span<const uint8_t> candidates,
                              std::span<const kernels::RankingSegment> segments) const;
  std::vector<kernels::RankingSegment> segments(std::span<const int64_t> counts) const;
  Scores scores_of(const void* arena) const;
  const kernels::Backend& backend() const { return parameters_.backend(); }

  ParameterArena& parameters_;
  MaskMoment moment_;
  std::function<void()> reset_;
  std::vector<PrunableLayer> layers_;
  std::vector<uint8_t> kept_;  // a byte per prunable weight, layer after layer
  bool resets_optimizer_ = false;
};

/// Exchanges weights of each layer: drops floor(fraction * kept) of the kept weights, those with
/// the smallest magnitudes, and grows as many of the weights that are then not kept, those with the
/// highest scores. The number of kept weights of each layer stays.
void exchange(MaskChange& change, double fraction, const Scores& growth);

/// Exchanges the fraction that the schedule of set, rigl and itop gives, with the rule's own
/// constants where the config sets none.
void exchange_by_schedule(MaskChange& change, const RuleConstants& own, const Scores& growth);

/// Prunes by magnitude over all layers together, to round(density * N) kept weights. Keeps all
/// weights if there are no more than that.
void prune_to(MaskChange& change, double density);

}  // namespace sculpt
