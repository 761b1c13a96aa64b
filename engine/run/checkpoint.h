#pragma once
// A network as a safetensors file, with the names, shapes and order of the usual PyTorch model:
//
//   <parameter>                     F32, convolutions OIHW, linear layers OI
//   <norm>.running_mean, _var       F32
//   <norm>.num_batches_tracked      I64 scalar
//   <prunable parameter>.mask       U8, 1 = kept; the weight is exactly +0 elsewhere
//   optimizer.<array>.<parameter>   F32, in resumable checkpoints only: the arrays that the
//   optimizer
//                                   keeps; of SGD, momentum
//
// load_state_dict of PyTorch takes the first three kinds.

#include <filesystem>

#include "engine/formats/safetensors.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// What a checkpoint holds besides weights and batch-norm state.
struct CheckpointContent {
  bool masks = true;
  bool optimizer = true;
};

/// The arena's elements must be float.
void write_checkpoint(const std::filesystem::path& path, ParameterArena& parameters,
                      const CheckpointContent& content, const safetensors::Metadata& metadata);

/// Sets weights and batch-norm state, and what else `content` names. Throws Error, with the arena
/// as it was, if a tensor is missing or of another shape.
void read_checkpoint(const safetensors::File& file, ParameterArena& parameters,
                     const CheckpointContent& content);

}  // namespace sculpt
