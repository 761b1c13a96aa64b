#pragma once
// The actions of interventions, as a table. Each verb is one file in this folder.
//
// Every action keeps these rules. Masked weights are +0 afterwards. A weight that was masked before
// and is kept afterwards starts with the value that the run's seed gives it at initialisation. The
// result is a pure function of the network, the file, the seed and the number of the plan step.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/nn/network.h"

namespace sculpt {

/// The network of a file, in the order of the global index. F16 and BF16 values are converted to
/// float, which is exact. Only the arrays that were requested are filled.
struct StoredNetwork {
  std::vector<float> weights;  ///< values of all parameters
  std::vector<float> states;   ///< running statistics of batch norm, as StateArray::offset says
  int64_t batches_tracked = 0;
  std::vector<uint8_t> masks;  ///< 1 for each kept element
};

/// The parts of a file that an action needs.
enum class FilePart { none, weights, masks };

struct InterventionContext {
  Network& network;
  uint64_t seed = 0;                      ///< of the run
  int64_t plan_step = 0;                  ///< number of the step in the plan, from 0
  const StoredNetwork* stored = nullptr;  ///< has the part that the action reads, if it reads one
};

struct Action {
  std::string_view name;
  FilePart reads = FilePart::none;
  bool changes_mask = false;
  void (*apply)(const InterventionContext& context) = nullptr;
  std::string_view help;
};

std::span<const Action> actions();
/// Throws Error that lists the known names if the name is unknown.
const Action& find_action(std::string_view name);

// Reinitialisation. A fresh network is drawn as at the start of a run, with a seed made of the
// run's seed and the number of the plan step. Weights are those of convolutions and linear layers.

/// Makes the network a fresh one under the present mask: all parameters and the statistics of batch
/// norm.
void reinit_all(const InterventionContext& context);
/// Makes the network a fresh one, as reinit_all() does, but leaves each weight its sign: the weight
/// becomes abs(fresh) * sign(old). A kept weight that is 0 has no sign and becomes the fresh
/// weight.
void reinit_keep_signs(const InterventionContext& context);
/// Changes nothing but the signs of the weights: abs(old) * sign(fresh).
void reinit_keep_magnitudes(const InterventionContext& context);

/// Permutes the mask within each prunable layer. All permutations are equally likely, and each
/// layer keeps as many weights as before. Weights that are kept before and after keep their values.
void shuffle_mask(const InterventionContext& context);

// These actions load a part of a file.

/// Sets the weights and biases of convolutions and linear layers under the present mask. A weight
/// that is masked in the file and kept here is 0 at first, and is trained.
void load_weights(const InterventionContext& context);
/// Sets the mask. Weights that are kept before and after keep their values.
void load_mask(const InterventionContext& context);
/// Gives the weights of convolutions and linear layers the signs of the file: abs(old) *
/// sign(file). Where the file has 0, the sign stays.
void load_signs(const InterventionContext& context);
/// Sets scale, shift and running statistics of batch norm.
void load_batch_norm(const InterventionContext& context);

}  // namespace sculpt
