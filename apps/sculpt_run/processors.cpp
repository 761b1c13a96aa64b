#include "apps/sculpt_run/processors.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <map>
#include <sched.h>
#include <thread>

namespace sculpt {
namespace {

namespace fs = std::filesystem;

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

std::vector<int> processors_of_affinity() {
  // A fixed cpu_set_t holds 1024 processors. A machine with more processors needs a larger set.
  std::vector<int> processors;
  for (int capacity = CPU_SETSIZE; capacity <= (1 << 16); capacity *= 2) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<size_t>(capacity));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int processor = 0; known && processor < capacity; ++processor)
      if (CPU_ISSET_S(static_cast<size_t>(processor), bytes, set)) processors.push_back(processor);
    CPU_FREE(set);
    if (known) return processors;
  }
  for (int processor = 0; processor < static_cast<int>(std::thread::hardware_concurrency());
       ++processor)
    processors.push_back(processor);
  return processors;
}

int granted_processors() {
  constexpr int kMost = std::numeric_limits<int>::max();
  const double granted = std::ceil(of_control_group());
  return granted < kMost ? std::max(1, static_cast<int>(granted)) : kMost;
}

SharedProcessors share_processors(const std::vector<std::vector<int>>& masks, size_t rank,
                                  int granted) {
  std::map<int, int> users;  // by processor
  for (const std::vector<int>& mask : masks)
    for (const int processor : mask)
      ++users[processor];
  double own = 0;
  for (const int processor : masks[rank])
    own += 1.0 / users[processor];
  const auto all = static_cast<double>(users.size());
  const double least = std::min(all, static_cast<double>(granted));
  constexpr double kRounding = 1e-6;  // three thirds are one processor
  return {std::max(1, static_cast<int>(least)),
          std::max(1, static_cast<int>(own * least / all + kRounding))};
}

std::string too_many_threads(int ranks, int threads, int processors) {
  if (ranks * threads <= processors) return "";
  const std::string shared = fmt::format("{} processor{}", processors, processors == 1 ? "" : "s");
  if (ranks == 1)
    return fmt::format(
        "{} threads share {}, so steps take longer than with --threads {}; the number of threads "
        "also affects the last bits of the result",
        threads, shared, processors);
  const std::string each = fmt::format("{} thread{}", threads, threads == 1 ? "" : "s");
  if (ranks < processors)
    return fmt::format(
        "{} ranks with {} each share {}, so steps take longer than with --threads {}; the number "
        "of threads also affects the last bits of the result",
        ranks, each, shared, processors / ranks);
  return fmt::format(
      "{} ranks with {} each share {}, so steps take longer than on {} with --threads 1", ranks,
      each, shared, processors == 1 ? "1 rank" : fmt::format("{} ranks", processors));
}

}  // namespace sculpt
