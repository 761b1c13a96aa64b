#include <cmath>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

using Case = ActivationCase;

const std::vector<Case> kCases = {
    {1, {1, 1, 1, 0}},  {3, {2, 5, 7, 0}},  {16, {3, 4, 4, 1}},
    {33, {2, 3, 9, 2}}, {18, {7, 1, 1, 0}},
};

/// Runs body(backend, case) with both in the failure message.
template <class Body>
void for_each_case(const Body& body) {
  for (const Backend* backend : all_backends()) {
    for (const Case& c : kCases) {
      CAPTURE(backend->name);
      CAPTURE(c.name());
      body(*backend, c);
    }
  }
}

template <class Function>
Values map(const Values& a, const Values& b, const Function& function) {
  Values result(a.size());
  for (size_t i = 0; i < a.size(); ++i)
    result[i] = function(a[i], b[i]);
  return result;
}

TEST_CASE("elementwise: relu forward") {
  for_each_case([](const Backend& backend, const Case& c) {
    const Launch launch = make_launch(backend, c.batch);
    Values in = random_values(c.count(), 1);
    in[0] = std::nan("");
    Activation x(backend, c.shape, launch, in, -3.0), y(backend, c.shape, launch);
    backend.elementwise.relu_forward(y.data(), x.data(), c.shape, launch);
    Values out = y.nchw();
    CHECK(std::isnan(out[0]));  // a diverged network must not look healthy
    out[0] = in[0] = 0;
    CHECK(out == map(in, in, [](double v, double) { return v > 0 ? v : 0.0; }));
    CHECK(y.frame_intact());
  });
}

TEST_CASE("elementwise: relu backward") {
  for_each_case([](const Backend& backend, const Case& c) {
    const Launch launch = make_launch(backend, c.batch);
    Values value = random_values(c.count(), 2);
    for (double& v : value)
      v = v > 0 ? v : 0;
    const Values grad = random_values(c.count(), 3);
    const Values before = random_values(c.count(), 4);
    for (const GradWrite write : kWrites) {
      Activation y(backend, c.shape, launch, value, 9.0), dy(backend, c.shape, launch, grad, 0.0);
      Activation dx(backend, c.shape, launch, before, 0.0);
      backend.elementwise.relu_backward(dx.data(), dy.data(), y.data(), c.shape, write, launch);
      const Values expected = written(
          before, map(grad, value, [](double g, double v) { return v > 0 ? g : 0.0; }), write);
      CHECK(max_error(dx.nchw(), expected) < tolerance(backend, 1e-7));
      CHECK(dx.frame_intact());
      CHECK(dx.padded_lanes_zero());
    }
  });
}

TEST_CASE("elementwise: add and pass-through") {
  for_each_case([](const Backend& backend, const Case& c) {
    const Launch launch = make_launch(backend, c.batch);
    const Values left = random_values(c.count(), 5), right = random_values(c.count(), 6);
    Activation a(backend, c.shape, launch, left, 1.0), b(backend, c.shape, launch, right, 0.0);
    Activation y(backend, c.shape, launch);
    backend.elementwise.add_forward(y.data(), a.data(), b.data(), c.shape, launch);
    CHECK(max_error(y.nchw(), written(left, right, GradWrite::accumulate)) <
          tolerance(backend, 1e-7));
    CHECK(y.frame_intact());
    for (const GradWrite write : kWrites) {
      Activation dx(backend, c.shape, launch, left, 0.0);
      backend.elementwise.pass_through(dx.data(), b.data(), c.shape, write, launch);
      CHECK(max_error(dx.nchw(), written(left, right, write)) < tolerance(backend, 1e-7));
      CHECK(dx.frame_intact());
      CHECK(dx.padded_lanes_zero());
    }
  });
}

TEST_CASE("elementwise: dropout is the documented function of key, step and index") {
  for_each_case([](const Backend& backend, const Case& c) {
    const Launch launch = make_launch(backend, c.batch);
    const Values in = random_values(c.count(), 7);
    const Values before = random_values(c.count(), 8);
    const std::vector<uint64_t> steps = {0xfedcba9876543210u, 1};
    DeviceCopy device_steps(backend, steps);
    // A key and a step that use their upper halves.
    for (const auto& [draw, step] :
         {std::pair(DropoutDraw{0x123456789abcdef0u, device_steps.data(), 0.3f}, steps[0]),
          std::pair(DropoutDraw{5, device_steps.data() + 1, 0.0f}, steps[1]),
          std::pair(DropoutDraw{5, device_steps.data() + 1, 0.5f, 21}, steps[1])}) {
      Values expected(in.size());
      for (size_t i = 0; i < in.size(); ++i) {
        const auto counter =
            static_cast<uint64_t>(draw.first_image * c.shape.elements_per_image()) + i;
        const auto word = sculpt::philox4x32(draw.key, counter, step)[0];
        expected[i] = sculpt::philox_uniform(word) < draw.rate ? 0 : in[i] / (1 - draw.rate);
      }
      Activation x(backend, c.shape, launch, in, 2.0), y(backend, c.shape, launch);
      backend.elementwise.dropout_forward(y.data(), x.data(), c.shape, draw, launch);
      // 1 - rate is rounded differently.
      CHECK(max_error(y.nchw(), expected) < std::max(1e-6, tolerance(backend, 1e-6)));
      CHECK(y.frame_intact());
      for (const GradWrite write : kWrites) {
        Activation dy(backend, c.shape, launch, in, 0.0);
        Activation dx(backend, c.shape, launch, before, 0.0);
        backend.elementwise.dropout_backward(dx.data(), dy.data(), c.shape, draw, write, launch);
        CHECK(max_error(dx.nchw(), written(before, expected, write)) <
              std::max(1e-6, tolerance(backend, 1e-6)));
        CHECK(dx.frame_intact());
        CHECK(dx.padded_lanes_zero());
      }
    }
  });
}

TEST_CASE("elementwise: flatten keeps CHW order and drops the halo") {
  for_each_case([](const Backend& backend, const Case& c) {
    const Launch launch = make_launch(backend, c.batch);
    const ActivationShape flat = {c.shape.elements_per_image(), 1, 1, 0};
    const Values in = random_values(c.count(), 9);
    const Values before = random_values(c.count(), 10);
    Activation x(backend, c.shape, launch, in, 2.0), y(backend, flat, launch);
    backend.elementwise.flatten_forward(y.data(), x.data(), c.shape, launch);
    CHECK(y.nchw() == in);
    CHECK(y.frame_intact());
    for (const GradWrite write : kWrites) {
      Activation dy(backend, flat, launch, in, 0.0), dx(backend, c.shape, launch, before, 0.0);
      backend.elementwise.flatten_backward(dx.data(), dy.data(), c.shape, write, launch);
      CHECK(max_error(dx.nchw(), written(before, in, write)) < tolerance(backend, 1e-7));
      CHECK(dx.frame_intact());
      CHECK(dx.padded_lanes_zero());
    }
  });
}

}  // namespace
