#pragma once
// Whether the library that `train.conv` asks for can be used on this device.

#include <string>

#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels {

/// Starts `library`, null where there is none because of `problem`, and returns its versions. If
/// that fails: an Error for `conv` = "cudnn"; for "auto" a warning, and "", which means ours.
std::string start_conv_library(const cuda::ConvLibrary* library, const std::string& problem,
                               const std::string& conv, const Warn& warn);

/// One line that says which passes our kernels run though `conv` = "cudnn" gave them to a library;
/// empty if there are none, or if choices were measured.
std::string describe_fallbacks(const Chooser& chooser);

}  // namespace sculpt::kernels
