// Copies, streams and events. Kernels run at once, so a copy within the device does too. A copy
// between host and device is under way until its stream, or an event behind it, is waited for:
//   * To the device: a device reads the source at any time until then. The source must be pinned
//     memory: a device may read pageable memory after the call, or not, depending on the machine.
//     The wait compares the source with what it was at the call.
//   * To the host: the destination holds garbage until then.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda_on_host/capture.h"
#include "cuda_on_host/grid.h"
#include "cuda_on_host/runtime.h"

struct CUstream_st {
  int device = 0;
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  int device = 0;
  cudaStream_t stream = nullptr;
  uint64_t transfers = 0;  // that had begun when the event was recorded
};

namespace {

using cuda_on_host::error_of_kernels;
using cuda_on_host::remember;

constexpr size_t kAlignment = 256;

struct Transfer {
  uint64_t number;
  cudaStream_t stream;
  bool to_device;
  unsigned char* host;
  std::vector<unsigned char> bytes;

  bool overlaps(const void* memory, size_t size) const {
    const auto* begin = static_cast<const unsigned char*>(memory);
    return begin < host + bytes.size() && host < begin + size;
  }
  void finish() const {
    if (!to_device)
      memcpy(host, bytes.data(), bytes.size());
    else if (memcmp(host, bytes.data(), bytes.size()) != 0)
      throw std::invalid_argument(
          "the source of an asynchronous copy to the device was changed before the copy was waited "
          "for");
  }
};

class Transfers {
 public:
  std::mutex mutex;
  std::map<const unsigned char*, size_t> pinned;

  uint64_t begun() const { return begun_; }

  void begin(Transfer transfer) {
    transfer.number = ++begun_;
    largest_ = std::max(largest_, transfer.bytes.size());
    by_place_.emplace(transfer.host, transfer.number);
    under_way_.emplace(transfer.number, std::move(transfer));
  }

  /// Takes the transfers up to number `last` for which the condition is true.
  template <class Condition>
  void finish(uint64_t last, const Condition& condition) {
    for (auto t = under_way_.begin(); t != under_way_.end() && t->first <= last;) {
      const auto next = std::next(t);
      if (condition(t->second)) finish(t);
      t = next;
    }
  }

  /// Records that the next copy of the stream uses this memory of the host. Earlier copies of the
  /// stream are finished by then.
  void finish_earlier_uses(const void* host, size_t bytes, cudaStream_t stream) {
    for (const uint64_t number : uses_of(host, bytes))
      if (const auto t = under_way_.find(number); t->second.stream == stream) finish(t);
  }

  /// Returns the numbers of the transfers that use this memory of the host.
  std::vector<uint64_t> uses_of(const void* host, size_t bytes) const {
    const auto* begin = static_cast<const unsigned char*>(host);
    std::vector<uint64_t> numbers;
    for (auto place = by_place_.lower_bound(begin - largest_);
         place != by_place_.end() && place->first < begin + bytes; ++place)
      if (under_way_.at(place->second).overlaps(host, bytes)) numbers.push_back(place->second);
    return numbers;
  }

  bool is_pinned(const void* memory, size_t bytes) const {
    const auto* begin = static_cast<const unsigned char*>(memory);
    auto block = pinned.upper_bound(begin);
    if (block == pinned.begin()) return false;
    --block;
    return begin + bytes <= block->first + block->second;
  }

 private:
  using UnderWay = std::map<uint64_t, Transfer>;

  void finish(UnderWay::iterator t) {
    const Transfer transfer = std::move(t->second);
    auto place = by_place_.lower_bound(transfer.host);
    while (place->second != transfer.number)
      ++place;
    by_place_.erase(place);
    under_way_.erase(t);
    transfer.finish();
  }

