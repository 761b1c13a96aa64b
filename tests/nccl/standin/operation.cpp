#include "tests/nccl/standin/operation.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "cuda_on_host/streams.h"
#include "tests/nccl/standin/fault.h"

namespace standin {
namespace {

template <class T>
void add(void* to, const void* from, size_t count) {
  auto* const sums = static_cast<T*>(to);
  const auto* const terms = static_cast<const T*>(from);
  for (size_t i = 0; i < count; ++i)
    sums[i] += terms[i];
}

}  // namespace

size_t width_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat32:
      return 4;
    case ncclFloat64:
      return 8;
    default:
      return 0;  // not needed by this project
  }
}

size_t Operation::slice() const {
  return std::min(arguments_.count - done_, kSliceBytes / width_of(arguments_.type));
}

bool Operation::step() {
  if (group_->aborted) return end();
  // A communicator executes one operation at a time.
  if (stage_ == Stage::idle && !begin()) return group_->aborted;
  while (stage_ != Stage::idle)
    if (!follow()) return false;
  return true;
}

bool Operation::begin() {
  if (group_->busy_with != nullptr) return false;
  group_->busy_with = this;
  done_ = 0;
  fault_ = fault(group_->rank, group_->executed++, kOfExecutions);
  begin_at_ = std::chrono::steady_clock::now();
  if (fault_.starts_with("slow=")) begin_at_ += std::chrono::milliseconds(atoi(fault_.c_str() + 5));
  stage_ = Stage::late;
  if (fault_ == "die") raise(SIGKILL);
  if (fault_ == "async") group_->fail(ncclRemoteError, "an injected error of another rank");
  if (fault_ == "hang" || fault_ == "async") stage_ = Stage::stuck;
  const size_t bytes = arguments_.count * width_of(arguments_.type);
  if (!cuda_on_host::is_device_memory(arguments_.send, bytes) ||
      !cuda_on_host::is_device_memory(arguments_.receive, bytes)) {
    group_->fail(ncclInvalidArgument, "a buffer is not memory of the device, or not any more");
    stage_ = Stage::stuck;
  }
  return true;
}

/// Goes from one stage to the next. Returns false if it must wait for other ranks.
bool Operation::follow() {
  switch (stage_) {
    case Stage::late:
      if (std::chrono::steady_clock::now() < begin_at_) return false;
      copy_in();
      group_->arrive();
      stage_ = Stage::copied;
      return true;
    case Stage::copied:
      if (!group_->all_arrived()) return false;
      for (int r = 0; r < group_->size; ++r)
        if (group_->shared->description[r] != group_->shared->description[group_->rank]) {
          group_->fail(ncclInvalidUsage, "the ranks call different collectives");
          stage_ = Stage::stuck;
          return false;
        }
      copy_out();
      group_->arrive();
      stage_ = Stage::summed;
      return true;
    case Stage::summed:
      if (!group_->all_arrived()) return false;
      done_ += slice();
      if (done_ == arguments_.count) return end();
      stage_ = Stage::late;
      return true;
    default:
      return false;
  }
}

void Operation::copy_in() {
  const size_t width = width_of(arguments_.type);
  group_->shared->description[group_->rank] = {arguments_.count,
                                               static_cast<int32_t>(arguments_.type)};
  memcpy(group_->shared->window[group_->rank],
         static_cast<const char*>(arguments_.send) + done_ * width, slice() * width);
}

void Operation::copy_out() {
  const size_t width = width_of(arguments_.type), count = slice();
  char* const to = static_cast<char*>(arguments_.receive) + done_ * width;
  memcpy(to, group_->shared->window[0], count * width);
  for (int r = 1; r < group_->size; ++r)
    arguments_.type == ncclFloat32 ? add<float>(to, group_->shared->window[r], count)
                                   : add<double>(to, group_->shared->window[r], count);
  if (fault_ == "flip" && done_ == 0) to[0] = static_cast<char>(to[0] ^ 1);
}

bool Operation::end() {
  if (fault_ == "late" && !group_->aborted)
    group_->fail(ncclRemoteError, "an injected error of another rank, reported late");
  if (group_->busy_with == this) group_->busy_with = nullptr;
  stage_ = Stage::idle;
  return true;
}

}  // namespace standin
