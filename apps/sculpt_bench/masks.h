#pragma once
// The masks that a benchmark runs with: drawn at random, made by pruning a briefly trained network,
// or those of a run.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct MaskOptions {
  /// "random": as many weights of every layer kept. "magnitude": global magnitude, after `training`
  /// steps on the built-in images. Else run folders or checkpoints (run-folder.md) of networks.
  std::vector<std::string> sources = {"random"};
  std::vector<double> sparsities;  ///< fractions, for random and magnitude
  int64_t training = 50;
};

/// A network's masks.
struct MaskedModel {
  std::string name;           ///< of the masks: their source
  StepOptions step;           ///< the network that they belong to
  std::vector<uint8_t> mask;  ///< 0/1 per parameter element, in global-index order
};

/// One for each source and sparsity, or for each run: of the model and width in its config, and its
/// number of classes. Throws Error naming what cannot be read or does not fit.
std::vector<MaskedModel> make_masks(const StepOptions& step, const MaskOptions& options);

/// Sets the masks, and masked weights to zero.
void apply_mask(Network& network, const MaskedModel& masked);

/// A step of the model under its masks, on these kernels; it has run once and found them.
TrainingStep masked_step(const MaskedModel& model, SparseKernels kernels);

/// Masked share of the prunable weights of all layers together; of the layer with the most and with
/// the fewest of its weights left.
struct Sparsity {
  double all = 0, most = 0, least = 0;
};
Sparsity sparsity_of(const ParameterArena& parameters);

}  // namespace sculpt::bench
