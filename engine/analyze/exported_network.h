#pragma once
// Networks as files for other programs, in the safetensors format with the names of PyTorch.
//
// A dense file holds what PyTorch's load_state_dict() takes: all parameters, the running statistics
// and the counts of batches, as a checkpoint does, but no masks. Masked weights are 0.
//
// A compact file holds a parameter with masked weights as its kept values and their places:
//
//   <parameter>.values    F32 [kept], in the order of the places
//   <parameter>.indices   I32 [kept], ascending: places in row-major order of the shape
//   <parameter>.shape     I64 [dimensions]
//
// All other tensors are those of the dense file. The metadata of both files says which parameters
// have masks, and `format` is "sculpt-dense-1" or "sculpt-compact-1".

#include <filesystem>

#include "engine/core/file_format.h"
#include "engine/formats/safetensors.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

inline constexpr FileFormat kDenseFormat{"sculpt-dense", 1};
inline constexpr FileFormat kCompactFormat{"sculpt-compact", 1};

enum class ExportForm { dense, compact };

/// Writes a network whose shapes are those of `parameters`. `metadata` is added to the file's own.
void write_exported(const std::filesystem::path& path, const ParameterArena& parameters,
                    const StoredNetwork& values, ExportForm form,
                    const safetensors::Metadata& metadata);

/// Returns true if the file is a compact one. Throws Error naming the file if it cannot be read.
bool is_compact(const std::filesystem::path& path);

/// Reads a compact file. The masks keep exactly the weights that the file has. Throws Error naming
/// the file and the tensor if it does not fit the network, or if its places are not ascending and
/// inside the tensor.
StoredNetwork read_compact(const std::filesystem::path& path, const ParameterArena& parameters);

}  // namespace sculpt
