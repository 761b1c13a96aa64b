#include "apps/sculpt_run/rank_processes.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <string>

namespace sculpt {
namespace {

/// Returns the parent of a process, or 0 if there is no such process.
pid_t parent_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string text;
  std::getline(file, text);
  // The name of the program, in parentheses, may hold any character.
  const size_t name_end = text.rfind(')');
  int parent = 0;
  char state = 0;
  if (name_end == std::string::npos ||
      std::sscanf(text.c_str() + name_end + 1, " %c %d", &state, &parent) != 2)
    return 0;
  return parent;
}

}  // namespace

std::vector<pid_t> ranks_of(pid_t launcher) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::vector<pid_t> ranks;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (parent_of(name) != launcher) continue;
    if (std::filesystem::read_symlink(entry.path() / "exe", error) == program)
      ranks.push_back(std::stoi(name));
  }
  return ranks;
}

bool is_alive(pid_t rank) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return std::filesystem::read_symlink(fmt::format("/proc/{}/exe", rank), error) == program;
}

bool handles(pid_t process, int signal) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("SigCgt:"))
      return ((std::strtoull(line.c_str() + 7, nullptr, 16) >> (signal - 1)) & 1) != 0;
  return false;
}

}  // namespace sculpt
