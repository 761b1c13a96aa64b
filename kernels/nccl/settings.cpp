#include "kernels/nccl/settings.h"

#include <cstdlib>

namespace sculpt::kernels::nccl {
namespace {

struct Setting {
  const char* name;
  const char* value;
};

// Rings of few channels suit sums of some megabytes on any machine. Their order of additions
// follows from the number of ranks and their places alone.
constexpr Setting kPinned[] = {{"NCCL_ALGO", "Ring"},
                               {"NCCL_PROTO", "Simple"},
                               {"NCCL_MIN_NCHANNELS", "8"},
                               {"NCCL_MAX_NCHANNELS", "8"}};

}  // namespace

void pin_settings() {
  for (const Setting& setting : kPinned)
    setenv(setting.name, setting.value, /*overwrite=*/0);
}

std::string describe_settings() {
  std::string text;
  for (const Setting& setting : kPinned) {
    const char* const value = std::getenv(setting.name);
    text += (text.empty() ? "" : ", ") + std::string(setting.name) + "=" +
            (value != nullptr ? value : "");
  }
  return text;
}

}  // namespace sculpt::kernels::nccl
