// Copies to the device have any size, and their source may be freed as soon as copy_in() returns.

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

TEST_CASE("copy_in: many copies of different sizes one after the other") {
  const DeviceMemory& memory = *tested_backends().front()->memory;
  constexpr size_t kCopies = 3000, kMost = 8000;  // 12 MB in all: more than the staging memory
  auto* const device = static_cast<uint8_t*>(memory.allocate(kCopies * kMost));
  REQUIRE(device != nullptr);
  const auto size_of = [](size_t copy) { return copy * 2657 % kMost + 1; };
  std::vector<uint8_t> bytes(kMost);
  for (size_t i = 0; i < kCopies; ++i) {
    std::fill(bytes.begin(), bytes.end(), static_cast<uint8_t>(i % 251));
    memory.copy_in(device + i * kMost, bytes.data(), size_of(i));
  }
  std::vector<uint8_t> arrived(kCopies * kMost);
  memory.copy_out(arrived.data(), device, arrived.size());
  bool right = true;
  for (size_t i = 0; i < kCopies; ++i)
    for (size_t k = 0; k < size_of(i); ++k)
      right = right && arrived[i * kMost + k] == static_cast<uint8_t>(i % 251);
  CHECK(right);
  memory.free(device);
}

}  // namespace
