#pragma once
// A survey says what a program launches, and how much some blocks of each launch do. It costs
// little whatever the size of a launch, so a training step of a real batch can be surveyed on a
// CPU. The results of kernels are meaningless during a survey, because most blocks do not run.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda_on_host/vector_types.h"

namespace cuda_on_host {

/// The work of some blocks. The layer counts it in the functions that kernels call.
struct BlockWork {
  uint64_t matrix_products = 0;  ///< mma instructions, each of a whole warp
  uint64_t copied_bytes = 0;     ///< bytes that cp.async reads from global memory
  uint64_t read_bytes = 0;       ///< bytes that load_pack reads from global memory
  uint64_t written_bytes = 0;    ///< bytes that store_pack writes to global memory
};

struct SurveyedLaunch {
  const char* kernel;    ///< as SCULPT_LAUNCH spells it
  const void* function;  ///< the address of the kernel
  dim3 grid;
  dim3 block;
  size_t shared_bytes;      ///< of dynamic shared memory
  uint32_t sampled_blocks;  ///< number of blocks that ran: up to 8, spread evenly over the grid
  BlockWork work;           ///< of the sampled blocks together
};

/// Starts a survey, which calls `each` after every launch, or ends it, if `each` is empty. Memory
/// that is allocated during a survey is not filled with garbage.
void survey(std::function<void(const SurveyedLaunch&)> each);
/// Returns true during a survey.
bool is_surveying();

void count_matrix_product();
void count_copy(size_t bytes);
/// Counts an access, unless `p` points into the dynamic shared memory of the block.
void count_read(const void* p, size_t bytes);
void count_write(const void* p, size_t bytes);

}  // namespace cuda_on_host
