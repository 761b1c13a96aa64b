#pragma once
// Switches in the environment.

#include <cstdlib>
#include <string_view>

namespace sculpt {

/// Returns true if the variable `name` is set and is neither empty nor "0".
inline bool environment_flag(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' && value != std::string_view("0");
}

/// Returns true if the variable `name` is "0".
inline bool environment_is_off(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && value == std::string_view("0");
}

}  // namespace sculpt
