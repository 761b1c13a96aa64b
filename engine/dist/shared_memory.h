#pragma once
// The shared memory of a machine, through which NCCL lets the GPUs of one machine exchange data.

#include <cstdint>
#include <string>

namespace sculpt {

/// Returns the size of the file system of a folder in bytes; 0 if it is not known.
uint64_t file_system_bytes(const std::string& folder);

/// Returns why NCCL cannot connect `ranks_here` ranks of a machine whose shared memory, at
/// `folder`, has so many bytes; "" if nothing is known. Containers often have 64 MiB, with which
/// NCCL fails as "unhandled system error".
std::string shared_memory_problem(int ranks_here, uint64_t bytes, const std::string& folder);

}  // namespace sculpt
