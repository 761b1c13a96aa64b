// Several streams: the orders in which their work is done, and what a capture makes of them. Work
// that lacks an edge must give a wrong result in some order.

#include "cuda_on_host/streams.h"

#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <thread>

#include "sample_runs.h"

namespace {

using namespace samples;
using cuda_on_host::StreamOrder;

struct NamedStreamOrder {
  const char* name;
  StreamOrder order;
  uint64_t seed;
};
const std::vector<NamedStreamOrder> kOrders = {
    {"issued", StreamOrder::kIssued, 0},      {"side first", StreamOrder::kSideFirst, 0},
    {"side last", StreamOrder::kSideLast, 0}, {"shuffle 1", StreamOrder::kShuffle, 1},
    {"shuffle 2", StreamOrder::kShuffle, 2},  {"shuffle 3", StreamOrder::kShuffle, 3},
};

__global__ void multiply_and_add(float* value, float factor, const float* addend) {
  *value = *value * factor + *addend;
}

/// A main stream, a side stream and the events of a step: the side stream starts behind `fork`, the
/// main stream goes on behind `join`.
struct Step {
  Step() {
    cudaStreamCreate(&main);
    cudaStreamCreateWithPriority(&side, cudaStreamNonBlocking, -1);
    for (cudaEvent_t* event : {&fork, &join})
      cudaEventCreateWithFlags(event, cudaEventDisableTiming);
    // Loads the kernel.
    SCULPT_LAUNCH(multiply_and_add, 1, 1, 0, main, b.data(), 1.0f, zero.data());
  }
  ~Step() {
    cudaStreamSynchronize(main);
    cudaStreamSynchronize(side);
    for (cudaEvent_t event : {fork, join})
      cudaEventDestroy(event);
    cudaStreamDestroy(main);
    cudaStreamDestroy(side);
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  void on(cudaStream_t stream, DeviceArray<float>& value, float factor,
          DeviceArray<float>& addend) {
    SCULPT_LAUNCH(multiply_and_add, 1, 1, 0, stream, value.data(), factor, addend.data());
  }

  /// Computes a = 3, b = 2a + 1 on the side stream, c = 5 meanwhile, and c = 10c + b.
  /// `early_fork` and `early_join` leave the work before resp. on the side stream without an edge.
  void launch(bool early_fork = false, bool early_join = false) {
    if (early_fork) fork_now();
    on(main, a, 0, three);
    if (!early_fork) fork_now();
    if (early_join) cudaEventRecord(join, side);
    on(side, b, 0, a);
    on(side, b, 2, one);
    if (!early_join) cudaEventRecord(join, side);
    on(main, c, 0, five);
    cudaStreamWaitEvent(main, join);
    on(main, c, 10, b);
    if (early_join) {  // a capture wants all work joined in the end
      cudaEventRecord(join, side);
      cudaStreamWaitEvent(main, join);
    }
  }
  void fork_now() {
    cudaEventRecord(fork, main);
    cudaStreamWaitEvent(side, fork);
  }

  void reset() {
    cudaStreamSynchronize(main);
    cudaStreamSynchronize(side);
    for (DeviceArray<float>* value : {&a, &b, &c})
      cudaMemset(value->data(), 0, sizeof(float));
  }
  bool is_right() {
    cudaStreamSynchronize(main);
    return c.read()[0] == 57;
  }

  cudaStream_t main = nullptr, side = nullptr;
  cudaEvent_t fork = nullptr, join = nullptr;
  DeviceArray<float> a{std::vector<float>{0}}, b{std::vector<float>{0}}, c{std::vector<float>{0}};
  DeviceArray<float> zero{std::vector<float>{0}}, one{std::vector<float>{1}},
      three{std::vector<float>{3}}, five{std::vector<float>{5}};
};

/// Returns the names of the orders in which the step gives a wrong result.
template <class Run>
std::string wrong_orders(Run run) {
  std::string names;
  for (const NamedStreamOrder& order : kOrders) {
    cuda_on_host::set_stream_order(order.order, order.seed);
    if (!run()) names += std::string(names.empty() ? "" : ", ") + order.name;
  }
  cuda_on_host::set_stream_order(StreamOrder::kIssued);
  return names;
}

std::string wrong_orders_of_launches(bool early_fork, bool early_join) {
  Step step;
  return wrong_orders([&] {
    step.reset();
    step.launch(early_fork, early_join);
    return step.is_right();
  });
}

cudaError_t captured(Step& step, cudaGraphExec_t& executable, const std::function<void()>& work) {
  REQUIRE(cudaStreamBeginCapture(step.main, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  work();
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(step.main, &graph);
  CHECK((graph != nullptr) == (status == cudaSuccess));
  if (status != cudaSuccess) {
    CHECK(cudaGetLastError() == status);
    return status;
  }
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  cudaGraphDestroy(graph);
  return cudaSuccess;
}

std::string wrong_orders_of_a_graph(bool early_fork, bool early_join) {
  Step step;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(captured(step, executable, [&] { step.launch(early_fork, early_join); }) == cudaSuccess);
  CHECK(step.c.read()[0] == 0);
  const std::string wrong = wrong_orders([&] {
    step.reset();
    cudaGraphLaunch(executable, step.main);
    return step.is_right();
  });
  cudaGraphExecDestroy(executable);
  return wrong;
}

TEST_CASE("streams: work with all its edges is right in every order, launched and as a graph") {
  CHECK(wrong_orders_of_launches(false, false) == "");
  CHECK(wrong_orders_of_a_graph(false, false) == "");
}

TEST_CASE("streams: a side stream that starts too early is wrong when it comes first") {
  CHECK(wrong_orders_of_launches(true, false).find("side first") != std::string::npos);
  CHECK(wrong_orders_of_a_graph(true, false).find("side first") != std::string::npos);
}

TEST_CASE("streams: a main stream that goes on too early is wrong when the side comes last") {
  CHECK(wrong_orders_of_launches(false, true).find("side last") != std::string::npos);
  CHECK(wrong_orders_of_a_graph(false, true).find("side last") != std::string::npos);
}

TEST_CASE("streams: a capture ends only when the work of all its streams is joined") {
  Step step;
  cudaGraphExec_t executable = nullptr;
  CHECK(captured(step, executable, [&] {
          step.fork_now();
          step.on(step.side, step.b, 0, step.one);
        }) == cudaErrorStreamCaptureUnjoined);
  // The event comes before the last work of the side stream.
  CHECK(captured(step, executable, [&] {
          step.fork_now();
          step.on(step.side, step.b, 0, step.one);
          cudaEventRecord(step.join, step.side);
          step.on(step.side, step.b, 0, step.one);
          cudaStreamWaitEvent(step.main, step.join);
        }) == cudaErrorStreamCaptureUnjoined);
  // A stream without work of its own, and one that another stream joins.
  cudaStream_t third = nullptr;
  cudaStreamCreate(&third);
  CHECK(captured(step, executable, [&] {
          step.on(step.main, step.a, 0, step.three);
          step.fork_now();
          cudaStreamWaitEvent(third, step.fork);
          step.on(third, step.b, 0, step.a);
          cudaEventRecord(step.join, third);
          cudaStreamWaitEvent(step.side, step.join);
          step.on(step.side, step.b, 2, step.one);
          cudaEventRecord(step.join, step.side);
          cudaStreamWaitEvent(step.main, step.join);
        }) == cudaSuccess);
  cudaGraphLaunch(executable, step.main);
  cudaStreamSynchronize(step.main);
  CHECK(step.b.read()[0] == 7);
  cudaGraphExecDestroy(executable);
  // All streams have left the capture.
  step.on(third, step.b, 0, step.one);
  cudaStreamSynchronize(third);
  CHECK(step.b.read()[0] == 1);
  cudaStreamDestroy(third);
}

TEST_CASE("streams: a capture does not survive events from outside, nor a look at its own events") {
  Step step;
  cudaGraphExec_t executable = nullptr;
  cudaEventRecord(step.join, step.side);
  CHECK(captured(step, executable, [&] {
          CHECK(cudaStreamWaitEvent(step.main, step.join) == cudaErrorStreamCaptureIsolation);
        }) == cudaErrorStreamCaptureInvalidated);
  CHECK(captured(step, executable, [&] {
          cudaEventRecord(step.fork, step.main);
          CHECK(cudaEventQuery(step.fork) == cudaErrorCapturedEvent);
        }) == cudaErrorStreamCaptureInvalidated);
  // The event still belongs to the capture that has ended.
  CHECK(cudaStreamWaitEvent(step.side, step.fork) == cudaErrorCapturedEvent);
  CHECK(cudaEventSynchronize(step.fork) == cudaErrorCapturedEvent);
  CHECK(cudaGetLastError() == cudaErrorCapturedEvent);
  CHECK(cudaEventRecord(step.fork, step.main) == cudaSuccess);
  CHECK(cudaEventSynchronize(step.fork) == cudaSuccess);
}

TEST_CASE("streams: other threads may allocate and launch while one captures") {
  Step step;
  cudaGraphExec_t executable = nullptr;
  CHECK(captured(step, executable, [&] {
          step.on(step.main, step.a, 0, step.three);
          std::thread([&] {
            DeviceArray<float> other(std::vector<float>{4});
            step.on(step.side, step.b, 0, other);
            CHECK(cudaStreamSynchronize(step.side) == cudaSuccess);
            CHECK(step.b.read()[0] == 4);
          }).join();
        }) == cudaSuccess);
  CHECK(step.a.read()[0] == 0);
  cudaGraphExecDestroy(executable);
}

TEST_CASE("streams: work that cannot finish holds up its stream, and nothing else") {
  Step step;
  std::atomic<bool> may_finish = false, finished = false;
  cuda_on_host::put("a test", step.side, [&] { return may_finish.load(); });
  step.on(step.side, step.b, 0, step.one);
  cuda_on_host::put("a test", step.side, [&] {
    finished = true;
    return true;
  });
  cudaEventRecord(step.join, step.side);
  step.on(step.main, step.a, 0, step.three);
  CHECK(cudaStreamSynchronize(step.main) == cudaSuccess);
  CHECK(cudaStreamQuery(step.side) == cudaErrorNotReady);
  CHECK(cudaEventQuery(step.join) == cudaErrorNotReady);
  // The status stays until it is read, as on a device, so the next launch would report it.
  CHECK(cudaGetLastError() == cudaErrorNotReady);
  CHECK(step.b.read()[0] == 0);
  may_finish = true;
  SUBCASE("a wait ends it") {
    CHECK(cudaStreamSynchronize(step.side) == cudaSuccess);
  }
  SUBCASE("the device works on while the host does something else") {
    while (!finished)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(cudaEventQuery(step.join) == cudaSuccess);
  CHECK(step.b.read()[0] == 1);
}

TEST_CASE("streams: work of a graph that cannot finish holds up what follows it only") {
  Step step;
  std::atomic<bool> may_finish = false;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(captured(step, executable, [&] {
            step.fork_now();
            cuda_on_host::put("a test", step.side, [&] { return may_finish.load(); });
            step.on(step.main, step.a, 0, step.three);
            cudaEventRecord(step.join, step.side);
            cudaStreamWaitEvent(step.main, step.join);
            step.on(step.main, step.b, 0, step.one);
          }) == cudaSuccess);
  cudaGraphLaunch(executable, step.main);
  cudaGraphLaunch(executable, step.main);
  CHECK(cudaStreamQuery(step.main) == cudaErrorNotReady);
  cudaGetLastError();
  // A copy would wait for the stream. The device does nothing more before the work may finish.
  CHECK(*step.a.data() == 3);
  CHECK(*step.b.data() == 0);
  may_finish = true;
  CHECK(cudaStreamSynchronize(step.main) == cudaSuccess);
  CHECK(step.b.read()[0] == 1);
  cudaGraphExecDestroy(executable);
}

}  // namespace
