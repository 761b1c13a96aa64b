#pragma once
// The interface through which training gets its images. data/ implements it and engine/train uses
// it, so that neither of the two depends on the other.

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/common/augmentation.h"

namespace sculpt {

/// The sizes of the images of a source.
struct ImageShape {
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
  int64_t count() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

/// The conversion of uint8 pixels to network input: (pixel / 255 - mean) / std, per channel.
struct Normalization {
  std::vector<float> mean;
  std::vector<float> std;
};

/// A batch in host memory, owned by its source and valid until the source's next call.
struct Batch {
  const uint8_t* images = nullptr;  ///< [count][channels][height][width]
  const int32_t* labels = nullptr;  ///< [count], in [0, classes)
  int64_t count = 0;
  /// The size of the whole batch, if these are the images of it that one rank computes, which may
  /// be none; 0 if the batch is whole. If the batch is computed in parts (batch_share.h), the
  /// rank's images of each part follow one another.
  int64_t whole = 0;

  int64_t whole_count() const { return whole > 0 ? whole : count; }
};

/// The data set behind a source, for devices that keep the data set in their memory and prepare the
/// batches themselves. It lies in host memory and is owned by the source.
struct ResidentImages {
  const uint8_t* images = nullptr;  ///< [count][channels][height][width]
  const int32_t* labels = nullptr;  ///< [count]
  int64_t count = 0;
  kernels::AugmentRule augment;
  std::vector<uint8_t> fill;  ///< [channels]: the mean colour (erased squares, CropFill)
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual ImageShape image_shape() const = 0;
  virtual int64_t classes() const = 0;
  virtual const Normalization& normalization() const = 0;
  /// Returns the number of images in the set.
  virtual int64_t size() const = 0;
  virtual int64_t batch_size() const = 0;
  /// Returns true if an epoch leaves out its last batch when that batch has fewer images than
  /// batch_size().
  virtual bool drops_last() const { return false; }
  /// Returns the number of images per epoch: size(), minus the images of a batch that is left out.
  int64_t images_per_epoch() const { return size() - (drops_last() ? size() % batch_size() : 0); }
  /// Returns the number of batches per epoch. The last batch may be short unless drops_last().
  int64_t steps_per_epoch() const { return (images_per_epoch() + batch_size() - 1) / batch_size(); }

  /// Makes next() deliver step `first_step` of `epoch` and the steps that follow it in that epoch.
  /// `epoch` counts from the start of the run, because order and augmentation depend only on (seed,
  /// epoch, index).
  virtual void start_epoch(int64_t epoch, int64_t first_step) = 0;
  /// Returns the next batch of the epoch, or the part of it that this process computes. After the
  /// last batch, whole_count() is 0.
  virtual Batch next() = 0;

  /// Returns the data set for devices that keep it in their memory; no value if batches come from
  /// next() only.
  virtual std::optional<ResidentImages> resident() const { return std::nullopt; }
  /// Returns size() indices into the resident set, in the image order of `epoch`.
  virtual std::vector<int32_t> epoch_images(int64_t /*epoch*/) const { return {}; }
};

}  // namespace sculpt
