#include "kernels/device/backend.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "kernels/common/check.h"
#include "kernels/cpu/backend_table.h"

namespace {

using namespace sculpt::kernels;

TEST_CASE("backends: names, lanes, and a portable one everywhere") {
  const auto backends = available_cpu_backends();
  REQUIRE(!backends.empty());
  CHECK(backends.back()->name == "cpu-portable");
  for (const Backend* backend : backends) {
    CHECK(backend->lanes == 16);
    CHECK(backend->activation_bytes == sizeof(float));
    CHECK(backend->parameter_bytes == sizeof(float));
    CHECK(backend->memory == nullptr);
    CHECK(backend->blocks(17) == 2);
  }
  CHECK(std::find(backends.begin(), backends.end(), &cpu_backend()) != backends.end());
  CHECK(reference_backend().lanes == 1);
  CHECK(reference_backend().activation_bytes == sizeof(double));
}

TEST_CASE("backends: choice by instruction set") {
  CHECK(cpu_backend_for("portable").name == "cpu-portable");
  for (const Backend* backend : available_cpu_backends())
    CHECK(&cpu_backend_for(backend->name.substr(4)) == backend);
  CHECK_THROWS_WITH_AS(cpu_backend_for("avx9"),
                       "unknown instruction set 'avx9' (SCULPT_CPU_ISA); use avx512, avx2 or "
                       "portable",
                       sculpt::Error);
}

}  // namespace
