#pragma once
// A Dataset is an image data set in host memory, and a Subset is a list of indices that selects a
// part of one.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/batch_source.h"

namespace sculpt::data {

/// Labelled uint8 images. Every loader guarantees labels.size() images and labels in [0, classes).
struct Dataset {
  std::string name;
  ImageShape shape;
  int64_t classes = 0;
  std::vector<std::string> class_names;  ///< [classes]
  Normalization normalization;           ///< customary constants, on the 0..1 scale
  /// True if a mirrored image still belongs to its class (false for digits). Only then may images
  /// be flipped.
  bool mirror_safe = true;
  std::vector<uint8_t> images;  ///< [size][channels][height][width]
  std::vector<int32_t> labels;  ///< [size]

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  const uint8_t* image(int64_t index) const {
    return images.data() + static_cast<size_t>(index * shape.count());
  }
};

/// The two official parts of a data set.
struct TrainTest {
  Dataset train;
  Dataset test;
};

/// A part of a data set without a copy of it: ascending, distinct indices into the data set.
struct Subset {
  std::shared_ptr<const Dataset> dataset;
  std::vector<int32_t> indices;

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
};

}  // namespace sculpt::data
