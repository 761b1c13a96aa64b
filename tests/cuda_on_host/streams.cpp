// The queues of streams, and the order in which the device works.

#include "cuda_on_host/streams.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "cuda_on_host/capture.h"
#include "queues.h"

namespace cuda_on_host {
namespace {

/// A thread that waits looks again after this time.
constexpr auto kLook = std::chrono::microseconds(100);
constexpr auto kLookIdle = std::chrono::milliseconds(10);
/// The device leaves work that nothing waits for undone for this long. Only the thread of the
/// device works it off then: another process may wait for a sum behind it.
constexpr auto kPatience = std::chrono::milliseconds(20);

struct Device {
  std::recursive_mutex mutex;  // held while work is done
  StreamOrder order = StreamOrder::kIssued;
  uint64_t random = 0;
  bool chosen = false;
  std::shared_ptr<Queue> default_queue = std::make_shared<Queue>();
  std::vector<std::weak_ptr<Queue>> queues;  // of all streams
  std::vector<std::shared_ptr<Queue>> left;  // by streams that were destroyed
  std::chrono::steady_clock::time_point last_call;
  bool has_thread = false;
};
Device& device = *new Device;  // never destroyed: its thread outlives static objects

uint64_t next_random() {
  uint64_t z = device.random += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  return z ^ z >> 27;
}

void read_order_of_environment() {
  device.chosen = true;
  const char* text = getenv("SCULPT_HOST_STREAMS");
  if (text == nullptr) return;
  const std::string order = text;
  const std::string shuffle = "shuffle:";
  if (order == "issued") {
    device.order = StreamOrder::kIssued;
  } else if (order == "side-first") {
    device.order = StreamOrder::kSideFirst;
  } else if (order == "side-last") {
    device.order = StreamOrder::kSideLast;
  } else if (order.rfind(shuffle, 0) == 0) {
    device.order = StreamOrder::kShuffle;
    device.random = std::stoull(order.substr(shuffle.size()));
  } else {
    throw std::invalid_argument("SCULPT_HOST_STREAMS=" + order +
                                ": expected issued, side-first, side-last or shuffle:SEED");
  }
}

StreamOrder order() {
  if (!device.chosen) read_order_of_environment();
  return device.order;
}

/// Returns true if the device does work of the queue although nothing waits for it yet.
bool works_unasked(const Queue& queue) {
  switch (order()) {
    case StreamOrder::kIssued:
      return true;
    case StreamOrder::kSideFirst:
      return queue.side;
    case StreamOrder::kSideLast:
      return !queue.side;
    case StreamOrder::kShuffle:
      return next_random() % 2 == 0;
  }
  return true;
}

std::vector<std::shared_ptr<Queue>> all_queues() {
  std::vector<std::shared_ptr<Queue>> found = {device.default_queue};
  std::erase_if(device.queues, [](const auto& queue) { return queue.expired(); });
  for (const auto& queue : device.queues)
    found.push_back(queue.lock());
  return found;
}

/// Does the work that can be done now. Returns true if there is none left.
bool work_once() {
  const std::lock_guard lock(device.mutex);
  const bool patient = std::chrono::steady_clock::now() - device.last_call < kPatience;
  bool all_done = true;
  for (const auto& queue : all_queues()) {
    if (!patient || order() == StreamOrder::kIssued) work_off(*queue, queue->given);
    all_done = all_done && queue->work.empty();
  }
  std::erase_if(device.left, [](const auto& queue) { return queue->work.empty(); });
  return all_done;
}

/// The thread of the device. Without work it rarely looks, so that an idle process looks idle.
void work_for_ever() {
  for (;;)
    std::this_thread::sleep_for(work_once() ? kLookIdle : kLook);
}

void start_thread() {
  if (std::exchange(device.has_thread, true)) return;
  std::thread(work_for_ever).detach();
}

void note_call() {
  device.last_call = std::chrono::steady_clock::now();
}

}  // namespace

void set_stream_order(StreamOrder order, uint64_t seed) {
  const std::lock_guard lock(device.mutex);
  for (const auto& queue : all_queues())
    work_off(*queue, queue->given);
  device.order = order;
  device.random = seed;
  device.chosen = true;
}

size_t choose_next(size_t count, const std::function<bool(size_t)>& is_side) {
  const std::lock_guard lock(device.mutex);
  const StreamOrder by = order();
  if (by == StreamOrder::kShuffle) return next_random() % count;
  if (by == StreamOrder::kIssued) return 0;
  for (size_t i = 0; i < count; ++i)
    if (is_side(i) == (by == StreamOrder::kSideFirst)) return i;
  return 0;
}

std::shared_ptr<Queue> queue_of(cudaStream_t stream) {
  return stream == nullptr ? device.default_queue : stream->queue;
}

void put(const std::shared_ptr<Queue>& queue, Work work) {
  const std::lock_guard lock(device.mutex);
  note_call();
  queue->work.push_back(std::move(work));
  ++queue->given;
  if (works_unasked(*queue)) work_off(*queue, queue->given);
}

void put(const char* what, void* stream, Work work) {
  const auto to = static_cast<cudaStream_t>(stream);
  if (is_captured(what, stream)) return capture_work(to, std::move(work));
  put(queue_of(to), std::move(work));
}

bool work_off(Queue& queue, uint64_t last) {
  const std::lock_guard lock(device.mutex);
  while (queue.done < last) {
    if (!queue.work.front()()) {
      start_thread();
      return false;
    }
    queue.work.pop_front();
    ++queue.done;
  }
  return true;
}

void wait_for(Queue& queue, uint64_t last) {
  for (;; std::this_thread::sleep_for(kLook)) {
    const std::lock_guard lock(device.mutex);
    note_call();
    if (work_off(queue, last)) return;
  }
}

namespace {

template <class Condition>
void wait_for_queues(const Condition& condition) {
  std::vector<std::shared_ptr<Queue>> queues;
  {
    const std::lock_guard lock(device.mutex);
    queues = all_queues();
  }
  for (const auto& queue : queues)
    if (condition(*queue)) wait_for(*queue, queue->given);
}

}  // namespace

void wait_for_default_stream() {
  wait_for_queues([](const Queue& queue) { return queue.blocking; });
}

void wait_for_device(int index) {
  wait_for_queues([index](const Queue& queue) {
    return &queue == device.default_queue.get() || queue.device == index;
  });
}

}  // namespace cuda_on_host

