// The project's own kernels that run before and after the convolutions of a library.

#if defined(SCULPT_CUDA_ON_HOST)  // the functions are private to the backend's library

#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/element.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using sculpt::kernels::cuda::bf16;

TEST_CASE("conv2d parts: a bias is added to every pixel") {
  const Backend& backend = *tested_backends().front();
  for (const int64_t channels : {1, 7, 8, 24}) {
    const ActivationShape shape = {channels, 3, 5, 0};
    const Launch launch = make_launch(backend, 3);
    const Values values = random_values(launch.batch * shape.elements_per_image(), 1);
    const Values bias = random_values(channels, 2);
    Values expected = values;
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] += bias[i / 15 % bias.size()];
    Activation y(backend, shape, launch, values, 0.0);
    Array device_bias(backend, bias);
    if (backend.activation_bytes == sizeof(bf16))
      sculpt::kernels::cuda::add_bias<bf16>(y.data(), device_bias.data(), shape, launch);
    else
      sculpt::kernels::cuda::add_bias<float>(y.data(), device_bias.data(), shape, launch);
    CHECK(max_error(y.nchw(), expected) < tolerance(backend, 1e-6));
    CHECK(y.frame_intact());
  }
}

TEST_CASE("conv2d parts: a library's weight gradient in canonical order") {
  const Backend& backend = *tested_backends().front();
  Conv2dShape shape;
  shape.in.channels = 70;
  shape.out.channels = 6;
  shape.groups = 2;
  shape.kernel_h = 5;
  shape.kernel_w = 7;
  const Values before = random_values(shape.weight_count(), 1);
  const Values gradient = random_values(shape.weight_count(), 2);
  for (const GradWrite write : kWrites) {
    Array dweight(backend, before);
    Array packed = packed_weight(backend, gradient, shape.in_channels_per_group(),
                                 shape.kernel_h * shape.kernel_w);
    if (backend.compute_weight_bytes == sizeof(bf16))
      sculpt::kernels::cuda::write_weight_grad<bf16>(dweight.data(), packed.data(), shape, write,
                                                     backend.stream);
    else
      sculpt::kernels::cuda::write_weight_grad<float>(dweight.data(), packed.data(), shape, write,
                                                      backend.stream);
    CHECK(max_error(dweight.values(), written(before, gradient, write)) < 1e-6);
  }
}

}  // namespace

#endif
