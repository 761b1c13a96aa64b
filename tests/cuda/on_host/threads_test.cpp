// Other threads use the backend, which runs on the second of two devices.

#include <doctest/doctest.h>
#include <thread>

#include "engine/core/buffer.h"
#include "kernels/common/check.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/timing.h"
#include "tests/cuda/on_host/loop_library.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::cuda;

__global__ void add_one(float* value) {
  *value += 1;
}

int current_device() {
  int device = -1;
  cudaGetDevice(&device);
  return device;
}

/// A backend on device 1 of two devices. The main thread created it.
const Backend& second_device() {
  static const Backend& backend = []() -> const Backend& {
    cuda_on_host::set_device_count(2);
    use_device(1);
    return *backends().front();
  }();
  return backend;
}

/// Runs body() in a new thread, whose current device is 0, and lets no exception out.
template <class Body>
void in_new_thread(const Body& body) {
  std::string problem;
  std::thread([&] {
    try {
      body();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    CHECK(current_device() == 0);  // as it was
  }).join();
  CHECK(problem == "");
}

TEST_CASE(
    "cuda threads: a guard makes the chosen device current, and the previous one at its end") {
  second_device();
  in_new_thread([] {
    CHECK(current_device() == 0);
    {
      const DeviceGuard outer;
      CHECK(current_device() == 1);
      {
        const DeviceGuard inner;
        CHECK(current_device() == 1);
      }
      CHECK(current_device() == 1);
    }
    CHECK(current_device() == 0);
  });
}

TEST_CASE(
    "cuda threads: kernels, memory, graphs and timings of another thread go to the backend's "
    "device") {
  const Backend& backend = second_device();
  const DeviceMemory& memory = *backend.memory;
  in_new_thread([&] {
    auto* const value = static_cast<float*>(memory.allocate(sizeof(float)));
    REQUIRE(value != nullptr);
    CHECK(cuda_on_host::device_of(value) == 1);
    const float three = 3;
    memory.copy_in(value, &three, sizeof(three));
    const auto launch = [&] { SCULPT_LAUNCH(add_one, 1, 1, 0, backend.stream, value); };
    const auto read = [&] {
      float result = 0;
      memory.copy_out(&result, value, sizeof(result));
      return result;
    };
    launch();
    CHECK(read() == 4);
    memory.zero(value, sizeof(float));
    void* const readback = memory.begin_readback(value, sizeof(float));
    float zero = 1;
    memory.end_readback(readback, &zero, sizeof(zero));
    CHECK(zero == 0);

    if (backend.recording.record != nullptr) {
      void* const recording = backend.recording.record(launch);
      backend.recording.replay(recording);
      backend.recording.replay(recording);
      backend.recording.discard(recording);
      CHECK(read() == 2);
    }
    CHECK(median_microseconds(launch, backend.stream) >= 0);
    memory.synchronize();
    memory.free(value);
  });
}

TEST_CASE("cuda threads: rankings and counts of another thread go to the backend's device") {
  const Backend& backend = second_device();
  in_new_thread([&] {
    constexpr int64_t kCount = 5000;
    const RankingSegment segment = {0, kCount, kCount / 2};
    sculpt::Buffer scores(kCount * sizeof(float), "scores", backend.memory);
    sculpt::Buffer candidates(kCount, "candidates", backend.memory);
    sculpt::Buffer keep(kCount, "a mask", backend.memory);
    sculpt::Buffer workspace(backend.ranking.workspace_bytes(kCount, 1), "a workspace",
                             backend.memory);
    std::vector<float> values;
    for (int64_t i = 0; i < kCount; ++i)
      values.push_back(static_cast<float>(i * 37 % kCount));
    const std::vector<uint8_t> all(kCount, 1);
    backend.memory->copy_in(scores.data(), values.data(), scores.bytes());
    backend.memory->copy_in(candidates.data(), all.data(), all.size());
    backend.ranking.select_f32(keep.as<uint8_t>(), scores.as<float>(), candidates.as<uint8_t>(),
                               {&segment, 1}, workspace.data(), backend.stream);
    std::vector<uint8_t> kept(kCount);
    backend.memory->copy_out(kept.data(), keep.data(), kept.size());
    for (size_t i = 0; i < kept.size(); ++i)
      REQUIRE(kept[i] == (values[i] >= kCount / 2 ? 1 : 0));
  });
}

TEST_CASE("cuda threads: a library plans and runs on the backend's device") {
  const Backend& native = second_device();
  sculpt::test::LoopLibrary& loops = sculpt::test::loop_library_state();
  loops.reset();
  int planned_on = -1, ran_on = -1;
  loops.refuses = [&](const LibraryProblem&) {
    planned_on = current_device();
    return false;
  };
  loops.on_run = [&] { ran_on = current_device(); };
  const Backend& backend =
      *library_backend(native, sculpt::test::loop_library(), sculpt::test::loop_chooser());
  in_new_thread([&] {
    Conv2dShape shape;
    shape.in = {8, 4, 4, 0};
    shape.out = {8, 4, 4, 0};
    const auto bytes = static_cast<size_t>(shape.in.elements_per_image()) * sizeof(float);
    sculpt::Buffer workspace(backend.conv2d.workspace_bytes(shape, 1) + 1, "a workspace",
                             backend.memory);
    sculpt::Buffer x(bytes, "x", backend.memory), y(bytes, "y", backend.memory);
    sculpt::Buffer weight(static_cast<size_t>(shape.weight_count()) * sizeof(float), "a weight",
                          backend.memory);
    for (sculpt::Buffer* buffer : {&x, &y, &weight})
      backend.memory->zero(buffer->data(), buffer->bytes());
    backend.conv2d.forward({.y = y.data(),
                            .x = x.data(),
                            .weight = weight.data(),
                            .workspace = workspace.data(),
                            .launch = {1, backend.stream}},
                           shape);
  });
  CHECK(planned_on == 1);
  CHECK(ran_on == 1);
  loops.reset();
}

TEST_CASE("cuda threads: a process keeps its device") {
  second_device();
  use_device(1);  // again
  CHECK_THROWS_WITH_AS(use_device(0),
                       "GPU 1 is in use: a process works on one GPU, and cannot change to GPU 0",
                       sculpt::Error);
}

}  // namespace
