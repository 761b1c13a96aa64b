#pragma once
// The CUDA backend: one table of kernels per precision, all on one device and one stream.

#include <string>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels::cuda {

/// "cuda-fp32", "cuda-tf32" and "cuda-bf16" on the device that use_device() chose (the first by
/// default). Throws Error if there is no usable device.
std::vector<const Backend*> backends();

/// A backend of the list above whose convolutions and linear layers are the library's where the
/// chooser says so: the faster ones, if it measures ("cuda-bf16-auto"), or all ("cuda-bf16-cudnn").
/// Library and chooser must outlive it.
const Backend* library_backend(const Backend& native, const ConvLibrary& library, Chooser& chooser);

/// Makes `index` the device of all tables, in all threads (device_guard.h). Throws Error if it
/// cannot be used, saying why, or if backends() has given out tables of another device.
void use_device(int index);

/// Why no GPU of this machine can be used; empty if one can.
std::string why_unusable(int index);

/// "NVIDIA H100 80GB HBM3, 79.2 GiB, compute capability 9.0".
std::string describe_device(int index);

}  // namespace sculpt::kernels::cuda
