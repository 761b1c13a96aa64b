#pragma once
// Choosing what a run computes on. The CUDA backend is a library of its own that is loaded only
// when a GPU is asked for: a program built with it starts and trains on a machine without a driver.

#include <string>

#include "kernels/device/backend.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels {

struct Device {
  const Backend* backend = nullptr;
  std::string name;         ///< "cpu", "cuda:0"
  std::string description;  ///< of the hardware; empty for the CPU
  std::string reason;       ///< why it was chosen, where that was left to us
  std::string libraries;    ///< that may compute its convolutions, with versions; empty: only ours
  /// On a GPU: which convolutions they compute; null: none. On the CPU: null unless
  /// time_sparse_kernels() was asked for. Lives as long as the process.
  Chooser* chooser = nullptr;
};

/// `wanted`: "cpu", "cuda", "cuda:INDEX", or "auto": a usable GPU if there is one, else the CPU.
/// `precision`: "fp32", "tf32", "bf16", or "auto": bf16 on a GPU, fp32 on the CPU, which knows no
/// other. `conv`: whose convolutions and linear layers a GPU runs: "native", ours; "cudnn", those
/// of cuDNN and cuBLAS; "auto", the faster of the two for each shape and pass, measured once and
/// kept in default_choice_file(); its troubles are told to `warn`. Throws Error saying what is
/// missing and what to do.
Device open_device(const std::string& wanted, const std::string& precision,
                   const std::string& conv = "native", const Warn& warn = {});

/// The first GPU that this program can use, or why there is none. For a person.
std::string describe_gpu();

/// For train.sparse = "tuned": gives a CPU a chooser that times dense kernels and kernels that skip
/// masked weights, and keeps the faster ones in default_choice_file(). Leaves a GPU as it is.
void time_sparse_kernels(Device& device, const Warn& warn = {});

}  // namespace sculpt::kernels
