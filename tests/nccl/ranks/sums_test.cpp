// Sums over the GPUs of the ranks, against sums in double.

#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "engine/core/error.h"
#include "engine/dist/shared_memory.h"
#include "engine/nn/rank_sums.h"
#include "kernels/cuda/device/backend.h"
#include "kernels/device/device.h"
#include "tests/nccl/ranks/on_device.h"
#include "tests/nccl/ranks/ranks.h"

extern "C" const sculpt::kernels::Collectives* sculpt_collectives();

namespace {

using namespace sculpt;
using test::backend;
using test::OnDevice;
using test::ranks;

template <class T>
std::vector<T> random_values(size_t count, int rank) {
  std::mt19937 random(static_cast<unsigned>(1000 + rank));
  std::normal_distribution<double> normal;
  std::vector<T> values(count);
  for (T& value : values)
    value = static_cast<T>(normal(random));
  return values;
}

std::string bits(const auto& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])};
}

template <class T>
void check_sums(size_t count, double tolerance) {
  CAPTURE(count);
  RankSums sums(ranks(), backend());
  OnDevice<T> values(random_values<T>(count, ranks().rank()));
  sums.add_up(values.data(), static_cast<int64_t>(count));
  const std::vector<T> found = values.read();
  std::vector<double> expected(count);
  for (int rank = 0; rank < ranks().size(); ++rank) {
    const std::vector<T> of_rank = random_values<T>(count, rank);
    for (size_t i = 0; i < count; ++i)
      expected[i] += static_cast<double>(of_rank[i]);
  }
  double largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = std::max(largest, std::abs(static_cast<double>(found[i]) - expected[i]));
  CHECK(largest < tolerance);
  const std::vector<std::string> all = ranks().all_gather(bits(found));
  for (const std::string& of_rank : all)
    CHECK(of_rank == all[0]);
}

TEST_CASE("gpu ranks: sums of floats and doubles are right, with the same bits on all ranks") {
  const test::Connection connection;
  for (const size_t count : {size_t{1}, size_t{1000}, size_t{270'000}}) {
    check_sums<float>(count, 1e-5);
    check_sums<double>(count, 1e-13);
  }
}

TEST_CASE("gpu ranks: without a connection, sums go through the memory of the host") {
  CHECK(GpuRanks::of_process() == nullptr);
  check_sums<float>(1000, 1e-5);
}

TEST_CASE("gpu ranks: the library and what decides the order of its additions are described") {
  test::Connection connection;
  const std::string text = connection->description();
  CHECK(text.starts_with("NCCL 2."));
  for (const char* name :
       {"NCCL_ALGO=", "NCCL_PROTO=", "NCCL_MIN_NCHANNELS=", "NCCL_MAX_NCHANNELS="})
    CHECK(text.find(name) != std::string::npos);
  CHECK(std::getenv("NCCL_ALGO") != nullptr);
}

TEST_CASE("gpu ranks: two ranks with one GPU, and a rank without NCCL, are refused on all ranks") {
  RankGpu gpu = test::gpu();
  gpu.bus_id = kernels::cuda::bus_id(0);
  CHECK_THROWS_WITH_AS(GpuRanks(ranks(), {}, gpu, sculpt_collectives(), ""),
                       doctest::Contains("have the same GPU (0000:00:00.0)"), Error);
  CHECK(GpuRanks::of_process() == nullptr);
  const bool lacks = ranks().rank() == 1;
  CHECK_THROWS_WITH_AS(GpuRanks(ranks(), {}, test::gpu(), lacks ? nullptr : sculpt_collectives(),
                                lacks ? "cannot load libnccl.so.2" : ""),
                       doctest::Contains("cannot use it: cannot load libnccl.so.2"), Error);
  // Afterwards, the ranks can connect.
  const test::Connection connection;
  check_sums<float>(10, 1e-5);
}

TEST_CASE("gpu ranks: several ranks of a machine need more shared memory than containers have") {
  const auto problem = [](int here, uint64_t mib) {
    return shared_memory_problem(here, mib << 20, "/dev/shm");
  };
  CHECK(problem(2, 64) ==
        "/dev/shm has 64 MiB, and NCCL needs more for 2 ranks of one machine; start the container "
        "with --shm-size=1g (or --ipc=host), or set NCCL_SHM_DISABLE=1");
  CHECK(problem(1, 64) == "");
  CHECK(problem(8, 1024) == "");
}

TEST_CASE("gpu ranks: a program that finds no NCCL says what to do") {
  std::string problem;
  const bool found = kernels::load_collectives(problem) != nullptr;
  CHECK(found == problem.empty());
  if (!found) CHECK(problem.find("NCCL") != std::string::npos);
}

TEST_CASE("gpu ranks: nothing can be recorded before the first collective has run") {
  std::string id = ranks().is_root() ? sculpt_collectives()->make_id() : std::string(128, '\0');
  ranks().broadcast(std::as_writable_bytes(std::span(id)));
  sculpt_collectives()->connect(id, ranks().rank(), ranks().size(), 60);
  OnDevice<float> values(std::vector<float>(10, 1.0f));
  const RankGpu gpu = test::gpu();
  const auto sum = [&] {
    gpu.side_stream->fork();
    sculpt_collectives()->sum_floats(values.data(), 10, gpu.side_stream->stream());
    gpu.side_stream->join();
  };
  CHECK_THROWS_WITH_AS(backend().recording.record(sum),
                       doctest::Contains("captured before the first collective has run"), Error);
  CHECK(sculpt_collectives()->abort(3));
}

}  // namespace
