#pragma once
// CUDA graphs.

#include "kernels/device/recording.h"

namespace sculpt::kernels::cuda {

/// All null where every launch is waited for, which cannot be recorded.
RecordingHooks recording_hooks();

}  // namespace sculpt::kernels::cuda
