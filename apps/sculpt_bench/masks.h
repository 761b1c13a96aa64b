#pragma once
// Makes the masks that a benchmark runs with: random masks, masks from pruning a briefly trained
// network, or the masks of a run.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct MaskOptions {
  /// "random" keeps the same share of every layer. "magnitude" prunes by global magnitude after
  /// `training` steps on the built-in images. Other sources are run folders or checkpoints
  /// (run-folder.md) of networks.
  std::vector<std::string> sources = {"random"};
  std::vector<double> sparsities;  ///< fractions, for the sources "random" and "magnitude"
  int64_t training = 50;
};

/// The masks of a network.
struct MaskedModel {
  std::string name;           ///< the source of the masks
  StepOptions step;           ///< describes the network that the masks belong to
  std::vector<uint8_t> mask;  ///< 0 or 1 per parameter element, in global-index order
};

/// Returns masks for each source and sparsity, or for each run. The masks of a run belong to the
/// model and width of its config and have its number of classes. Throws Error naming what cannot be
/// read or does not fit.
std::vector<MaskedModel> make_masks(const StepOptions& step, const MaskOptions& options);

/// Sets the masks, and sets masked weights to zero.
void apply_mask(Network& network, const MaskedModel& masked);

/// Returns a step of the model with its masks on these kernels. The step has run once already,
/// which chooses the kernels.
TrainingStep masked_step(const MaskedModel& model, SparseKernels kernels);

/// The masked share of the prunable weights: of all layers together, and the largest and smallest
/// share of a layer.
struct Sparsity {
  double all = 0, most = 0, least = 0;
};
Sparsity sparsity_of(const ParameterArena& parameters);

}  // namespace sculpt::bench
