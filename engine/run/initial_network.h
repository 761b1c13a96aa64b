#pragma once
// The weights, masks or both that a run starts from: model.init_from. The file is a checkpoint of
// ours (checkpoint.h), or any safetensors file with the names and shapes of the usual PyTorch
// model.

#include <filesystem>
#include <string>

#include "engine/formats/safetensors.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/plan/plan.h"

namespace sculpt {

/// What is taken from the file. `both`: the weights, and the masks where the file has any.
enum class InitialParts { both, weights, masks };

class InitialNetwork {
 public:
  /// Throws Error naming the file if it cannot be read or is damaged.
  static InitialNetwork read(const std::filesystem::path& path, InitialParts parts);

  /// 16 hexadecimal digits over the whole file.
  const std::string& fingerprint() const { return fingerprint_; }

  /// Over an initialised network: sets weights and batch-norm state, masks, or both; masked weights
  /// become +0. F16 and BF16 are converted, which is exact. What is not loaded stays. Momentum in
  /// the file is left there. A prunable layer without a mask in a file that has masks is kept
  /// whole. Throws Error, with the arena as it was, naming the tensors that are missing, of another
  /// shape or type, unknown to the network, or not finite.
  void load_into(ParameterArena& parameters) const;

 private:
  InitialNetwork(safetensors::File file, InitialParts parts, std::string fingerprint)
      : file_(std::move(file)), parts_(parts), fingerprint_(std::move(fingerprint)) {}

  bool takes_weights() const { return parts_ != InitialParts::masks; }
  bool takes_masks() const { return parts_ != InitialParts::weights; }
  void require_fit(ParameterArena& parameters) const;
  void require_masks(ParameterArena& parameters) const;

  safetensors::File file_;
  InitialParts parts_;
  std::string fingerprint_;
};

/// Of a network whose masks were loaded, before its plan runs. Throws Error naming the first prune
/// that wants more weights than the masks keep.
void require_density_left(const Plan& plan, const ParameterArena& parameters);

}  // namespace sculpt
