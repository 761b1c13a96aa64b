#include "apps/common/failure_text.h"

#include <new>

namespace sculpt {

std::string failure_text(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "out of memory: the system gives this program no more; use a smaller batch, model or "
           "data set, or allow it more (ulimit -v)";
  return error.what();
}

}  // namespace sculpt
