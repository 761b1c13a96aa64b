#include "kernels/device/conv_library.h"

#include "kernels/common/check.h"

namespace sculpt::kernels {

std::string start_conv_library(const cuda::ConvLibrary* library, const std::string& problem,
                               const std::string& conv, const Warn& warn) try {
  if (library == nullptr) fail("{}", problem);
  const std::string versions = library->versions();
  library->start();
  return versions;
} catch (const Error& error) {
  if (conv != "auto") fail("execution.conv = {}: {}; or use --conv native", conv, error.what());
  if (warn) warn(fmt::format("execution.conv = auto uses native convolutions: {}", error.what()));
  return "";
}

std::string describe_fallbacks(const Chooser& chooser) {
  const auto& refusals = chooser.refusals();
  if (chooser.measures() || refusals.empty()) return "";
  return fmt::format("execution.conv = cudnn: Sculpt's own kernels run {} of {} passes: {}{} ({})",
                     refusals.size(), chooser.made().size(), refusals.front().problem,
                     refusals.size() > 1 ? ", ..." : "", refusals.front().reason);
}

}  // namespace sculpt::kernels
