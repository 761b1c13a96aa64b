#pragma once
// Whether the library that `train.conv` asks for can be used on this device.

#include <string>

#include "kernels/cuda/library.h"
#include "kernels/tuning/choice_file.h"

namespace sculpt::kernels {

/// Starts `library`, null where there is none because of `problem`, and returns its versions. If
/// that fails: an Error for `conv` = "cudnn"; for "auto" a warning, and "", which means ours.
std::string start_conv_library(const cuda::ConvLibrary* library, const std::string& problem,
                               const std::string& conv, const Warn& warn);

}  // namespace sculpt::kernels
