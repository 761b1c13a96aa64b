#pragma once
// Adds up the gradients of all ranks while the backward pass computes further gradients. The graph
// says when the gradient of a parameter is final; when a bucket (gradient_buckets.h) is complete,
// its sum starts. All ranks start the buckets in the same order, whatever the order in which their
// own gradients become final.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/core/buffer.h"
#include "engine/nn/gradient_buckets.h"
#include "engine/nn/rank_sums.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// How ranks exchange gradients.
struct GradientExchange {
  Exchange what = Exchange::kept;
  int64_t bucket_bytes = 0;  ///< least size of a bucket; 0: the default of the device

  // Small buckets overlap more of their time with the backward pass, also where few weights are
  // kept. Sums of small arrays cost a GPU more than their bytes do.
  static constexpr int64_t kHostBucketBytes = int64_t{1} << 16;
  static constexpr int64_t kDeviceBucketBytes = int64_t{20} << 20;
};

class GradientReducer {
 public:
  /// The arena and the sums must outlive the object.
  GradientReducer(ParameterArena& parameters, RankSums& sums, const GradientExchange& exchange)
      : parameters_(parameters), sums_(sums), exchange_(exchange) {}
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Begins a backward pass whose gradients are added up. From the first gradient that is final to
  /// finish(), the mask and the layout of the arena must not change.
  void begin();
  /// Takes the news that the gradient of a parameter is final, and starts the sums of the buckets
  /// that are complete now. Does nothing outside of begin() and finish().
  void gradient_is_final(ParameterId id);
  /// Returns when the sums are in the arena, or, on a device, when everything that computes them
  /// has been launched. Full gradients (FullGradients::request()), if there are any, are added up
  /// as a whole.
  void finish();

 private:
  enum class State {
    idle,
    begun,        ///< the buckets are not known to fit the layout yet
    overlapping,  ///< the buckets fit
    at_the_end,   ///< nothing is added up before finish()
  };
  void enter_pass();
  void plan();
  void start(size_t bucket);
  template <class T>
  void add_up_full_gradients();
  std::byte* stored(const GradientBucket& bucket);
  std::byte* travelling(size_t bucket);
  const int32_t* indices(size_t bucket) const;

  ParameterArena& parameters_;
  RankSums& sums_;
  const GradientExchange exchange_;

  // The buckets and what belongs to them depend on the layout and the mask.
  SharedLayout layout_;
  SharedPattern pattern_;
  std::optional<Exchange> planned_;
  std::vector<GradientBucket> buckets_;
  std::vector<size_t> bucket_of_;  ///< by parameter
  Buffer wire_;                    ///< the values that travel and are not stored gradients
  std::vector<int64_t> at_;        ///< by bucket: its first value in wire_
  std::vector<Buffer> indices_;    ///< by bucket: GradientBucket::indices, on a device

  State state_ = State::idle;
  Exchange what_ = Exchange::kept;  ///< in this pass
  std::vector<int> missing_;        ///< by bucket: gradients that are not final yet
  std::vector<PendingSum> pending_;
};

}  // namespace sculpt
