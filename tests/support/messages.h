#pragma once
// Messages of errors, for checks of what a user reads.

#include <exception>
#include <string>

namespace sculpt::testing {

/// Returns the message of the exception that `body` throws, or "" if `body` throws none.
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace sculpt::testing
