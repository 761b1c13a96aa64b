#pragma once
// start_thread() starts a std::thread; a failure to start is an error with advice.

#include <system_error>
#include <thread>
#include <utility>

#include "kernels/common/check.h"

namespace sculpt {

/// Starts `body` in a thread of its own. Throws Error if the system gives no more threads;
/// `purpose` completes "cannot start a thread that ...".
template <class Body>
std::thread start_thread(const char* purpose, Body&& body) {
  try {
    return std::thread(std::forward<Body>(body));
  } catch (const std::system_error& error) {
    fail(
        "cannot start a thread that {}: {}; use fewer threads (--threads), or allow this program "
        "more processes and memory (ulimit -u, ulimit -v)",
        purpose, error.code().message());
  }
}

}  // namespace sculpt
