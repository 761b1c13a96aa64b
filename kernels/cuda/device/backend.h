#pragma once
// The CUDA backend. It has one table of kernels per precision; all tables use one device and one
// stream.

#include <string>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels::cuda {

/// Returns "cuda-fp32", "cuda-tf32" and "cuda-bf16" on the device that use_device() chose (by
/// default the first device). Throws Error if there is no usable device.
std::vector<const Backend*> backends();

/// Returns a backend of the list above, except that its convolutions and linear layers run on the
/// library where the chooser decides so. A chooser that measures uses the faster kernels
/// ("cuda-bf16-auto"); otherwise all of them run on the library ("cuda-bf16-cudnn"). Library and
/// chooser must outlive the backend.
const Backend* library_backend(const Backend& native, const ConvLibrary& library, Chooser& chooser);

/// Makes `index` the device of all tables, in all threads (device_guard.h). Throws Error that says
/// why if the device cannot be used, or if backends() has already returned tables of another
/// device.
void use_device(int index);

/// Why no GPU of this machine can be used; empty if one can.
std::string why_unusable(int index);

/// Returns the number of GPUs that this process sees.
int count_devices();

/// Returns the place of a GPU in its machine ("0000:3b:00.0"), which names it in all processes.
std::string bus_id(int index);

/// "NVIDIA H100 80GB HBM3, 79.2 GiB, compute capability 9.0".
std::string describe_device(int index);

}  // namespace sculpt::kernels::cuda
