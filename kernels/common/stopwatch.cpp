#include "kernels/common/stopwatch.h"

#include <ctime>

#include "kernels/common/parallel.h"

namespace sculpt {

double working_seconds() {
  timespec now{};
  clock_gettime(thread_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace sculpt
