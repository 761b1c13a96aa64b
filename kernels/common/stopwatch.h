#pragma once
// Time for comparing kernels on a machine that may be busy with other work.

namespace sculpt {

/// Returns seconds since an arbitrary moment. With one thread (thread_count()), this is the CPU
/// time of the calling thread, which other work on the machine hardly changes. With several threads
/// it is wall time, because a kernel ends with its slowest thread.
double working_seconds();

}  // namespace sculpt
