// Which GPU a rank takes.

#include <doctest/doctest.h>

#include "kernels/common/check.h"
#include "kernels/device/device.h"

namespace {

using sculpt::Error;
using sculpt::kernels::device_of_rank;

TEST_CASE("device of a rank: each rank of a machine takes the GPU of its local rank") {
  CHECK(device_of_rank("cuda", 0, 4, 4) == "cuda:0");
  CHECK(device_of_rank("cuda", 3, 4, 8) == "cuda:3");
  CHECK(device_of_rank("auto", 1, 2, 2) == "cuda:1");
}

TEST_CASE("device of a rank: what the user or the launcher has chosen stays") {
  CHECK(device_of_rank("cpu", 1, 2, 4) == "cpu");
  CHECK(device_of_rank("cuda:2", 1, 2, 4) == "cuda:2");
  CHECK(device_of_rank("cuda", 0, 1, 4) == "cuda");  // the only rank of its machine
  CHECK(device_of_rank("cuda", 1, 2, 1) == "cuda");  // the launcher shows each rank one GPU
  CHECK(device_of_rank("auto", 1, 2, 0) == "auto");
}

TEST_CASE("device of a rank: more ranks than GPUs are refused") {
  CHECK_THROWS_WITH_AS(device_of_rank("cuda", 0, 3, 2),
                       doctest::Contains("3 ranks of this machine share 2 GPUs"), Error);
}

}  // namespace