using cuda_on_host::remember;

namespace {

int current_device() {
  int index = 0;
  cudaGetDevice(&index);
  return index;
}

cudaError_t create_stream(cudaStream_t* stream, unsigned flags, int priority) {
  auto queue = std::make_shared<cuda_on_host::Queue>();
  queue->device = current_device();
  queue->side = priority < 0;
  queue->blocking = flags != cudaStreamNonBlocking;
  const std::lock_guard lock(cuda_on_host::device.mutex);
  cuda_on_host::device.queues.push_back(queue);
  *stream = new CUstream_st{std::move(queue)};
  return cudaSuccess;
}

}  // namespace

bool cuda_on_host::refuses_launch(void* stream) {
  if (stream == nullptr || static_cast<cudaStream_t>(stream)->queue->device == current_device())
    return false;
  remember(cudaErrorInvalidResourceHandle);
  return true;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return create_stream(stream, cudaStreamDefault, 0);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream(stream, flags, 0);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return create_stream(stream, flags, priority);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  cudaError_t error = cudaSuccess;
  if (cuda_on_host::wait_in_capture(stream, event->captured, error)) return remember(error);
  if (event->queue == nullptr) return cudaSuccess;
  cuda_on_host::put(cuda_on_host::queue_of(stream), [queue = event->queue, given = event->given] {
    return cuda_on_host::work_off(*queue, given);
  });
  return cudaSuccess;
}

void cuda_on_host::leave_work(cudaStream_t stream) {
  const std::lock_guard lock(device.mutex);
  if (!work_off(*stream->queue, stream->queue->given)) device.left.push_back(stream->queue);
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  (*event)->time = std::make_shared<std::chrono::steady_clock::time_point>();
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
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  return cudaSuccess;
}
