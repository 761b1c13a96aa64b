// Copies to the device: of any size, from memory that is gone when copy_in() has returned.

#include <cstring>
#include <numeric>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

TEST_CASE("copy_in: the host's bytes may be changed as soon as it returns") {
  const DeviceMemory& memory = *tested_backends().front()->memory;
  // A few values, and more than the staging memory holds several times over.
  for (const size_t count : {size_t{1}, size_t{15}, size_t{17}, size_t{1} << 20, size_t{5} << 20}) {
    CAPTURE(count);
    const size_t bytes = count * sizeof(uint32_t);
    auto* const device = static_cast<uint32_t*>(memory.allocate(bytes));
    REQUIRE(device != nullptr);
    std::vector<uint32_t> values(count);
    for (uint32_t round = 0; round < 3; ++round) {
      std::iota(values.begin(), values.end(), round * 1000003u);
      memory.copy_in(device, values.data(), bytes);
      std::fill(values.begin(), values.end(), 0u);
      memory.copy_out(values.data(), device, bytes);
      bool right = true;
      for (size_t i = 0; i < count; ++i)
        right = right && values[i] == round * 1000003u + static_cast<uint32_t>(i);
      CHECK(right);
    }
    memory.free(device);
  }
}

TEST_CASE("copy_in: many small values one after the other") {
  const DeviceMemory& memory = *tested_backends().front()->memory;
  constexpr size_t kValues = 200000;  // more than fit the staging memory at once
  auto* const device = static_cast<uint64_t*>(memory.allocate(kValues * sizeof(uint64_t)));
  REQUIRE(device != nullptr);
  for (uint64_t i = 0; i < kValues; ++i) {
    const uint64_t value = i * i + 1;
    memory.copy_in(device + i, &value, sizeof(value));
  }
  std::vector<uint64_t> values(kValues);
  memory.copy_out(values.data(), device, kValues * sizeof(uint64_t));
  bool right = true;
  for (uint64_t i = 0; i < kValues; ++i)
    right = right && values[i] == i * i + 1;
  CHECK(right);
  memory.free(device);
}

}  // namespace
