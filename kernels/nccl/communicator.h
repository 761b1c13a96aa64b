#pragma once
// The one communicator of NCCL that a process has. It never blocks the host: calls that take time
// are started and then asked for their end, until a deadline.
//
// NCCL's rules that the functions keep: collectives of a communicator are called one after another;
// a call that is still in progress is completed before the next; nothing is captured before the
// first collective has run; graphs that hold collectives are destroyed before the communicator.

#include <cstdint>
#include <nccl.h>
#include <string>

namespace sculpt::kernels::nccl {

/// Returns "NCCL 2.28.9" as NCCL itself says it.
std::string version();
std::string make_id();

/// See Collectives (kernels/collectives.h) for these functions.
void connect(const std::string& id, int rank, int size, double seconds);
void sum_floats(float* values, int64_t count, void* stream);
void sum_doubles(double* values, int64_t count, void* stream);
std::string problem();
bool abort(double seconds);
void close(double seconds);

}  // namespace sculpt::kernels::nccl
