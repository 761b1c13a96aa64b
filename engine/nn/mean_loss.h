#pragma once
// MeanLoss is a loss as a function of the weights, which scores and analyses differentiate: the
// mean loss of a network without dropout over some batches.

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/core/batch_source.h"
#include "engine/core/buffer.h"
#include "engine/nn/network.h"

namespace sculpt {

/// The mean over `batches` batches, where the loss of a batch is the mean over its images. Dropout
/// keeps all elements.
struct MeanLoss {
  Network& network;
  int64_t batches = 1;
  /// Returns batch `index` in [0, batches): the same images in every call, valid until the next
  /// call. A batch larger than network.max_batch() is computed in even pieces, each with its own
  /// batch statistics.
  std::function<Batch(int64_t index)> batch = {};
  Normalization normalization = {};
  /// Mode::train: uses batch statistics and label smoothing. Mode::frozen: uses running statistics
  /// and no label smoothing.
  Mode mode = Mode::train;
};

/// Calls body(share) for every piece of every batch, with the piece loaded into the network and
/// dropout off. `share` is the weight of the piece in the mean loss; the shares add up to 1.
/// Afterwards, also after an exception, running statistics are as before. Throws Error if there is
/// no batch, or an empty one.
void for_each_piece(const MeanLoss& loss, const std::function<void(double share)>& body);

/// Returns a zeroed array with a double for each prunable weight, in the memory of the network's
/// backend.
Buffer zeroed_scores(const ParameterArena& parameters);

/// Adds factor * the gradient that the last backward pass computed to `sum`, which has the format
/// of zeroed_scores(). Masked elements of `sum` are not changed.
void add_gradient(Network& network, double factor, Buffer& sum);

/// Adds factor * the gradient of the loss to `sum`, which has the format of zeroed_scores(). Masked
/// elements of `sum` are not changed. The call changes nothing else but gradients.
void add_mean_gradient(const MeanLoss& loss, double factor, Buffer& sum);

/// Returns a copy of the network on the backend of the same device that computes in float
/// throughout; null if the network's own backend does so. Differences of gradients need this
/// precision, because they would be lost in the rounding of shorter numbers.
std::unique_ptr<Network> in_full_precision(Network& network);

}  // namespace sculpt
