#include "tests/nccl/standin/shared_ranks.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

namespace standin {

SharedRanks::SharedRanks(const std::string& name) : name_(name) {
  const int file = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) {
    problem_ = std::string("shared memory: ") + strerror(errno);
    if (file >= 0) ::close(file);
    return;
  }
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED)
    problem_ = std::string("mmap: ") + strerror(errno);
  else
    shared_ = static_cast<Shared*>(memory);
}

SharedRanks::~SharedRanks() {
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
}

void SharedRanks::unlink() const {
  shm_unlink(name_.c_str());
}

std::string new_name() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof(number), 0) != sizeof(number)) return "";
  // The tests that kill ranks tidy up what has their prefix.
  const char* const prefix = getenv("NCCL_STANDIN_PREFIX");
  char text[100];
  snprintf(text, sizeof(text), "/%.60s-%016llx", prefix != nullptr ? prefix : "nccl-standin",
           static_cast<unsigned long long>(number));
  return text;
}

}  // namespace standin
