#pragma once
// A loss as a function of the weights, which scores and analyses differentiate: the mean loss over
// some batches of a network without dropout.

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/core/batch_source.h"
#include "engine/core/buffer.h"
#include "engine/nn/network.h"

namespace sculpt {

/// The mean over `batches` batches of the mean loss over the images of each. Dropout passes
/// everything.
struct MeanLoss {
  Network& network;
  int64_t batches = 1;
  /// Batch `index` in [0, batches): the same images whenever it is asked for, valid until the next
  /// call. A batch larger than network.max_batch() is computed in even pieces, each with batch
  /// statistics of its own.
  std::function<Batch(int64_t index)> batch = {};
  Normalization normalization = {};
  /// Mode::train: with batch statistics and label smoothing. Mode::frozen: with running statistics
  /// and without label smoothing.
  Mode mode = Mode::train;
};

/// Calls body(share) for every piece of every batch, with the piece in the network and dropout off;
/// `share` of the mean loss belongs to the piece, and the shares add up to 1. Running statistics
/// are afterwards as they were, after an exception too. Throws Error if there is no batch, or an
/// empty one.
void for_each_piece(const MeanLoss& loss, const std::function<void(double share)>& body);

/// A double for each prunable weight, zeroed, in the memory of the network's backend.
Buffer zeroed_scores(const ParameterArena& parameters);

/// sum += factor * gradient of the piece in the network, whose forward pass has just run; nothing
/// is added where masked. `sum` is like zeroed_scores().
void add_gradient(Network& network, double factor, Buffer& sum);

/// sum += factor * gradient of the loss; nothing is added where masked. Changes nothing but
/// gradients. `sum` is like zeroed_scores().
void add_mean_gradient(const MeanLoss& loss, double factor, Buffer& sum);

/// A copy of the network on the backend of the same device that computes in float throughout; null
/// if the network's own backend does so. Differences of gradients need it: they are lost in the
/// rounding of shorter numbers.
std::unique_ptr<Network> in_full_precision(Network& network);

}  // namespace sculpt
