#pragma once
// Chooses the device of a run. The CUDA backend is a separate library that is loaded only when a
// GPU is requested, so a program built with it also starts and trains on a machine without a
// driver.

#include <string>

#include "kernels/collectives.h"
#include "kernels/device/backend.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels {

struct Device {
  const Backend* backend = nullptr;
  std::string name;         ///< "cpu", "cuda:0"
  std::string description;  ///< of the hardware; empty for the CPU
  std::string reason;       ///< why this device was chosen, if `wanted` was "auto"
  std::string libraries;    ///< versions of the convolution libraries; empty: only our kernels
  /// On a GPU: decides which convolutions the libraries compute; null if there are none. On the
  /// CPU: null unless time_sparse_kernels() was called. Lives as long as the process.
  Chooser* chooser = nullptr;
  /// The stream for collectives of a GPU; null on the CPU.
  const SideStream* side_stream = nullptr;
  std::string bus_id;  ///< the place of a GPU in its machine, which names it in all processes
};

/// Opens a device.
/// `wanted`: "cpu", "cuda", "cuda:INDEX", or "auto" (a usable GPU if there is one, else the CPU).
/// `precision`: "fp32", "tf32", "bf16", or "auto" (bf16 on a GPU, fp32 on the CPU, which has no
/// other precision).
/// `conv`: the kernels for convolutions and linear layers on a GPU: "native" (ours), "cudnn" (those
/// of cuDNN and cuBLAS), or "auto" (the faster of the two for each shape and pass, measured once
/// and kept in default_choice_file()).
/// `warn` is called with problems of "auto" that are not errors. Throws Error that says what is
/// missing and what to do.
Device open_device(const std::string& wanted, const std::string& precision,
                   const std::string& conv = "native", const Warn& warn = {});

/// Returns the number of GPUs that this process sees; 0 if it can use none.
int count_gpus();

/// Returns the device that a rank gives to open_device(), if `ranks_here` ranks of its machine were
/// given `wanted`, and each sees so many GPUs. Each rank gets a GPU of its own, by its local rank.
/// If a rank sees only one GPU, the launcher has chosen that GPU, and the function returns
/// `wanted`, as it does for "cpu" and "cuda:INDEX". Throws Error if there are too few GPUs.
std::string device_of_rank(const std::string& wanted, int local_rank, int ranks_here, int gpus);

/// Returns the collectives of the GPUs of several ranks, or null; `problem` then says why there are
/// none and what to do.
const Collectives* load_collectives(std::string& problem);

/// Describes the first GPU that this program can use, or says why there is none. The text is for
/// people.
std::string describe_gpu();

/// Implements execution.sparse = "tuned": gives a CPU device a chooser, which times dense kernels
/// and kernels that skip masked weights, and keeps the faster kernels in default_choice_file().
/// Does nothing for a GPU.
void time_sparse_kernels(Device& device, const Warn& warn = {});

}  // namespace sculpt::kernels
