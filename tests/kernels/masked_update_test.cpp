#include <cmath>
#include <fmt/format.h>

#include "tests/kernels/masked_update_arena.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

TEST_CASE("masked update: three steps of SGD against the definition") {
  for (const Backend* backend : all_backends()) {
    for (const int64_t count : {1, 7, 64, 1003, 5000}) {
      for (const double density : {0.0, 0.3, 1.0, -1.0}) {  // -1: no mask
        for (const bool nesterov : {false, true}) {
          CAPTURE(backend->name);
          CAPTURE(fmt::format("count {} density {} nesterov {}", count, density, nesterov));
          UpdateOptions options;
          options.nesterov = nesterov;
          const UpdateScalars scalars{0.1f, 0.5f};
          // Two segments, and one element between them that none covers.
          const int64_t first = count / 3;
          const int64_t second = count > 2 ? first + 1 : first;
          const std::vector<UpdateSegment> segments = {{0, first, 0.01f},
                                                       {second, count - second, 0.5f}};
          Values w = random_values(count, 1), m = random_values(count, 2);
          const auto mask = random_mask(count, std::abs(density), 3);
          Arena arena(*backend, w, m, segments, density < 0 ? nullptr : &mask);
          for (uint64_t t = 0; t < 3; ++t) {
            const Values g = random_values(count, 10 + t);
            for (size_t i = 0; i < g.size(); ++i)
              arena.grad.set(i, g[i]);
            arena.update(scalars, options);
            for (const UpdateSegment& segment : segments)
              for (auto i = static_cast<size_t>(segment.offset);
                   i < static_cast<size_t>(segment.offset + segment.count); ++i) {
                const double decayed = 0.5 * g[i] + double{segment.weight_decay} * w[i];
                const double mu = double{options.momentum};
                m[i] = mu * m[i] + decayed;
                w[i] -= double{scalars.lr} * (nesterov ? decayed + mu * m[i] : m[i]);
                if (density >= 0 && mask[i] == 0) w[i] = m[i] = 0;
              }
            CHECK(arena.grad.values() == g);
          }
          const double allowed = parameter_tolerance(*backend, 1e-6);
          CHECK(max_error(arena.weight.values(), w) < allowed);
          CHECK(max_error(arena.momentum.values(), m) < allowed);
        }
      }
    }
  }
}

TEST_CASE("masked update: the compute copy holds the updated weights, taps before channels" *
          needs_gpu()) {
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    REQUIRE(backend->compute_weight_bytes > 0);
    constexpr int32_t kOut = 5, kIn = 7, kTaps = 9;
    const int64_t before = 3, count = int64_t{kOut} * kIn * kTaps;
    const Values weights = random_values(before + count, 1);
    const auto mask = random_mask(before + count, 0.5, 2);
    UpdateSegment segment{before, count, 0.1f};
    segment.compute_copy_offset = 8;
    segment.in = kIn;
    segment.taps = kTaps;
    Arena arena(*backend, weights, random_values(before + count, 3), {{0, before}, segment}, &mask);
    Array packed(*backend, backend->compute_weight_bytes,
                 Values(static_cast<size_t>(count + 16), 0.5));
    UpdateArena view = arena.view();
    view.compute_copy = packed.data();
    for (const bool update : {false, true}) {
      DeviceCopy scalars(*backend, std::vector<UpdateScalars>{{0.1f, 1.0f}});
      if (update)
        backend->masked_update.update(view, scalars.data(), {}, backend->stream);
      else
        backend->masked_update.pack(view, backend->stream);
      const double rounding = backend->compute_weight_bytes == 2 ? 1.0 / 256 : 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t tap = i % kTaps, c = i / kTaps % kIn, o = i / kTaps / kIn;
        const double w = arena.weight.get(static_cast<size_t>(before + i));
        const double p = packed.get(static_cast<size_t>(8 + (o * kTaps + tap) * kIn + c));
        CHECK(std::abs(p - w) <= rounding * std::abs(w));
      }
      for (const size_t guard : {size_t{7}, static_cast<size_t>(8 + count)})
        CHECK(packed.get(guard) == 0.5);
    }
  }
}

TEST_CASE("masked update: clipping by the norm, with and without mask, for any number of threads") {
  for (const Backend* backend : all_backends()) {
    for (const int64_t count : {1, 63, 64, 10007}) {
      CAPTURE(backend->name);
      CAPTURE(count);
      const Values g = random_values(count, 4, 100);
      const auto mask = random_mask(count, 0.4, 5);
      double all = 0, masked = 0;
      for (size_t i = 0; i < g.size(); ++i) {
        all += g[i] * g[i];
        if (mask[i] != 0) masked += g[i] * g[i];
      }
      Array grad(*backend, g);
      DeviceCopy device_mask(*backend, mask);
      DeviceScratch scratch(*backend, backend->masked_update.clip_workspace_bytes(count));
      const auto clip = [&](bool with_mask, double max_norm) {
        DeviceCopy scalars(*backend, std::vector<UpdateScalars>{{0.1f, 77.0f}});
        backend->masked_update.clip(scalars.data(), grad.data(),
                                    with_mask ? device_mask.data() : nullptr, count,
                                    static_cast<float>(max_norm), scratch.data(), backend->stream);
        CHECK(scalars.values()[0].lr == 0.1f);
        return double{scalars.values()[0].grad_scale};
      };
      CHECK(clip(false, 1) == doctest::Approx(std::min(1.0, 1 / std::sqrt(all))).epsilon(1e-7));
      CHECK(clip(false, 2 * std::sqrt(all)) == 1);
      const double scale = clip(true, 1);
      CHECK(scale == doctest::Approx(std::min(1.0, 1 / std::sqrt(masked))).epsilon(1e-7));
      for (const int threads : {1, 3, 4}) {
        const ThreadCount scope(threads);
        CHECK(clip(true, 1) == scale);
      }
    }
  }
}

}  // namespace