  uint64_t begun_ = 0;
  size_t largest_ = 0;  // bytes of any so far
  UnderWay under_way_;  // by number
  std::multimap<const unsigned char*, uint64_t> by_place_;
};
Transfers transfers;

void begin_to_device(void* to, const void* host, size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(transfers.mutex);
  if (!transfers.is_pinned(host, bytes))
    throw std::invalid_argument(
        "an asynchronous copy to the device from memory that is not pinned, which a device may "
        "read after the call");
  transfers.finish_earlier_uses(host, bytes, stream);
  memcpy(to, host, bytes);
  const auto* from = static_cast<const unsigned char*>(host);
  transfers.begin({0, stream, true, const_cast<unsigned char*>(from), {from, from + bytes}});
}

void begin_to_host(void* host, const void* from, size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(transfers.mutex);
  transfers.finish_earlier_uses(host, bytes, stream);
  const auto* data = static_cast<const unsigned char*>(from);
  transfers.begin({0, stream, false, static_cast<unsigned char*>(host), {data, data + bytes}});
  cuda_on_host::fill_with_garbage(host, bytes);
}

cudaError_t wait_for(cudaStream_t stream, uint64_t last) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard lock(transfers.mutex);
  transfers.finish(last, [&](const Transfer& t) { return t.stream == stream; });
  return remember(error_of_kernels());
}

int current_device() {
  int device = 0;
  cudaGetDevice(&device);
  return device;
}

}  // namespace

bool cuda_on_host::refuses_launch(void* stream) {
  if (stream == nullptr || static_cast<cudaStream_t>(stream)->device == current_device())
    return false;
  remember(cudaErrorInvalidResourceHandle);
  return true;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (posix_memalign(pointer, kAlignment, bytes) != 0) return remember(cudaErrorMemoryAllocation);
  cuda_on_host::fill_with_garbage(*pointer, bytes);
  const std::lock_guard lock(transfers.mutex);
  transfers.pinned.emplace(static_cast<unsigned char*>(*pointer), bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  const std::lock_guard lock(transfers.mutex);
  const auto block = transfers.pinned.find(static_cast<unsigned char*>(pointer));
  if (block == transfers.pinned.end()) return remember(cudaErrorInvalidValue);
  if (!transfers.uses_of(pointer, block->second).empty())
    throw std::invalid_argument("pinned memory is freed while an asynchronous copy uses it");
  transfers.pinned.erase(block);
  free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (bytes != 0) memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (cuda_on_host::is_captured("cudaMemcpyAsync", stream)) {
    // A captured copy would read or write the host's memory at every launch of the graph, so it is
    // refused.
    if (kind != cudaMemcpyDeviceToDevice && cuda_on_host::spoils_capture())
      return remember(cudaErrorStreamCaptureUnsupported);
    cuda_on_host::capture([=] { cudaMemcpy(to, from, bytes, kind); });
    return cudaSuccess;
  }
  if (error_of_kernels() != cudaSuccess) return remember(error_of_kernels());
  if (bytes == 0) return cudaSuccess;
  if (kind == cudaMemcpyHostToDevice)
    begin_to_device(to, from, bytes, stream);
  else if (kind == cudaMemcpyDeviceToHost)
    begin_to_host(to, from, bytes, stream);
  else
    return cudaMemcpy(to, from, bytes, kind);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (bytes != 0) memset(to, byte, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  if (cuda_on_host::refuses_launch(stream)) return cudaErrorInvalidResourceHandle;
  if (!cuda_on_host::is_captured("cudaMemsetAsync", stream)) return cudaMemset(to, byte, bytes);
  cuda_on_host::capture([=] { cudaMemset(to, byte, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CUstream_st{current_device()};
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::lock_guard lock(transfers.mutex);
    transfers.finish(UINT64_MAX, [&](const Transfer& t) { return t.stream == stream; });
  }
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for(stream, UINT64_MAX);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return wait_for(stream, UINT64_MAX);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const int device = current_device();
  const std::lock_guard lock(transfers.mutex);
  transfers.finish(UINT64_MAX, [&](const Transfer& t) {
    return t.stream == nullptr || t.stream->device == device;
  });
  return remember(error_of_kernels());
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  (*event)->device = current_device();
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (stream != nullptr && stream->device != event->device)
    return remember(cudaErrorInvalidResourceHandle);
  const std::lock_guard lock(transfers.mutex);
  event->time = std::chrono::steady_clock::now();
  event->stream = stream;
  event->transfers = transfers.begun();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return wait_for(event->stream, event->transfers);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return wait_for(event->stream, event->transfers);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}
