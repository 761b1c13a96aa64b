#include "engine/dist/shared_memory.h"

#include <sys/statvfs.h>

#include "engine/core/error.h"
#include "kernels/common/environment.h"

namespace sculpt {

uint64_t file_system_bytes(const std::string& folder) {
  struct statvfs info;
  if (statvfs(folder.c_str(), &info) != 0) return 0;
  return uint64_t{info.f_blocks} * info.f_frsize;
}

std::string shared_memory_problem(int ranks_here, uint64_t bytes, const std::string& folder) {
  constexpr uint64_t kTooLittle = uint64_t{64} << 20;
  if (ranks_here == 1 || environment_flag("NCCL_SHM_DISABLE")) return "";
  if (bytes == 0 || bytes > kTooLittle) return "";
  return fmt::format(
      "{} has {} MiB, and NCCL needs more for {} ranks of one machine; start the container with "
      "--shm-size=1g (or --ipc=host), or set NCCL_SHM_DISABLE=1",
      folder, bytes >> 20, ranks_here);
}

}  // namespace sculpt
