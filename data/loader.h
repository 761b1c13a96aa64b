#pragma once
// A Loader delivers the batches of a subset. A background thread orders, augments and prepares them
// ahead of their use.

#include <cstdint>
#include <memory>
#include <vector>

#include "data/data_options.h"
#include "data/dataset.h"
#include "data/prefetch.h"
#include "data/transforms/augment.h"
#include "engine/core/batch_share.h"
#include "engine/core/batch_source.h"

namespace sculpt::data {

struct LoaderOptions {
  int64_t batch = 128;
  uint64_t seed = 0;
  bool shuffle = false;
  AugmentOptions augment = {};
  bool drop_last = false;  ///< see BatchSource::drops_last()
  /// The loader delivers the images of each batch that rank `rank` of `ranks` computes.
  int rank = 0;
  int ranks = 1;
  /// A larger batch is computed in equal parts of at most so many images; 0: in one part.
  int64_t images_at_a_time = 0;
};

/// Position p of epoch e holds image i = indices[epoch_order(size, seed, e)[p]], or indices[p]
/// without shuffle; i is the image's index in the data set. The image is augmented by (seed, e, i).
/// A batch is therefore a pure function of (options, subset, epoch, step), and a run can resume at
/// any step.
class Loader : public BatchSource {
 public:
  Loader(Subset subset, const LoaderOptions& options);

  ImageShape image_shape() const override { return subset_.dataset->shape; }
  int64_t classes() const override { return subset_.dataset->classes; }
  const Normalization& normalization() const override { return subset_.dataset->normalization; }
  int64_t size() const override { return subset_.size(); }
  int64_t batch_size() const override { return options_.batch; }
  bool drops_last() const override { return options_.drop_last; }
  /// first_step lies in [0, steps_per_epoch()]. The upper end means that the epoch is over.
  void start_epoch(int64_t epoch, int64_t first_step) override;
  Batch next() override;
  std::optional<ResidentImages> resident() const override;
  std::vector<int32_t> epoch_images(int64_t epoch) const override;

 private:
  struct Slot {
    std::vector<uint8_t> images;
    std::vector<int32_t> labels;
    int64_t whole = 0;  // images of the whole batch
  };
  void fill(int64_t step, Slot& slot);
  void append(int64_t position, Slot& slot);

  const Subset subset_;
  const LoaderOptions options_;
  std::vector<uint8_t> mean_pixel_;  // [channels]
  int64_t epoch_ = -1;
  std::vector<int32_t> order_;  // order of epoch_; empty: the thread must compute it
  std::vector<Slot> slots_;
  Prefetcher prefetcher_;  // last member, because its thread uses the other members
};

/// Returns a loader that shuffles, and augments as `options` say. Images are mirrored only if the
/// data set allows it. `loader` gives everything else.
std::unique_ptr<BatchSource> make_train_loader(const Subset& subset, const DataOptions& options,
                                               const LoaderOptions& loader);

/// Returns a loader that delivers the images in the order of the subset, as stored. `loader` gives
/// the batch and the rank.
std::unique_ptr<BatchSource> make_eval_loader(const Subset& subset, const LoaderOptions& loader);

}  // namespace sculpt::data
