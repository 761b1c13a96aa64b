#include "tests/support/tested_backends.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernels/common/check.h"
#include "tests/support/more_backends.h"

namespace sculpt::test {

using kernels::Backend;

namespace {

std::vector<const Backend*> choose() {
  const std::vector<const Backend*> of_cpu = kernels::available_cpu_backends();
  const std::string_view name = tested_backend_name();
  if (name.empty()) return of_cpu;
  for (const Backend* backend : of_cpu)
    if (backend->name == name) return {backend};
  for (const Backend* backend : more_backends(name))
    if (backend->name == name) return {backend};
  fail("SCULPT_TEST_BACKEND={}: this program does not know that backend", name);
}

bool computes_in_bf16(const Backend& backend) {
  return backend.activation_bytes == 2;
}

// Half a unit in the last place of bf16 is 2^-9 of a number; results of a few rounded terms are
// within four of these.
constexpr double kBf16Error = 4.0 / 512;
// The inputs of products are rounded to 11 significant bits.
constexpr double kTf32Error = 4.0 / 4096;

}  // namespace

std::vector<const Backend*> tested_backends() {
  static const std::vector<const Backend*> chosen = choose();
  return chosen;
}

std::string_view tested_backend_name() {
  const char* name = std::getenv("SCULPT_TEST_BACKEND");
  return name != nullptr ? name : "";
}

double representable(double value) {
  static const bool bf16 = std::ranges::any_of(
      tested_backends(), [](const Backend* backend) { return computes_in_bf16(*backend); });
  const auto single = static_cast<float>(value);
  if (!bf16) return single;
  // Rounds towards zero, because any representable neighbour is good enough.
  return std::bit_cast<float>(std::bit_cast<uint32_t>(single) & 0xffff0000u);
}

double tolerance(const Backend& backend, double single) {
  if (backend.activation_bytes == sizeof(double)) return 1e-12;
  return computes_in_bf16(backend) ? std::max(single, kBf16Error) : single;
}

double parameter_tolerance(const Backend& backend, double single) {
  return backend.parameter_bytes == sizeof(double) ? 1e-12 : single;
}

double product_tolerance(const Backend& backend, double single) {
  if (backend.name.starts_with("cuda-tf32")) return std::max(single, kTf32Error);
  return tolerance(backend, single);
}

}  // namespace sculpt::test
