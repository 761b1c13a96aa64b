// Copies, and the waits that end them. A copy between host and device is under way until its
// stream, or an event behind it, is waited for:
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
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda_on_host/capture.h"
#include "cuda_on_host/grid.h"
#include "cuda_on_host/runtime.h"
#include "queues.h"

namespace {

using cuda_on_host::error_of_kernels;
using cuda_on_host::remember;

constexpr size_t kAlignment = 256;

struct Transfer {
  uint64_t number;
  cudaStream_t stream;
  bool to_device;
  unsigned char* host;
  size_t size;
  /// Copied from the host at the call, or from the device when the copy's turn comes.
  std::shared_ptr<std::vector<unsigned char>> bytes;

  bool overlaps(const void* memory, size_t length) const {
    const auto* begin = static_cast<const unsigned char*>(memory);
    return begin < host + size && host < begin + length;
  }
  void finish() const {
    if (!to_device)
      memcpy(host, bytes->data(), size);
    else if (memcmp(host, bytes->data(), size) != 0)
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
    largest_ = std::max(largest_, transfer.size);
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

/// Calls work() at the turn of the stream.
template <class Simple>
void put_simple(cudaStream_t stream, const Simple& work) {
  cuda_on_host::put(cuda_on_host::queue_of(stream), [work] {
    work();
    return true;
  });
}

/// Earlier copies of the stream that use this memory of the host are finished at the turn of the
/// next one, so their work is done now.
void do_earlier_uses(const void* host, size_t bytes, cudaStream_t stream) {
  {
    const std::lock_guard lock(transfers.mutex);
    if (transfers.uses_of(host, bytes).empty()) return;
  }
  const auto queue = cuda_on_host::queue_of(stream);
  cuda_on_host::wait_for(*queue, queue->given);
  const std::lock_guard lock(transfers.mutex);
  transfers.finish_earlier_uses(host, bytes, stream);
}

void begin_to_device(void* to, const void* host, size_t bytes, cudaStream_t stream) {
  {
    const std::lock_guard lock(transfers.mutex);
    if (!transfers.is_pinned(host, bytes))
      throw std::invalid_argument(
          "an asynchronous copy to the device from memory that is not pinned, which a device may "
          "read after the call");
  }
  do_earlier_uses(host, bytes, stream);
  const auto* from = static_cast<const unsigned char*>(host);
  const auto copy = std::make_shared<std::vector<unsigned char>>(from, from + bytes);
  {
    const std::lock_guard lock(transfers.mutex);
    transfers.begin({0, stream, true, const_cast<unsigned char*>(from), bytes, copy});
  }
  put_simple(stream, [=] { memcpy(to, copy->data(), bytes); });
}

void begin_to_host(void* host, const void* from, size_t bytes, cudaStream_t stream) {
  do_earlier_uses(host, bytes, stream);
  const auto copy = std::make_shared<std::vector<unsigned char>>(bytes);
  {
    const std::lock_guard lock(transfers.mutex);
    transfers.begin({0, stream, false, static_cast<unsigned char*>(host), bytes, copy});
    cuda_on_host::fill_with_garbage(host, bytes);
  }
  put_simple(stream, [=] { memcpy(copy->data(), from, bytes); });
}

/// Finishes the copies of a stream up to number `last`, whose work is done.
cudaError_t finish_transfers(cudaStream_t stream, uint64_t last) {
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
  cuda_on_host::wait_for_default_stream();
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
    cuda_on_host::capture(stream, [=] { memmove(to, from, bytes); });
    return cudaSuccess;
  }
  if (error_of_kernels() != cudaSuccess) return remember(error_of_kernels());
  if (bytes == 0) return cudaSuccess;
  if (kind == cudaMemcpyHostToDevice)
    begin_to_device(to, from, bytes, stream);
  else if (kind == cudaMemcpyDeviceToHost)
    begin_to_host(to, from, bytes, stream);
  else
    put_simple(stream, [=] { memmove(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  cuda_on_host::wait_for_default_stream();
  if (bytes != 0) memset(to, byte, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  if (cuda_on_host::refuses_launch(stream)) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  cuda_on_host::put("cudaMemsetAsync", stream, [=] {
    memset(to, byte, bytes);
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cuda_on_host::leave_work(stream);
  finish_transfers(stream, UINT64_MAX);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const auto queue = cuda_on_host::queue_of(stream);
  cuda_on_host::wait_for(*queue, queue->given);
  return finish_transfers(stream, UINT64_MAX);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const auto queue = cuda_on_host::queue_of(stream);
  if (!cuda_on_host::work_off(*queue, queue->given)) return remember(cudaErrorNotReady);
  return finish_transfers(stream, UINT64_MAX);
}
cudaError_t cudaDeviceSynchronize() {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const int device = current_device();
  cuda_on_host::wait_for_device(device);
  const std::lock_guard lock(transfers.mutex);
  transfers.finish(UINT64_MAX, [&](const Transfer& t) {
    return t.stream == nullptr || t.stream->queue->device == device;
  });
  return remember(error_of_kernels());
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream != nullptr && stream->queue->device != event->device)
    return remember(cudaErrorInvalidResourceHandle);
  if (cuda_on_host::record_in_capture(stream, event->captured)) return cudaSuccess;
  put_simple(stream, [time = event->time] { *time = std::chrono::steady_clock::now(); });
  const std::lock_guard lock(transfers.mutex);
  event->stream = stream;
  event->queue = cuda_on_host::queue_of(stream);
  event->given = event->queue->given;
  event->transfers = transfers.begun();
  return cudaSuccess;
}
/// Waits for an event, or looks whether it has come.
template <class Done>
cudaError_t end_event(cudaEvent_t event, const Done& done) {
  if (event->captured.capture != 0) {
    cuda_on_host::spoils_capture();
    return remember(cudaErrorCapturedEvent);
  }
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (event->queue == nullptr) return cudaSuccess;
  if (!done(*event->queue, event->given)) return remember(cudaErrorNotReady);
  return finish_transfers(event->stream, event->transfers);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return end_event(event, [](cuda_on_host::Queue& queue, uint64_t given) {
    cuda_on_host::wait_for(queue, given);
    return true;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return end_event(event, cuda_on_host::work_off);
}
