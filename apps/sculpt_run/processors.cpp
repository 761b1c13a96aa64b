#include "apps/sculpt_run/processors.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sched.h>
#include <thread>

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns the number of processors in the affinity mask.
int of_affinity() {
  // A fixed cpu_set_t holds 1024 processors. A machine with more processors needs a larger set.
  for (int capacity = CPU_SETSIZE; capacity <= (1 << 16); capacity *= 2) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(capacity));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int count = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known) return count;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

double quota(double microseconds, double period) {
  return microseconds > 0 && period > 0 ? microseconds / period : INFINITY;
}

/// Returns the processors' worth of time that the control group at `folder` of the unified
/// hierarchy and the groups above it grant; infinity without a limit.
double of_unified_group(fs::path folder) {
  double least = INFINITY;
  for (; folder.string().starts_with("/sys/fs/cgroup"); folder = folder.parent_path()) {
    std::ifstream file(folder / "cpu.max");
    double limit = 0, period = 0;  // in "max 100000" the limit is not a number
    if (file >> limit >> period) least = std::min(least, quota(limit, period));
  }
  return least;
}

double of_control_group() {
  double least = INFINITY;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) least = std::min(least, of_unified_group("/sys/fs/cgroup" + path));
    if (controllers.find("cpu,") == std::string::npos && controllers != "cpu") continue;
    // This is version 1 of control groups. Inside a container, the group's own folder is often
    // mounted as the root.
    for (const std::string& folder :
         {"/sys/fs/cgroup/cpu" + path, std::string("/sys/fs/cgroup/cpu")}) {
      std::ifstream limit_file(folder + "/cpu.cfs_quota_us"),
          period_file(folder + "/cpu.cfs_period_us");
      double limit = 0, period = 0;
      if (limit_file >> limit && period_file >> period)
        least = std::min(least, quota(limit, period));
    }
  }
  return std::min(least, of_unified_group("/sys/fs/cgroup"));
}

}  // namespace

int available_processors() {
  const double allowed =
      std::min(static_cast<double>(of_affinity()), std::ceil(of_control_group()));
  return std::max(1, static_cast<int>(allowed));
}

std::string too_many_threads(int threads, int processors) {
  if (threads <= processors) return "";
  return fmt::format(
      "{} threads share {} processor{}, so steps take longer than with --threads {}; the number of "
      "threads also affects the last bits of the result",
      threads, processors, processors == 1 ? "" : "s", processors);
}

}  // namespace sculpt
