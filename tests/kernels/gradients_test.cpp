// Kernels on arrays of gradients, against plain loops: the same bits.

#include "kernels/gradients.h"

#include <cstring>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Ascending indices with gaps of random length.
std::vector<int32_t> random_indices(int64_t count, int longest_gap) {
  std::vector<int32_t> indices;
  int32_t next = 3;
  for (int64_t j = 0; j < count; ++j) {
    indices.push_back(next);
    const uint32_t word = sculpt::philox4x32(11, static_cast<uint64_t>(j), 0)[0];
    next += 1 + static_cast<int32_t>(word % static_cast<uint32_t>(longest_gap));
  }
  return indices;
}

TEST_CASE("gradient kernels: gather and scatter") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    // One index, less than a block, several blocks; neighbours only, and gaps.
    for (const int64_t count : {1, 255, 70'001})
      for (const int longest_gap : {1, 20}) {
        CAPTURE(count);
        CAPTURE(longest_gap);
        const std::vector<int32_t> indices = random_indices(count, longest_gap);
        const int64_t size = indices.back() + 5;
        const Values long_values = random_values(size, 21);
        const Values short_values = random_values(count, 22);
        DeviceCopy<int32_t> at(*backend, indices);
        Array many(*backend, long_values), few(*backend, Values(static_cast<size_t>(count)));
        backend->gradients.gather(few.data(), many.data(), at.data(), count, backend->stream);
        Values expected;
        for (const int32_t index : indices)
          expected.push_back(long_values[static_cast<size_t>(index)]);
        CHECK(few.values() == expected);

        Array other(*backend, short_values);
        backend->gradients.scatter(many.data(), other.data(), at.data(), count, backend->stream);
        expected = long_values;
        for (size_t j = 0; j < indices.size(); ++j)
          expected[static_cast<size_t>(indices[j])] = short_values[j];
        CHECK(many.values() == expected);
      }
  }
}

TEST_CASE("gradient kernels: add") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    for (const int64_t count : {1, 255, 70'001}) {
      CAPTURE(count);
      const Values terms = random_values(count, 23);
      Values expected = random_values(count, 24);
      Array sum(*backend, expected), other(*backend, terms);
      backend->gradients.add(sum.data(), other.data(), count, backend->stream);
      for (size_t j = 0; j < terms.size(); ++j)
        expected[j] += terms[j];  // exact, because the terms have few bits
      CHECK(sum.values() == expected);
    }
  }
}

TEST_CASE("gradient kernels: no index, no work") {
  for (const Backend* backend : all_backends()) {
    Array many(*backend, Values(4, 1.0)), few(*backend, Values(4, 2.0));
    backend->gradients.gather(few.data(), many.data(), nullptr, 0, backend->stream);
    backend->gradients.scatter(many.data(), few.data(), nullptr, 0, backend->stream);
    backend->gradients.add(many.data(), few.data(), 0, backend->stream);
    CHECK(many.values() == Values(4, 1.0));
    CHECK(few.values() == Values(4, 2.0));
  }
}

}  // namespace
