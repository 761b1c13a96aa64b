#include "apps/sculpt_run/paths.h"

#include <algorithm>
#include <cstdlib>
#include <pwd.h>
#include <unistd.h>

namespace sculpt {

std::string expand_home(const std::string& path) {
  if (!path.starts_with("~")) return path;
  const size_t end = std::min(path.find('/'), path.size());
  const std::string user = path.substr(1, end - 1);
  const char* home = nullptr;
  if (user.empty()) home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    const passwd* const entry = user.empty() ? getpwuid(getuid()) : getpwnam(user.c_str());
    home = entry == nullptr ? nullptr : entry->pw_dir;
  }
  return home == nullptr ? path : home + path.substr(end);
}

}  // namespace sculpt
