#include "engine/dist/bell.h"

#include <cerrno>
#include <cstring>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/core/error.h"

namespace sculpt {

Bell::Bell() : file_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (file_ < 0) fail("the system gives this program no more files: {}", std::strerror(errno));
}

Bell::~Bell() {
  close(file_);
}

void Bell::ring() const {
  eventfd_write(file_, 1);
}

void Bell::silence() const {
  eventfd_t rings = 0;
  eventfd_read(file_, &rings);
}

}  // namespace sculpt
