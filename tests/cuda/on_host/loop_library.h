#pragma once
// A library of convolutions that stands in for cuDNN on the host layer: plain loops behind the
// interface of kernels/device/library_interface.h. It counts what it is asked for, spoils all of
// its workspace, and can be told to refuse.

#include <functional>

#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::test {

struct LoopLibrary {
  int plans = 0;  ///< made
  int runs = 0;
  int destroyed = 0;  ///< plans
  /// Bytes that a plan takes; one that would take more than the limit is not made.
  std::function<size_t(const kernels::cuda::LibraryProblem&)> workspace;
  std::function<bool(const kernels::cuda::LibraryProblem&)> refuses;
  std::function<void()> on_run;

  /// As it is at the start of a program.
  void reset();
};

LoopLibrary& loop_library_state();
const kernels::cuda::ConvLibrary& loop_library();
/// Of the backends whose convolutions are the library's: gives it all.
kernels::Chooser& loop_chooser();

}  // namespace sculpt::test
