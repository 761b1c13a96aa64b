#include "kernels/common/environment.h"

#include <doctest/doctest.h>

namespace {

TEST_CASE("environment: a switch in the environment: unset, empty and 0 are off") {
  constexpr const char* kName = "SCULPT_TEST_SWITCH";
  unsetenv(kName);
  CHECK_FALSE(sculpt::environment_flag(kName));
  for (const char* value : {"", "0"}) {
    setenv(kName, value, 1);
    CHECK_FALSE(sculpt::environment_flag(kName));
  }
  for (const char* value : {"1", "yes", "00", " "}) {
    setenv(kName, value, 1);
    CHECK(sculpt::environment_flag(kName));
  }
  unsetenv(kName);
}

}  // namespace
