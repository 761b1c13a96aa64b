#pragma once
// The one error type of the project. Libraries throw it; only a program's main() turns it into an
// exit code. Messages name the thing that is wrong and what to do about it.

#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <utility>

namespace sculpt {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] inline void check_failed(const char* expression, const char* file, int line,
                                      const std::string& message) {
  throw Error(fmt::format("{} [{} failed at {}:{}]", message, expression, file, line));
}
}  // namespace detail

}  // namespace sculpt

/// Internal invariant: stays on in release builds. For user errors call sculpt::fail().
#define SCULPT_CHECK(condition, ...)                                                              \
  do {                                                                                            \
    if (!(condition)) [[unlikely]]                                                                \
      ::sculpt::detail::check_failed(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
