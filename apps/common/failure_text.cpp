#include "apps/common/failure_text.h"

#include <fmt/format.h>
#include <new>

#include "engine/core/files.h"

namespace sculpt {

std::string failure_text(const std::exception& error, const char* go_on) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "out of memory: the system refuses this program more memory; use a smaller batch, model "
           "or data set, or raise the limit (ulimit -v)";
  if (dynamic_cast<const CannotWrite*>(&error) != nullptr)
    return fmt::format("{}, then {}", error.what(), go_on);
  return error.what();
}

}  // namespace sculpt
