#pragma once
// Decorators for cases that not every backend or machine can run:
//
//   TEST_CASE("winograd: the layers of the networks" * needs_cpu()) { ... }
//
// A case whose need is not met does not run. doctest counts it as skipped, and tests/main.cpp
// prints its name and the need. The needs are decided by the name of the tested backend, because
// doctest evaluates decorators before main(). tests/kernels/needs_test.cpp compares the needs with
// the backends themselves.

#include "tests/support/tested_backends.h"

namespace sculpt::test {

/// A decorator of a case, or of a suite of cases.
struct Needs {
  bool met;
  const char* what;  ///< completes the sentence "The case needs ..."

  template <class Case>
  void fill(Case& decorated) const {
    if (met) return;
    decorated.m_skip = true;
    decorated.m_description = what;
  }
};

/// Blocks of images, sparse kernels and Winograd kernels.
inline Needs needs_cpu() {
  const std::string_view name = tested_backend_name();
  return {name.empty() || name.starts_with("cpu-"), "a backend of the CPU"};
}

/// Memory of a device, a compute copy of the weights, sums of channels.
inline Needs needs_gpu() {
  return {tested_backend_name().starts_with("cuda-"), "a backend of a GPU"};
}

/// A convolution library does not leave sums of channels.
inline Needs needs_channel_sums() {
  const std::string_view name = tested_backend_name();
  return {needs_gpu().met && !name.ends_with("-cudnn") && !name.ends_with("-auto"),
          "a backend whose own convolutions leave sums of channels"};
}

inline Needs needs_joint_passes() {
  const std::string_view name = tested_backend_name();
  return {name == "cuda-bf16" || name == "cuda-bf16-auto",
          "a backend with joint passes of convolutions and batch norm"};
}

inline Needs needs_conv_library() {
  const std::string_view name = tested_backend_name();
  return {needs_gpu().met && name.ends_with("-cudnn"), "a backend that is named for a library"};
}

}  // namespace sculpt::test
