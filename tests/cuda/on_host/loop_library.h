#pragma once
// A library of convolutions that stands in for cuDNN on the host layer: plain loops behind the
// interface of kernels/device/library_interface.h. It counts what it is asked for, spoils all of
// its workspace, and can be told to refuse.

#include <functional>

#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::test {

struct LoopLibrary {
  int plans = 0;  ///< plans that were made
  int runs = 0;
  int destroyed = 0;  ///< plans that were destroyed
  /// Returns the bytes of workspace that a plan takes. A plan that takes more than the limit is not
  /// made.
  std::function<size_t(const kernels::cuda::LibraryProblem&)> workspace;
  std::function<bool(const kernels::cuda::LibraryProblem&)> refuses;
  std::function<void()> on_run;

  /// Restores the state at the start of a program.
  void reset();
};

LoopLibrary& loop_library_state();
const kernels::cuda::ConvLibrary& loop_library();
/// The chooser of the backends that use the library. It gives every pass to the library.
kernels::Chooser& loop_chooser();

}  // namespace sculpt::test
