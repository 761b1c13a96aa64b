#pragma once
// Starts the library that `execution.conv` requests, if it can be used on this device.

#include <string>

#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels {

/// Starts `library` and returns its versions. `library` is null if it could not be loaded;
/// `problem` then says why. If the library cannot be started and `conv` is "cudnn", throws Error.
/// If `conv` is "auto", warns and returns "", which means that our kernels are used.
std::string start_conv_library(const cuda::ConvLibrary* library, const std::string& problem,
                               const std::string& conv, const Warn& warn);

/// Returns one line that says which passes run on our kernels although `conv` = "cudnn" gave them
/// to a library. Returns "" if there is no such pass, or if choices were measured.
std::string describe_fallbacks(const Chooser& chooser);

}  // namespace sculpt::kernels
