#pragma once
// Where training gets its images from. data/ implements it; engine/train consumes it; neither knows
// the other.

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/common/augmentation.h"

namespace sculpt {

/// Sizes of the images of a source.
struct ImageShape {
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
  int64_t count() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

/// How uint8 pixels become network input: (pixel / 255 - mean) / std, per channel.
struct Normalization {
  std::vector<float> mean;
  std::vector<float> std;
};

/// A batch in host memory, owned by its source and valid until the source's next call.
struct Batch {
  const uint8_t* images = nullptr;  ///< [count][channels][height][width]
  const int32_t* labels = nullptr;  ///< [count], in [0, classes)
  int64_t count = 0;
};

/// The data set behind a source, for devices that keep it in their memory and make the batches
/// themselves. Host memory, owned by the source.
struct ResidentImages {
  const uint8_t* images = nullptr;  ///< [count][channels][height][width]
  const int32_t* labels = nullptr;  ///< [count]
  int64_t count = 0;
  kernels::AugmentRule augment;
  std::vector<uint8_t> fill;  ///< [channels]: colour of erased squares
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual ImageShape image_shape() const = 0;
  virtual int64_t classes() const = 0;
  virtual const Normalization& normalization() const = 0;
  /// Images of the set.
  virtual int64_t size() const = 0;
  virtual int64_t batch_size() const = 0;
  /// Whether an epoch leaves out its last batch where that has fewer images than batch_size().
  virtual bool drops_last() const { return false; }
  /// Images per epoch: size(), less those of a batch that is left out.
  int64_t images_per_epoch() const { return size() - (drops_last() ? size() % batch_size() : 0); }
  /// Batches per epoch; the last may be short unless drops_last().
  int64_t steps_per_epoch() const { return (images_per_epoch() + batch_size() - 1) / batch_size(); }

  /// Makes next() deliver step `first_step` of `epoch` and what follows it in that epoch. `epoch`
  /// counts from the start of the run: order and augmentation depend only on (seed, epoch, index).
  virtual void start_epoch(int64_t epoch, int64_t first_step) = 0;
  /// The next batch of the epoch; count == 0 after the last one.
  virtual Batch next() = 0;

  /// Nothing if batches come from next() only.
  virtual std::optional<ResidentImages> resident() const { return std::nullopt; }
  /// Numbers of the images in the resident set, in the order of `epoch`: [size()].
  virtual std::vector<int32_t> epoch_images(int64_t /*epoch*/) const { return {}; }
};

}  // namespace sculpt
