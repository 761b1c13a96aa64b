#include "apps/common/failure_text.h"

#include <new>

namespace sculpt {

std::string failure_text(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "out of memory: the system refuses this program more memory; use a smaller batch, model "
           "or data set, or raise the limit (ulimit -v)";
  return error.what();
}

}  // namespace sculpt
