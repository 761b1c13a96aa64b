// The program reports a library of convolutions that is missing, too old, or does not start.

#include "kernels/device/conv_library.h"

#include <doctest/doctest.h>
#include <vector>

#include "kernels/common/check.h"

namespace {

using namespace sculpt::kernels;

std::string versions() {
  return "loops 1.0";
}
std::string too_old() {
  sculpt::fail("loops 0.9 was loaded, and 1.0 is needed");
}
void start() {}
void no_start() {
  sculpt::fail("starting loops: out of memory");
}

struct Case {
  cuda::ConvLibrary library;
  bool exists;
  const char* complaint;  ///< null: usable
};

const Case kCases[] = {{{versions, start, nullptr}, true, nullptr},
                       {{}, false, "this build found no loops"},
                       {{too_old, start, nullptr}, true, "loops 0.9 was loaded, and 1.0 is needed"},
                       {{versions, no_start, nullptr}, true, "starting loops: out of memory"}};

TEST_CASE("conv library: what cannot be used is an error for cudnn, and a warning for auto") {
  for (const Case& c : kCases) {
    std::vector<std::string> warnings;
    const Warn warn = [&](const std::string& text) { warnings.push_back(text); };
    const auto started = [&](const char* conv) {
      return start_conv_library(c.exists ? &c.library : nullptr, "this build found no loops", conv,
                                warn);
    };
    if (c.complaint == nullptr) {
      CHECK(started("cudnn") == "loops 1.0");
      CHECK(started("auto") == "loops 1.0");
      CHECK(warnings.empty());
      continue;
    }
    const std::string complaint = c.complaint;
    const std::string error = "execution.conv = cudnn: " + complaint + "; or use --conv native";
    CHECK_THROWS_WITH_AS(started("cudnn"), error.c_str(), sculpt::Error);
    CHECK(warnings.empty());
    CHECK(started("auto") == "");
    CHECK(warnings == std::vector{"execution.conv = auto uses native convolutions: " + complaint});
  }
}

}  // namespace
