#include <fmt/format.h>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

struct Case {
  int64_t batch;
  ActivationShape shape;
  int64_t count() const { return batch * shape.elements_per_image(); }
};

const std::vector<Case> kCases = {
    {1, {1, 1, 1, 0}}, {5, {3, 4, 7, 1}}, {16, {3, 8, 8, 2}}, {37, {2, 3, 5, 0}}};

TEST_CASE("input: bytes are normalised per channel, padded lanes are zero") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      CAPTURE(backend->name);
      CAPTURE(c.batch);
      std::vector<uint8_t> images(static_cast<size_t>(c.count()));
      for (size_t i = 0; i < images.size(); ++i)
        images[i] = static_cast<uint8_t>(sculpt::philox4x32(1, i, 0)[0]);
      const std::vector<float> mean = {0.49f, 0.45f, 0.4f}, std = {0.2f, 0.25f, 0.3f};
      Values expected(images.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        const auto channel =
            static_cast<int64_t>(i) / (c.shape.height * c.shape.width) % c.shape.channels;
        const auto k = static_cast<size_t>(channel);
        expected[i] = (images[i] / 255.0 - double{mean[k]}) / double{std[k]};
      }
      const Launch launch = make_launch(*backend, c.batch);
      Activation x(*backend, c.shape, launch);
      DeviceCopy pixels(*backend, images);
      DeviceCopy means(*backend, mean), stds(*backend, std);
      backend->input.load_u8(x.data(), pixels.data(), means.data(), stds.data(), c.shape, launch);
      CHECK(max_error(x.nchw(), expected) < tolerance(*backend, 1e-6));
      CHECK(x.padded_lanes_zero());
      CHECK(x.frame_intact());
    }
  }
}

TEST_CASE("input: floats go in and come out unchanged") {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      CAPTURE(backend->name);
      CAPTURE(c.batch);
      const Values values = random_values(c.count(), 2);
      std::vector<float> host(values.begin(), values.end());
      const Launch launch = make_launch(*backend, c.batch);
      Activation x(*backend, c.shape, launch);
      DeviceCopy in(*backend, host);
      backend->input.load_f32(x.data(), in.data(), c.shape, launch);
      CHECK(x.nchw() == values);
      CHECK(x.padded_lanes_zero());
      CHECK(x.frame_intact());
      constexpr float kCanary = 31.0f;
      DeviceCopy out(*backend, std::vector<float>(host.size() + 2, kCanary));
      backend->input.store_f32(out.data() + 1, x.data(), c.shape, launch);
      const std::vector<float> back = out.values();
      CHECK(back.front() == kCanary);
      CHECK(back.back() == kCanary);
      CHECK(std::vector<float>(back.begin() + 1, back.end() - 1) == host);
    }
  }
}

}  // namespace
