#pragma once
// Prepares a process for its work: sets the number of threads and opens the device.

#include <memory>

#include "apps/sculpt_run/request.h"
#include "engine/dist/gpu_ranks.h"
#include "engine/dist/single.h"
#include "kernels/device/device.h"

namespace sculpt {

/// Sets the number of threads, and says what a person should know about the config. Ranks on the
/// same host share its processors, unless the config gives a number of threads. The threads of
/// dist.reduction = exact are its logical ranks.
void prepare_process(const Request& request, Communicator& ranks = one_rank());

/// Opens the device of this rank. Throws UsageError that names the setting and its place.
kernels::Device open(const Request& request, const Communicator& ranks = one_rank());

/// Connects the GPUs of several ranks. Returns null if there is one rank, or if ranks compute on a
/// CPU. All ranks throw the same UsageError if the GPUs cannot be used together.
std::unique_ptr<GpuRanks> connect_gpus(const Request& request, const kernels::Device& device,
                                       Communicator& ranks);

void say_device(const kernels::Device& device);

}  // namespace sculpt
