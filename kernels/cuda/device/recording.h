#pragma once
// Recordings as CUDA graphs.

#include "kernels/device/recording.h"

namespace sculpt::kernels::cuda {

/// Returns the hooks. All of them are null if every launch is waited for (SCULPT_CUDA_SYNC),
/// because that cannot be recorded.
RecordingHooks recording_hooks();

}  // namespace sculpt::kernels::cuda
