#pragma once
// Reads a network from a file: the weights, masks or both that a run starts from (model.init_from),
// or that a step of its plan loads. The file is a checkpoint of Sculpt (checkpoint.h), or any
// safetensors file with the names and shapes of the usual PyTorch model. Masks are tensors
// "<parameter>.mask" of the type U8 or BOOL.

#include <filesystem>
#include <string>

#include "engine/formats/safetensors.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

/// Says what is taken from the file. `both` takes the weights, and the masks if the file has any.
enum class NetworkParts { both, weights, masks };

class NetworkFile {
 public:
  /// Reads the file. `wanted_by` is what wants it, in messages. Throws Error naming the file if it
  /// cannot be read or is damaged.
  static NetworkFile read(const std::filesystem::path& path, NetworkParts parts,
                          const std::string& wanted_by = kInitFrom);
  static constexpr const char* kInitFrom = "model.init_from";

  /// The checksum of the whole file, as 16 hexadecimal digits.
  const std::string& fingerprint() const { return fingerprint_; }

  /// Replaces weights and batch-norm state, masks, or both of an initialised network. Masked
  /// weights become +0. F16 and BF16 values are converted to F32, which is exact. Values that are
  /// not taken from the file stay, and momentum in the file is ignored. If the file has masks, a
  /// prunable layer without a mask keeps all its weights. Throws Error naming the tensors that are
  /// missing, have another shape or type, are unknown to the network, or are not finite; the arena
  /// is then unchanged.
  void load_into(ParameterArena& parameters) const;
  /// Throws the errors of load_into(), and changes nothing.
  void require_fit(const ParameterArena& parameters) const;
  /// Returns the values of the file for a network that it fits: the weights and batch-norm state,
  /// or the masks, as the parts say.
  StoredNetwork stored(const ParameterArena& parameters) const;

 private:
  NetworkFile(safetensors::File file, NetworkParts parts, std::string fingerprint,
              std::string wanted_by)
      : file_(std::move(file)),
        parts_(parts),
        fingerprint_(std::move(fingerprint)),
        wanted_by_(std::move(wanted_by)) {}

  bool takes_weights() const { return parts_ != NetworkParts::masks; }
  bool takes_masks() const { return parts_ != NetworkParts::weights; }
  void require_tensors(const ParameterArena& parameters) const;
  void require_masks(const ParameterArena& parameters) const;
  /// Returns the mask of a parameter, which must have the parameter's shape.
  const safetensors::Tensor& mask_of(const Parameter& parameter) const;

  safetensors::File file_;
  NetworkParts parts_;
  std::string fingerprint_;
  std::string wanted_by_;
};

/// Checks a network whose masks were loaded, before its plan runs. Throws Error naming the first
/// prune that asks for more weights than the masks keep.
void require_density_left(const Plan& plan, const ParameterArena& parameters);

}  // namespace sculpt
