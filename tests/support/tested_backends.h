#pragma once
// The backends that the suites compare with the reference backend. These are the backends of the
// CPU, unless the variable SCULPT_TEST_BACKEND names one backend (cpu-avx2, cuda-fp32, cuda-bf16,
// ...). CUDA backends run on this machine's GPU, or on the host layer in programs that link
// cuda_backends.cpp.

#include <string_view>
#include <vector>

#include "kernels/device/backend.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> tested_backends();

/// Returns the value of SCULPT_TEST_BACKEND, or "" if the variable is not set.
std::string_view tested_backend_name();

/// Rounds a number to what every tested backend's activations can hold: float, or bf16 if one of
/// them computes in it. Inputs made of such numbers are the same for a backend and the reference.
double representable(double value);

/// The error that a backend may make where float would make `single`: its own rounding if that is
/// coarser, nearly nothing in the reference's double. Relative to numbers around 1.
double tolerance(const kernels::Backend& backend, double single);
/// The tolerance for parameters and statistics, which are float on every backend but the reference.
double parameter_tolerance(const kernels::Backend& backend, double single);
/// The tolerance for results of convolutions and linear layers, which may multiply with less
/// precision than activations are stored with.
double product_tolerance(const kernels::Backend& backend, double single);

}  // namespace sculpt::test
