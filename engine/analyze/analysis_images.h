#pragma once
// The images that analyses measure a network on, and measurements in evaluation mode.

#include <cstdint>
#include <vector>

#include "engine/core/batch_source.h"
#include "engine/nn/evaluate.h"
#include "engine/nn/mean_loss.h"
#include "engine/sparse/after_prune.h"

namespace sculpt {

/// The source must outlive the object.
struct AnalysisImages {
  /// Training images without augmentation, in an order that depends on the run's seed only.
  StatisticsImages train;
  int64_t train_count = 0;  ///< the first of them, which are used
  BatchSource& test;

  const Normalization& normalization() const { return test.normalization(); }
};

/// Returns loss and accuracy on the training images, in evaluation mode. Throws Interrupted if the
/// phase is interrupted, like the other functions here.
Evaluation evaluate_train(Network& network, const AnalysisImages& images);
/// Returns loss and accuracy on the test images, in evaluation mode.
Evaluation evaluate_test(Network& network, const AnalysisImages& images);

/// Estimates batch norm's running statistics on the training images.
void recompute_statistics(Network& network, const AnalysisImages& images);

/// Returns the mean cross-entropy over the training images, in evaluation mode, without weight
/// decay and label smoothing. `network` and `images` must outlive the result.
MeanLoss train_loss(Network& network, const AnalysisImages& images);

/// Results for each class.
struct ClassResults {
  Evaluation all;
  /// confusion[label * classes + predicted] is a number of images. The prediction is the largest
  /// logit, the first one on ties.
  std::vector<int64_t> confusion;
  int64_t classes = 0;

  int64_t count(int64_t label, int64_t predicted) const {
    return confusion[static_cast<size_t>(label * classes + predicted)];
  }
  int64_t images_of(int64_t label) const;
};

ClassResults evaluate_classes(Network& network, BatchSource& source);

}  // namespace sculpt
