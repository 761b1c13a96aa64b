#include "kernels/nccl/communicator.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/nccl/settings.h"

namespace sculpt::kernels::nccl {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr auto kLook = std::chrono::microseconds(200);

struct State {
  std::mutex mutex;  // guards the handle, and is held only during calls that return at once
  ncclComm_t handle = nullptr;
  double limit = 0;  // of a call, in seconds; 0: none
};
State& state = *new State;  // never destroyed: other threads may look at it while the process ends

/// Returns NCCL's text for a result. Its last message says more than the code.
std::string text_of(ncclResult_t result, ncclComm_t handle) {
  const std::string name = ncclGetErrorString(result);
  const char* const last = ncclGetLastError(handle);
  return last == nullptr || *last == '\0' ? fmt::format("NCCL says '{}'", name)
                                          : fmt::format("NCCL says '{}' ({})", name, last);
}

bool is_error(ncclResult_t result) {
  return result != ncclSuccess && result != ncclInProgress;
}

void check(ncclResult_t result, const char* what, ncclComm_t handle = nullptr) {
  if (is_error(result)) fail("{}: {}", what, text_of(result, handle));
}

/// Asks for the state of the communicator. If another thread has aborted it, that thread ends the
/// process, and this function does not return.
ncclResult_t ask(ncclComm_t handle, const char* what) {
  for (;;) {
    {
      const std::lock_guard lock(state.mutex);
      if (state.handle == handle) {
        ncclResult_t result = ncclSuccess;
        check(ncclCommGetAsyncError(handle, &result), what, handle);
        return result;
      }
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

/// Asks until the call that was started last is complete. Returns false if that takes too long.
bool settle(ncclComm_t handle, const char* what, double seconds) {
  const auto begin = Clock::now();
  for (;;) {
    const ncclResult_t result = ask(handle, what);
    check(result, what, handle);
    if (result == ncclSuccess) return true;
    if (seconds > 0 && Clock::now() - begin > Seconds(seconds)) return false;
    std::this_thread::sleep_for(kLook);
  }
}

ncclComm_t connected() {
  const std::lock_guard lock(state.mutex);
  if (state.handle == nullptr) fail("the GPUs of the ranks are not connected");
  return state.handle;
}

/// Completes a collective that has been called.
void complete(ncclResult_t result, const char* what, ncclComm_t handle) {
  check(result, what, handle);
  if (result == ncclInProgress && !settle(handle, what, state.limit))
    fail("{}: NCCL has not started it within {:g} s", what, state.limit);
}

void sum(void* values, int64_t count, ncclDataType_t type, void* stream) {
  constexpr const char* kWhat = "adding up over the GPUs";
  const ncclComm_t handle = connected();
  complete(ncclAllReduce(values, values, static_cast<size_t>(count), type, ncclSum, handle,
                         static_cast<cudaStream_t>(stream)),
           kWhat, handle);
}

}  // namespace

std::string version() {
  int number = 0;
  check(ncclGetVersion(&number), "asking for NCCL's version");
  // NCCL counts in this way since 2.9.
  return fmt::format("NCCL {}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

std::string make_id() {
  pin_settings();
  ncclUniqueId id;
  check(ncclGetUniqueId(&id), "naming a group of ranks");
  return std::string(id.internal, sizeof(id.internal));
}

void connect(const std::string& id, int rank, int size, double seconds) {
  constexpr const char* kWhat = "connecting the GPUs of the ranks";
  pin_settings();
  ncclUniqueId name;
  if (id.size() != sizeof(name.internal))
    fail("{}: the name of the group has {} bytes, not {}", kWhat, id.size(), sizeof(name.internal));
  std::memcpy(name.internal, id.data(), sizeof(name.internal));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t handle = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&handle, size, name, rank, &config);
  {
    // From now on, other threads can abort it.
    const std::lock_guard lock(state.mutex);
    state.handle = handle;
    state.limit = seconds;
  }
  check(result, kWhat, handle);
  if (!settle(handle, kWhat, seconds))
    fail(
        "{}: rank {} of {} is not connected after {:g} s, because another rank has not come or "
        "the network between them does not work (NCCL_DEBUG=INFO says more)",
        kWhat, rank, size, seconds);
}

void sum_floats(float* values, int64_t count, void* stream) {
  sum(values, count, ncclFloat32, stream);
}

void sum_doubles(double* values, int64_t count, void* stream) {
  sum(values, count, ncclFloat64, stream);
}

std::string problem() {
  const std::lock_guard lock(state.mutex);
  if (state.handle == nullptr) return "";
  ncclResult_t result = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(state.handle, &result);
  if (is_error(asked)) return text_of(asked, state.handle);
  return is_error(result) ? text_of(result, state.handle) : "";
}

bool abort(double seconds) {
  struct Progress {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto progress = std::make_shared<Progress>();
  ncclComm_t handle = nullptr;
  {
    const std::lock_guard lock(state.mutex);
    handle = std::exchange(state.handle, nullptr);
  }
  if (handle == nullptr) return true;
  std::thread([progress, handle] {
    ncclCommAbort(handle);
    const std::lock_guard lock(progress->mutex);
    progress->done = true;
    progress->changed.notify_all();
  }).detach();
  std::unique_lock lock(progress->mutex);
  return progress->changed.wait_for(lock, Seconds(seconds), [&] { return progress->done; });
}

void close(double seconds) {
  constexpr const char* kWhat = "disconnecting the GPUs of the ranks";
  const ncclComm_t handle = connected();
  check(ncclCommFinalize(handle), kWhat, handle);
  if (!settle(handle, kWhat, seconds))
    fail(
        "{}: NCCL has not ended after {:g} s, because a rank has not come or a recording of a step "
        "still holds a sum",
        kWhat, seconds);
  const std::lock_guard lock(state.mutex);
  state.handle = nullptr;
  check(ncclCommDestroy(handle), kWhat);
}

}  // namespace sculpt::kernels::nccl
