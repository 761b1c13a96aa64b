#pragma once
// A checkpoint holds a network as a safetensors file, with the names, shapes and order of the usual
// PyTorch model:
//
//   <parameter>                     F32, convolutions OIHW, linear layers OI
//   <norm>.running_mean, _var       F32
//   <norm>.num_batches_tracked      I64 scalar
//   <prunable parameter>.mask       U8, 1 = kept; the weight is exactly +0 elsewhere
//   optimizer.<array>.<parameter>   F32, in resumable checkpoints only
//
// PyTorch's load_state_dict accepts the first three kinds. The last kind holds the arrays that the
// optimizer keeps from step to step; SGD keeps one, momentum.

#include <filesystem>

#include "engine/core/file_format.h"
#include "engine/formats/safetensors.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// Formats of final and rewind checkpoints, and of states, which also hold a RunState.
inline constexpr FileFormat kCheckpointFormat{"sculpt-checkpoint", 2};
inline constexpr FileFormat kStateFormat{"sculpt-state", 3};

/// Says what a checkpoint holds besides weights and batch-norm state.
struct CheckpointContent {
  bool masks = true;
  bool optimizer = true;
};

/// Writes a checkpoint. The arena's elements must be float.
void write_checkpoint(const std::filesystem::path& path, ParameterArena& parameters,
                      const CheckpointContent& content, const safetensors::Metadata& metadata);

/// Sets weights, batch-norm state and everything else that `content` names. Throws Error if a
/// tensor is missing or has another shape; the arena is then unchanged.
void read_checkpoint(const safetensors::File& file, ParameterArena& parameters,
                     const CheckpointContent& content);

}  // namespace sculpt
